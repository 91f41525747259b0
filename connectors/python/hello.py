#!/usr/bin/env python3
from gpu_worker_connector import serve

def run(job):
    name = job.need("name")
    for step in range(1, 11):
        job.progress(step / 10, f"step {step} of 10")
        job.sleep(job.get("seconds", 1) / 10)
    job.output("hello.txt").write_text(f"Hello {name}, this is job {job.id}.\n")

serve(run, services=["hello"], conformance={
    "ok": {"name": "Ada", "seconds": 0}, "slow": {"name": "Ada", "seconds": 600},
    "failing": {"seconds": 0}, "failure_type": "validation_error"})
