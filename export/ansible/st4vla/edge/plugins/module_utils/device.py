"""What the modules ask of a device, and what they make of its answers. Nothing here needs Ansible."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

OPTIONS = {
    "command": {"type": "list", "elements": "str", "default": ["st4vla"]},
    "root": {"type": "path", "default": "/var/lib/st4vla"},
}


class DeviceError(Exception):
    """The device refuses, or says nothing that can be understood.

    Attributes:
        details: What goes into the result of the task beside the message.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


class Device:
    """The program `st4vla device` on the machine that this runs on.

    Args:
        run: Takes the words of a command and returns its exit status, output and errors.
        command: Words that the program begins with.
        root: The device's folder.
    """

    def __init__(self, run: Callable[[list[str]], tuple[int, str, str]], command: Sequence[str], root: str) -> None:
        self._run, self._command, self._root = run, list(command), root

    def ask(self, verb: str, *words: str) -> dict[str, Any]:
        """Return the answer of a verb: the JSON of its last line.

        Raises:
            DeviceError: It refuses, is not there, or prints no such line.
        """
        answer = self._answer(verb, *words)
        if not answer.get("ok"):
            raise DeviceError(answer.get("message") or f"{verb} failed without a reason", answer=answer)
        return answer

    def status(self) -> dict[str, Any]:
        """Return how the device is."""
        return self.ask("status", "--json")

    def wait(self) -> None:
        """Wait for the end of a flash or a trial that goes on; how it ended is in the status."""
        self._answer("watch")

    def _answer(self, verb: str, *words: str) -> dict[str, Any]:
        full = [*self._command, "device", verb, *words, "--root", self._root]
        try:
            status, output, errors = self._run(full)
        except OSError as error:
            message = (
                f"{full[0]} cannot be started on the device: {error.strerror}; install st4vla[device] there, or name "
                "the program with the option `command`"
            )
            raise DeviceError(message) from error
        try:
            answer = json.loads(output.strip().splitlines()[-1])
            answer["ok"]
        except (IndexError, ValueError, TypeError, KeyError):
            said = (errors or output).strip()[-500:]
            message = (
                f"`{' '.join(full)}` ended with status {status} and without an answer; it said: {said or 'nothing'}"
            )
            raise DeviceError(message) from None
        return answer


def install(device: Device, folder: str, *, dry_run: bool) -> dict[str, Any]:
    """Install the bundle of a folder on this machine, unless it serves already; return the result of the task.

    A flash or a trial that goes on, perhaps of a task before this one, is waited for.
    """
    digest = manifest_digest(folder)
    status = device.status()
    if not dry_run and (status.get("flashing") or status.get("trial")):
        device.wait()
        status = device.status()
    if serves(status) == digest and not status.get("trial"):
        return {"changed": False, "digest": digest, "outcome": None}
    answer = device.ask("install", folder, *(["--dry-run"] if dry_run else []))
    return {"changed": True, "digest": digest, "outcome": answer}


def take_trust(device: Device, path: str, *, dry_run: bool) -> dict[str, Any]:
    """Bring a list of trusted keys, unless the device has it already; return the result of the task."""
    before = device.status().get("trust_version", 0)
    if dry_run:
        # Whether the device would accept its signature is not known.
        after = list_version(path)
        return {"changed": after > before, "version_before": before, "version": max(after, before)}
    after = device.ask("trust", path)["trust_version"]
    return {"changed": after != before, "version_before": before, "version": after}


def described(device: Device) -> dict[str, Any]:
    """Return how a device is, as the result of a task."""
    status = device.status()
    return {"changed": False, "status": status, "serves": serves(status)}


def serves(status: Mapping[str, Any]) -> str | None:
    """Return the digest of the bundle in the active slot, or None."""
    slot = (status.get("slots") or {}).get(status.get("active") or "")
    return str(slot["bundle_digest"]) if slot else None


def manifest_digest(folder: str) -> str:
    """Return the digest of a folder's bundle: SHA-256 of its manifest.

    Raises:
        DeviceError: There is none.
    """
    path = Path(folder, "bundle.json")
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        message = f"{path} cannot be read on the device: {error.strerror}; copy the bundle there first"
        raise DeviceError(message) from error


def list_version(path: str) -> int:
    """Return the version of a trust list, which nobody has verified.

    Raises:
        DeviceError: It is none.
    """
    try:
        return int(json.loads(base64.b64decode(json.loads(Path(path).read_bytes())["payload"]))["version"])
    except OSError as error:
        message = f"{path} cannot be read on the device: {error.strerror}; copy the list there first"
        raise DeviceError(message) from error
    except (ValueError, TypeError, KeyError) as error:
        message = f"{path} is no trust list; make one with `st4vla keys trust new`"
        raise DeviceError(message) from error


def missing_files(files: Mapping[str, Mapping[str, Any]], root: str) -> list[str]:
    """Return which files of a manifest the device does not have yet, under any name and of any bundle.

    Args:
        files: Name to `sha256` and `size`.
        root: The device's folder.

    Raises:
        DeviceError: An entry is not one.
    """
    missing = []
    for name in sorted(files):
        entry = files[name]
        digest, size = str(entry.get("sha256", "")), entry.get("size")
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef") or not isinstance(size, int):
            message = f"{name}: not an entry of a manifest's files, which have `sha256` and `size`"
            raise DeviceError(message)
        try:
            found = Path(root, "objects", digest[:2], digest).stat().st_size
        except FileNotFoundError:
            found = None
        except OSError as error:
            message = f"{error.filename} cannot be looked at: {error.strerror}; does the task need `become`?"
            raise DeviceError(message) from error
        if found != size:
            missing.append(name)
    return missing
