"""Devices with a stand-in for `st4vla`, bundles that are small, and what a controller would find."""

import base64
import hashlib
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

COLLECTION = Path(__file__).resolve().parents[3] / "export" / "ansible" / "st4vla" / "edge"


class FakeDevice:
    """A device whose program is the stand-in."""

    command = (sys.executable, str(Path(__file__).with_name("stand_in.py")))

    def __init__(self, root: Path, **machine: str) -> None:
        self.root = root
        root.mkdir(parents=True)
        machine = {"machine": "aarch64", "model": "Orin NX", **machine}
        self._status = {"machine": machine, "slots": {"a": None, "b": None}, "active": None, "trial": None}
        self.change(flashing=None, trust_version=1)

    def change(self, **changes: Any) -> None:
        path = self.root / "status.json"
        before = json.loads(path.read_text()) if path.exists() else self._status
        path.write_text(json.dumps({**before, **changes}))

    def refuse(self, message: str) -> None:
        (self.root / "refusal").write_text(message)

    def accept(self) -> None:
        (self.root / "refusal").unlink()

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "status.json").read_text())
        return found

    @property
    def serves(self) -> str | None:
        slot = self.status["slots"].get(self.status["active"])
        return slot and slot["bundle_digest"]

    @property
    def objects(self) -> set[str]:
        return {path.name for path in (self.root / "objects").rglob("*") if path.is_file()}

    def calls(self) -> list[str]:
        """Return the verbs since the last time that this was asked."""
        path = self.root / "calls"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return found


class House:
    """Makes devices and what is brought to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.collection = COLLECTION

    def load(self, path: str) -> dict[str, Any]:
        """Return what a file of the collection defines."""
        return runpy.run_path(str(COLLECTION / path))

    def device(self, name: str, **machine: str) -> FakeDevice:
        return FakeDevice(self.folder / "devices" / name, **machine)

    def bundle(self, name: str, **files: bytes) -> Path:
        """Make a bundle; two underscores in a name stand for a slash, the last one for a dot."""
        folder = self.folder / name
        entries = {}
        for key, data in files.items():
            path = folder / ".".join(key.replace("__", "/").rsplit("_", 1))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            entries[str(path.relative_to(folder))] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        (folder / "bundle.json").write_text(json.dumps({"name": name, "files": entries}) + "\n")
        (folder / "release.json").write_text("{}")
        return folder

    def digest(self, bundle: Path) -> str:
        return hashlib.sha256((bundle / "bundle.json").read_bytes()).hexdigest()

    def digest_of(self, data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    def trust(self, version: int) -> Path:
        path = self.folder / f"trust{version}.json"
        payload = base64.b64encode(json.dumps({"version": version}).encode()).decode()
        path.write_text(json.dumps({"payload": payload}))
        return path


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)
