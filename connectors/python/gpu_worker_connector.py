"""Makes an engine for gpu-worker out of one Python function. One file, Python 3.8 or newer, no dependencies.

    serve(run, services=["hello"])

`run(job)` gets a Job, may report progress, writes its files where `job.output(name)` says, and returns a small dict.
Anything that is printed goes to the agent's log. See connectors/README.md for the rest.
"""

import json
import math
import os
import sys
import threading
import traceback
from pathlib import Path

PROTOCOL = 1


class Failed(Exception):
    """Raise it to fail a job in words that its owner reads, with one of the reasons in connectors/README.md."""

    def __init__(self, message, reason="unknown_error", *, retry_after=None, hosts_fault=None):
        super().__init__(message)
        self.data = {"reason": reason}
        if hosts_fault is not None:
            self.data["hosts_fault"] = hosts_fault
        if retry_after is not None:
            self.data["retry_after_seconds"] = retry_after


class Cancelled(BaseException):
    """Raised inside `run` by `progress` and `check` when somebody has cancelled the job. Let it pass."""


class Job:
    """One job: `id`, `attempt` (from 1), `service`, `payload` (the parsed JSON, whatever it is; `need` and `get` take fields
    of an object) and `scratch` (a folder of its own)."""

    def __init__(self, run_id, scratch, job):
        self.id, self.attempt, self.service = job["id"], job["attempt"], job["service"]
        self.payload, self.scratch = job["payload"], Path(scratch)
        self._run_id, self._outputs, self._cancelled = run_id, [], threading.Event()

    def _fields(self):
        if not isinstance(self.payload, dict):
            # As JSON has it, which is what the job's owner wrote.
            kinds = {str: "a text", list: "a list", bool: "true or false", type(None): "null"}
            raise Failed(f"the payload must be an object, not {kinds.get(type(self.payload), 'a number')}", "invalid_payload")
        return self.payload

    def need(self, name):
        """A field of the payload; without it the job fails, and its owner reads which one was missing."""
        if self._fields().get(name) is None:
            raise Failed(f"the payload lacks `{name}`", "missing_required_field")
        return self.payload[name]

    def get(self, name, default=None):
        """A field of the payload, or the default where it is missing or null."""
        value = self._fields().get(name)
        return default if value is None else value

    def progress(self, fraction, message=None, *, step=None, steps=None, kind=None, stage=None):
        """How far it is, from 0 to 1. Ends the run here if the job was cancelled.

        Who has reported once must go on reporting news, or is taken to be stuck in the end; `stage="silent"` says that
        none is to be expected, `stage="waiting"` that others come first. `kind`: the same words for what takes about
        the same time in every job; then the usual time of a step is learnt.
        """
        self.check()
        # 0 takes nothing back: what is shown never falls.
        fraction = fraction if math.isfinite(fraction) else 0
        report = {"id": self._run_id, "fraction": fraction, "message": message, "step": step, "steps": steps}
        report.update(kind=kind, stage=stage)
        _say({"method": "progress", "params": {name: value for name, value in report.items() if value is not None}})

    def output(self, name, *, kind="files", media_type=None):
        """Announces a file of the result, and answers the path to write it to."""
        output = {"path": name, "kind": kind}
        if media_type:
            output["media_type"] = media_type
        self._outputs.append(output)
        path = self.scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def env(self):
        """The environment for a program that `run` starts: `subprocess.Popen([...], env=job.env)`. It says whose the program
        is, so that one that is still there after the job was cancelled is ended."""
        return {**os.environ, "GPU_WORKER_RUN": self._run_id}

    def sleep(self, seconds):
        """Waits, but not for a cancelled job: that ends the run here."""
        self._cancelled.wait(seconds)
        self.check()

    @property
    def cancelled(self):
        """Whether somebody has cancelled it. What is cancelled and goes on for 8 s is killed."""
        return self._cancelled.is_set()

    def check(self):
        """Ends the run here if the job was cancelled."""
        if self.cancelled:
            raise Cancelled()


