#!/usr/bin/env bash
# Submits a job with nothing but redis-cli, as any producer in any language can: write the hash, then put its id into
# the sorted set of waiting jobs. An agent finds it, indexes it and runs it like one that `gpu-worker submit` made.
#
#   examples/submit-by-redis.sh [redis://host:6379]
set -euo pipefail

redis=(redis-cli -u "${1:-${HUB_REDIS_URL:-redis://127.0.0.1:6379}}")
id=$(cat /proc/sys/kernel/random/uuid)
now_ms=$(date +%s%3N)
priority=50
# Higher priority first, then older: the score of the shared queue.
score=$(awk -v p="$priority" -v t="$now_ms" 'BEGIN { printf "%.0f", p * 1e15 - int(t / 1000) }')

"${redis[@]}" HSET "job:$id" \
    id "$id" \
    service_required simulation \
    priority "$priority" \
    payload '{"steps":5,"step_ms":20,"outputs":1}' \
    requirements '{}' \
    created_at "$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)" \
    status pending \
    retry_count 0 \
    max_retries 3 >/dev/null
"${redis[@]}" ZADD jobs:pending "$score" "$id" >/dev/null
# A hint; without it the job is found by the sweep, a second or more later.
"${redis[@]}" PUBLISH job_submitted "{\"job_id\":\"$id\"}" >/dev/null
echo "$id"
