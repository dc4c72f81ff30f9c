"""Act as `st4vla serve --standby` does, by what a file says, without an engine: `acting_server.py BEHAVIOUR`.

It holds a lock while it "listens", so that two that listen at once end with an error.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def refuse(error: str, message: str) -> None:
    say(json.dumps({"ok": False, "error": error, "message": message}))
    raise SystemExit(1)


path = Path(sys.argv[1])
acts = json.loads(path.read_text())
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if acts.get("deaf"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with path.with_suffix(".log").open("a") as log:
    log.write(f"start {os.getpid()}\n")
time.sleep(acts.get("load_s", 0.0))
if "refuse" in acts:
    refuse(*acts["refuse"])
say("standing by")
address = None
for line in sys.stdin:
    word = line.strip()
    # What it does may change while it runs.
    acts = json.loads(path.read_text())
    if word == "go":
        if acts.get("cannot_go"):
            refuse("PortInUseError", "the address is in use")
        address = (path.parent / "address").open("w")
        try:
            fcntl.flock(address, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse("PortInUseError", "somebody else listens")
        say("bound tcp://127.0.0.1:5555")
        say(f"serving {path.stem} on tcp://127.0.0.1:5555")
    elif word == "close":
        if acts.get("clings"):
            time.sleep(60)
        assert address is not None
        address.close()
        say("closed")
        say("standing by")
    elif word == "snapshot":
        if acts.get("crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if not acts.get("silent"):
            seen = {"bundle_name": path.stem, "bundle_digest": "", "health": "ready", "ready": True}
            say("snapshot " + json.dumps(seen | acts.get("snapshot", {})))
    elif word == "probe":
        say("probe " + json.dumps({"text": "", "chunks": 3} | acts.get("probe", {})))