_out = None
_out_lock = threading.Lock()


def _say(message):
    # What is no JSON fails here, in words, and not at the agent: NaN raises, half a character becomes a question mark.
    line = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False, allow_nan=False)
    line = line.encode("utf-8", "replace") + b"\n"
    with _out_lock:
        _out.write(line)
        _out.flush()


def serve(run, services, *, gpu=False, concurrency=1, version=None, probe=None, free_memory=None, conformance=None):
    """Answers the agent until it goes away.

    services     what jobs ask for with `service_required`
    gpu          one process for each GPU; CUDA_VISIBLE_DEVICES is set to it
    concurrency  how many jobs `run` may get at once, each in a thread of its own
    probe        a function that answers how it is: None, or {"healthy": False, "detail": why}, or {"models": {...}}
    free_memory  a function that gives GPU memory back
    conformance  payloads for `gpu-worker connectors conformance`: {"ok", "slow", "failing", "failure_type"}
    """
    global _out
    if sys.stdin.isatty():
        sys.exit(f"This is an engine for gpu-worker. Try it: gpu-worker connectors try {sys.argv[0]} JOB.json")
    # Answers keep the pipes to themselves: whatever is printed, also by libraries, goes to the log.
    _out, lines = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    jobs = {}

    def describe(_):
        about = {"protocol": PROTOCOL, "services": list(services), "gpu": gpu, "concurrency": concurrency}
        about["free_memory"] = free_memory is not None
        if version is not None:
            about["version"] = version
        if conformance is not None:
            about["conformance"] = conformance
        return about

    def cancel(params):
        job = jobs.get(params["id"])
        if job:
            job._cancelled.set()
        return job is not None

    def work(params):
        job = jobs[params["id"]]
        try:
            data = run(job)
            job.check()
            if data is None:
                data = {}
            return {"outputs": job._outputs, "data": data if isinstance(data, dict) else {"result": data}}
        finally:
            del jobs[params["id"]]

    methods = {"describe": describe, "cancel": cancel, "run": work}
    methods["probe"] = lambda _: probe() if probe else None
    if free_memory:
        methods["free_memory"] = lambda _: free_memory()

    def answer(request):
        method = methods.get(request["method"])
        try:
            if method is None:
                error = {"code": -32601, "message": f"no method {request['method']}"}
            else:
                return _say({"id": request["id"], "result": method(request.get("params") or {})})
        except Failed as failed:
            error = {"code": -32000, "message": str(failed), "data": failed.data}
        except Cancelled:
            error = {"code": -32000, "message": "cancelled"}
        except MemoryError:
            error = {"code": -32000, "message": "out of memory", "data": {"reason": "out_of_memory"}}
        except BaseException as fault:  # One job's fault is not the engine's end, not even sys.exit() in it.
            traceback.print_exc()
            said = f"{type(fault).__name__}: {fault}".splitlines()[0][:300]
            # As PyTorch and JAX call it when the card is full.
            full = "OutOfMemory" in type(fault).__name__ or "RESOURCE_EXHAUSTED" in said
            error = {"code": -32000, "message": said, "data": {"reason": "gpu_memory_full" if full else "internal_error"}}
        try:
            _say({"id": request["id"], "error": error})
        except (TypeError, ValueError):  # Odd values in what was raised; the words at least are known.
            _say({"id": request["id"], "error": {"code": -32000, "message": error["message"]}})

    for line in lines:
        request = json.loads(line)
        if "id" not in request:
            continue
        if request["method"] == "run":
            # Known from here on, so that a cancel that follows at once finds it.
            params = request["params"]
            jobs[params["id"]] = Job(params["id"], params["scratch"], params["job"])
        if request["method"] == "cancel":
            answer(request)
        else:
            threading.Thread(target=answer, args=(request,), daemon=True).start()
    # The agent is gone, or wants us gone: threads that hang must not keep the process.
    os._exit(0)
