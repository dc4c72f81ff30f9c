"""A stand-in for the program `st4vla` on a device: `stand_in.py device VERB ... --root ROOT`.

It keeps its status in ROOT/status.json and files in ROOT/objects, and writes its words into ROOT/calls, a line each.
ROOT/refusal holds a message with which it refuses to install, if it is there.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("group", choices=["device"])
    parser.add_argument("verb")
    parser.add_argument("path", nargs="?", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    with (options.root / "calls").open("a") as calls:
        calls.write(f"{options.verb}{' --dry-run' if options.dry_run else ''}\n")
    answer = {"ok": True, **VERBS[options.verb](options)}
    sys.stdout.write(f"for people\n{json.dumps(answer)}\n")
    return 0 if answer["ok"] else 1


def status(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((options.root / "status.json").read_text())
    return found


def watch(options: argparse.Namespace) -> dict[str, Any]:
    change(options.root, trial=None, flashing=None)
    return {"ok": False, "message": "the last flash failed"}


def install(options: argparse.Namespace) -> dict[str, Any]:
    manifest = (options.path / "bundle.json").read_bytes()
    (options.path / "release.json").read_bytes()
    digest = hashlib.sha256(manifest).hexdigest()
    refusal = options.root / "refusal"
    if refusal.exists():
        return {"ok": False, "error": "TrialError", "message": refusal.read_text(), "step": "trial"}
    if options.dry_run:
        return {"message": "would be taken"}
    for name, entry in json.loads(manifest)["files"].items():
        kept = options.root / "objects" / entry["sha256"][:2] / entry["sha256"]
        if not kept.exists():
            data = (options.path / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(data)
    slots = {**status(options)["slots"], "a": {"bundle_digest": digest}}
    change(options.root, active="a", slots=slots)
    return {"message": "committed", "bundle_digest": digest, "step": "commit"}


def trust(options: argparse.Namespace) -> dict[str, Any]:
    version = json.loads(base64.b64decode(json.loads(options.path.read_text())["payload"]))["version"]
    if version < status(options)["trust_version"]:
        return {"ok": False, "error": "DowngradeError", "message": f"version {version} is not newer"}
    change(options.root, trust_version=version)
    return {"trust_version": version}


def change(root: Path, **changes: Any) -> None:
    path = root / "status.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


VERBS = {"status": status, "watch": watch, "install": install, "trust": trust}

if __name__ == "__main__":
    sys.exit(main())
