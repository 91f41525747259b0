# `make help` lists what there is. Each target installs what it lacks (scripts/deps) and honours CARGO_TARGET_DIR.
# demo and test build with the dev profile, so that one compilation serves both; bench and dist with release.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The parallelism is cargo's; two recipes at once would only wait for its lock.
.NOTPARALLEL:

CARGO ?= cargo
# The committed lock file is what is built. `make test CARGO_FLAGS=` lets cargo change it.
CARGO_FLAGS ?= --locked
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
BIN := $(TARGET_DIR)/debug/gpu-worker
DIST_DIR ?= $(CURDIR)/dist
# Empty: for this machine's glibc and newer. A version such as 2.17: for that one and newer, through cargo-zigbuild.
GLIBC ?=

export CARGO CARGO_FLAGS TARGET_DIR DIST_DIR GLIBC

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## Install what building and testing need beside Rust (a C compiler, redis-server); starts no service
	@scripts/deps

.PHONY: build
build: deps ## Build the agent with the dev profile
	$(CARGO) build $(CARGO_FLAGS) --workspace

.PHONY: demo
demo: build ## One job from queue to picture, on a Redis of its own (on your ComfyUI if COMFYUI_URL is set)
	@"$(BIN)" dev --demo examples/comfyui-workflow.json --outputs "$(TARGET_DIR)/demo-outputs"

.PHONY: test
test: deps ## All tests, against a real redis-server that they start themselves
	@scripts/test

.PHONY: test-browser
test-browser: deps ## The dashboard's page in Chromium: over a real agent, and over states that need four GPUs (NAME=pattern: some of them)
	@scripts/deps --browser
	@scripts/test-browser $(if $(NAME),'$(NAME)')

.PHONY: screenshots
screenshots: ## Pictures of the page for README and docs, over states that are written down in tests/browser/mock
	@scripts/deps --browser
	@scripts/screenshots

.PHONY: bench
bench: deps ## Figures beside yardsticks of the same run, with the release build (NAME=claim: one section)
	$(CARGO) bench $(CARGO_FLAGS) --bench bench -- $(NAME)

.PHONY: chaos
chaos: deps ## Agents at work in a storm of faults; every write is checked (JOBS=10000 KILLS=1000 AGENTS=6 SEED=1 FAULTS=all; SCENARIO=outage, SCENARIO=failover FAILOVERS=20)
	$(CARGO) bench $(CARGO_FLAGS) --profile dev --bench chaos -- $(foreach name,SCENARIO JOBS FAILOVERS KILLS AGENTS SEED FAULTS,$(if $($(name)),$(name)=$($(name))))

.PHONY: explore
explore: deps ## Random sequences of all that agents, time and others do, checked after every step (EPISODES=1000 SEED=7)
	PROPTEST_CASES=$(or $(EPISODES),1000) PROPTEST_RNG_SEED=$(or $(SEED),$(shell date +%s)) $(CARGO) test $(CARGO_FLAGS) --test it -- \
		--exact --nocapture protocol::interleaving::whatever_happens_in_whatever_order_each_job_ends_once

.PHONY: soak
soak: deps ## Memory, descriptors and threads of agents at a steady rate of jobs, with the release build (MINUTES=15 RATE=100)
	$(CARGO) bench $(CARGO_FLAGS) --bench soak -- $(foreach name,MINUTES RATE AGENTS,$(if $($(name)),$(name)=$($(name))))

.PHONY: test-redis-6
test-redis-6: deps ## The protocol's tests on Redis 6.2.5, the oldest release that is supported
	@scripts/deps --check
	@scripts/test-redis-6

.PHONY: check
check: check-format check-lint check-imports check-dependencies check-scripts ## Format, lints, import table, licences and sources, shell scripts

.PHONY: check-format
check-format:
	$(CARGO) fmt --all -- --check

.PHONY: check-lint
check-lint: deps
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings

.PHONY: check-imports
check-imports: deps
	@scripts/test --test it imports::

.PHONY: check-dependencies
check-dependencies:
	@scripts/deps --check
	@scripts/check-dependencies

.PHONY: check-scripts
check-scripts:
	@scripts/deps --check
	shellcheck .ci/run scripts/* examples/*.sh

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt --all

.PHONY: dist
dist: deps ## worker-linux.tar.gz with the release build, in dist/ (GLIBC=2.17: runs on anything since 2014)
	@scripts/dist

.PHONY: test-packaging
test-packaging: dist ## Unpack worker-linux.tar.gz in an empty folder and run jobs with what is in it
	@scripts/test-packaging "$(DIST_DIR)/worker-linux.tar.gz"

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean
	rm -rf "$(DIST_DIR)"
