#!/usr/bin/env python3
"""An engine whose work outlives it: a file beside it, named after the run, stands for work in a service elsewhere."""
import json, os, sys

for line in sys.stdin:
    request = json.loads(line)
    method, params = request["method"], request.get("params") or {}
    known = os.path.exists(params.get("id", "none"))
    if method == "describe":
        result = {"protocol": 1, "services": ["hello"], "reattach": True}
    elif method == "reattach":
        result = {"data": {"found": open(params["id"]).read()}} if known else {"unknown": True}
    elif method == "cancel":
        result = known
        if known:
            os.remove(params["id"])
    else:
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
