"""Signed bundles of random bytes, and devices that follow a script."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from st4vla.contracts.envelope import Envelope, Signature, signed_bytes, write_envelope
from st4vla.contracts.files import FileEntry, file_entry, read_manifest, write_manifest
from st4vla.contracts.flash_messages import Progress
from st4vla.contracts.manifests import BUNDLE_FORMAT, BUNDLE_MANIFEST, BundleManifest
from st4vla.contracts.release import RELEASE_FILE, RELEASE_TYPE, Release, TrustedKey, TrustList
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.patience import Patience
from st4vla.export.flashing.payload import Payload, open_payload
from st4vla.export.flashing.rate import RateLimit
from st4vla.export.flashing.results import Result
from st4vla.export.flashing.session import Plan

TINY = Path(__file__).parents[3] / "bundles" / "tiny"
FAKE = Path(__file__).with_name("fake_device.py")


@dataclass
class Signer:
    """A key, and the list that trusts it."""

    secret: Ed25519PrivateKey = field(default_factory=lambda: Ed25519PrivateKey.from_private_bytes(bytes(32)))

    @property
    def trust(self) -> TrustList:
        public = self.secret.public_key().public_bytes_raw()
        key = TrustedKey("tests", base64.b64encode(public).decode(), ("release",))
        return TrustList(1, 1, {hashlib.sha256(public).hexdigest(): key})

    def sign(self, folder: Path) -> None:
        manifest = (folder / BUNDLE_MANIFEST).read_bytes()
        name = json.loads(manifest)["name"]
        body = msgspec.json.encode(Release(1, name, hashlib.sha256(manifest).hexdigest(), 1, "2026-01-01T00:00:00Z"))
        signature = base64.b64encode(self.secret.sign(signed_bytes(RELEASE_TYPE, body))).decode()
        envelope = Envelope(RELEASE_TYPE, base64.b64encode(body).decode(), (Signature(*self.trust.keys, signature),))
        (folder / RELEASE_FILE).write_bytes(write_envelope(envelope))

    def bundle(self, folder: Path, *, seed: int = 0, size: int = 300_000) -> Path:
        """Write a bundle whose files are random; they differ by the seed, but for the planner's."""
        folder.mkdir(parents=True)
        tiny = read_manifest(TINY / BUNDLE_MANIFEST, BundleManifest, BUNDLE_FORMAT)
        files = dict[str, FileEntry]()
        for name in tiny.files:
            drawn = random.Random(f"{name} {0 if name.startswith('planner') else seed}")
            (folder / name).write_bytes(drawn.randbytes(size if name.endswith(".data") else 1000))
            files[name] = file_entry(folder / name)
        write_manifest(folder / BUNDLE_MANIFEST, msgspec.structs.replace(tiny, files=files))
        self.sign(folder)
        return folder


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def payload(signer: Signer, tmp_path: Path) -> Payload:
    return open_payload(signer.bundle(tmp_path / "bundle"), signer.trust)


@dataclass
class Fleet:
    """Devices that follow scripts."""

    folder: Path

    @property
    def ssh(self) -> str:
        return f"{shlex.quote(sys.executable)} {shlex.quote(str(FAKE))} {shlex.quote(str(self.folder))}"

    def device(self, host: str, *script: dict[str, Any], canary: bool = False) -> Device:
        place = self.folder / host
        place.mkdir(parents=True)
        (place / "script.json").write_text(json.dumps(script or [{}]))
        return Device(host, ssh=self.ssh, canary=canary)

    def log(self, host: str) -> list[str]:
        """Return number of the connection and kind of each request, one of each kind in a row."""
        lines = (self.folder / host / "log").read_text().splitlines()
        return [line for line, before in zip(lines, ["", *lines[:-1]], strict=True) if line != before]

    def connections(self, host: str) -> int:
        path = self.folder / host / "connections"
        return int(path.read_text()) if path.exists() else 0

    def words(self, host: str) -> list[str]:
        words: list[str] = json.loads((self.folder / host / "words").read_text())
        return words

    def objects(self, host: str) -> set[str]:
        return {path.name for path in (self.folder / host / "objects").iterdir()}


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    # The devices are processes; they find our rooms where this one does.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return Fleet(tmp_path / "fleet")


class Told:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.notes: list[tuple[str, str]] = []
        self.steps: list[tuple[str, str]] = []
        self.ended: list[Result] = []
        self.running = self.most_running = 0
        self.on_begin: Callable[[Device], None] = lambda _: None

    def say(self, text: str) -> None:
        self.said.append(text)

    def wave(self, name: str, devices: Any) -> None:
        self.said.append(f"{name}: {' '.join(device.title for device in devices)}")

    def begin(self, device: Device) -> None:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.on_begin(device)

    def note(self, device: Device, text: str) -> None:
        self.notes.append((device.title, text))

    def sent(self, device: Device, done: int, total: int) -> None:
        assert 0 <= done <= total

    def progress(self, device: Device, progress: Progress) -> None:
        self.steps.append((device.title, progress.step))

    def end(self, result: Result) -> None:
        self.running -= 1
        self.ended.append(result)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def plan(payload: Payload, told: Told) -> Plan:
    patience = Patience(welcome_s=20.0, answer_s=20.0, silence_s=20.0, retries=3, first_pause_s=0.01, probes=1)
    return Plan(payload, "0", patience, RateLimit(None), asyncio.Semaphore(8), told)


@dataclass
class Sshd:
    """A real sshd on the loopback; its host `stand-in` of `config` runs a device that follows a script."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    def device(self, fleet: Fleet, *script: dict[str, Any]) -> Device:
        # Of the words `COMMAND device agent`, the one before the last stands for the host.
        fleet.device("device", *script)
        rooms = shlex.quote(os.pathsep.join(sys.path))
        command = f"PYTHONPATH={rooms} {fleet.ssh}"
        return Device("stand-in", command=command, ssh_options=("-F", str(self.config)))

    def cut(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill every connection, as whoever notices a pulled cable; or stop it, as who does not."""
        waiting = [self.process.pid]
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                waiting += map(int, children)
                if pid != self.process.pid:
                    os.kill(pid, number)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "these tests need sshd: apt-get install openssh-server"
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/user_key.pub\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    )
    (folder / "ssh_config").write_text(
        f"Host stand-in\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n"
    )
    process = subprocess.Popen([program, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")])
    try:
        end_s = time.monotonic() + 20
        while time.monotonic() < end_s and process.poll() is None:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        assert process.poll() is None, (folder / "log").read_text()
        yield Sshd(folder, process)
    finally:
        process.terminate()
        process.wait(20)
