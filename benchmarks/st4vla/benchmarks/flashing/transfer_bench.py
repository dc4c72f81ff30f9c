"""A large bundle's way to one device, beside rsync of the same files over the same sshd."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from st4vla.benchmarks.flashing.lab import Lab
from st4vla.benchmarks.flashing.stand_in import StandIn
from st4vla.contracts.errors import FlashError
from st4vla.contracts.files import FileEntry, file_entry, write_manifest
from st4vla.contracts.flash_messages import Wanted
from st4vla.contracts.manifests import BUNDLE_MANIFEST, Bundle
from st4vla.export.flashing.conversation import ask, greet
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.link import Link
from st4vla.export.flashing.payload import Payload, open_payload
from st4vla.export.flashing.rate import RateLimit
from st4vla.export.flashing.uploading import Upload
from st4vla.runtime.signing import read_trust

_BLOCK_BYTES = 1 << 20
_PATIENCE_S = 60.0


def run(folder: Path, source: Path, megabytes: int, rounds: int) -> tuple[dict[str, Any], list[str]]:
    """Send a bundle of random weights, and then one of which a third is new; ours and rsync in turns.

    Args:
        folder: For everything that is made.
        source: A bundle, whose weights are replaced by random bytes.
        megabytes: Of weights, a third in each graph.
        rounds: How often.

    Returns:
        The figures, and what falls short, in words.
    """
    lab = Lab(folder / "keys")
    old = _bundle(Bundle(source), folder / "old", megabytes, seed=0)
    new = _bundle(Bundle(source), folder / "new", megabytes, seed=1, old=old)
    lab.sign(old, counter=1)
    lab.sign(new, counter=2)
    trips: dict[str, list[tuple[float, int]]] = {}
    with StandIn("stand-in", folder / "device", lab.trust) as device:
        device.boot()
        device.await_supervisor()
        for _ in range(rounds):
            for way, send in _ways(device, lab.trust).items():
                for name, bundle in (("first", old), ("second", new)):
                    trips.setdefault(f"{way}_{name}", []).append(send(bundle))
                _empty(device)
    figures: dict[str, Any] = {"megabytes": megabytes, "rounds": rounds}
    for name, found in trips.items():
        seconds = [second for second, _ in found]
        figures[name] = {
            "seconds": [round(second, 3) for second in seconds],
            "median_s": round(statistics.median(seconds), 3),
            "bytes": max(size for _, size in found),
        }
    return figures, missed(figures)


def missed(figures: dict[str, Any]) -> list[str]:
    """Return what falls short of rsync, in words."""
    bounds = (("first", "median_s"), ("first", "bytes"), ("second", "bytes"))
    return [
        f"{trip}: {what} {ours}, rsync --fsync {theirs}"
        for trip, what in bounds
        if (ours := figures[f"flash_{trip}"][what]) > (theirs := figures[f"rsync_fsync_{trip}"][what])
    ]


def _ways(device: StandIn, trust: Path) -> dict[str, Callable[[Path], tuple[float, int]]]:
    """Return what sends a bundle, and tells the seconds and the bytes, both ways, that it took."""
    return {
        "flash": lambda bundle: _flash(device, bundle, trust),
        "rsync_fsync": lambda bundle: _rsync(device, bundle, "--fsync"),
        "rsync": lambda bundle: _rsync(device, bundle),
    }


def _flash(device: StandIn, bundle: Path, trust: Path) -> tuple[float, int]:
    """Verify a bundle and send it, up to where all of it is on the device's disk, in a process of its own."""
    program = "import sys; from st4vla.benchmarks.flashing.transfer_bench import main; main(*sys.argv[1:])"
    words = [device.name, str(device.ssh.client_config), str(bundle), str(trust)]
    began = time.monotonic()
    answer = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - began
    if answer.returncode != 0:
        msg = f"sending {bundle} ended with status {answer.returncode}: {answer.stderr[-1000:]}"
        raise FlashError(msg)
    return seconds, int(answer.stdout)


def main(host: str, config: str, bundle: str, trust: str) -> None:
    """Send a bundle and print how many bytes that took."""
    payload = open_payload(Path(bundle), read_trust(Path(trust)))
    print(asyncio.run(_send(Device(host, ssh_options=("-F", config)), payload)))  # noqa: T201


async def _send(device: Device, payload: Payload) -> int:
    verified = asyncio.ensure_future(asyncio.to_thread(payload.verify))
    link = Link(device)
    try:
        await greet(link, importlib.metadata.version("st4vla"), _PATIENCE_S)
        await verified
        wanted = await ask(link, payload.offer, Wanted, _PATIENCE_S)
        await Upload(link, payload, wanted, RateLimit(None)).run(lambda: None, _PATIENCE_S)
    finally:
        await link.close()
    return link.sent + link.received


def _rsync(device: StandIn, bundle: Path, *options: str) -> tuple[float, int]:
    command = ["rsync", "-a", "--stats", *options, "-e", f"ssh -F {device.ssh.client_config} -o BatchMode=yes"]
    began = time.monotonic()
    answer = subprocess.run(  # noqa: S603
        [*command, f"{bundle}/", f"{device.name}:{device.folder}/rsync/"], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - began
    if answer.returncode != 0:
        msg = f"rsync ended with status {answer.returncode}: {answer.stderr}"
        raise FlashError(msg)
    told = [line for line in answer.stdout.splitlines() if line.startswith("Total bytes")]
    return seconds, sum(int(line.rpartition(":")[2].replace(",", "")) for line in told)


def _empty(device: StandIn) -> None:
    """Take away all that was sent, and let the disk come to rest."""
    for place in (device.folder / "rsync", *(device.layout.root / name for name in ("objects", "incoming", "offers"))):
        shutil.rmtree(place, ignore_errors=True)
    os.sync()


def _bundle(source: Bundle, folder: Path, megabytes: int, *, seed: int, old: Path | None = None) -> Path:
    """Write a bundle with random weights; with those of `old`, and its times, but for the bridge's."""
    folder.mkdir(parents=True)
    files = dict[str, FileEntry]()
    for name in source.manifest.files:
        target = folder / name
        if old is not None and name != "bridge.onnx.data":
            shutil.copy2(old / name, target)
        elif name.endswith(".data"):
            _write_random(target, megabytes * 1_000_000 // 3, seed)
            # rsync goes by sizes and by seconds: it must see which one is new.
            os.utime(target, (seed, seed))
        else:
            shutil.copyfile(source.path(name), target)
        files[name] = file_entry(target)
    write_manifest(folder / BUNDLE_MANIFEST, replace(source.manifest, files=files))
    return folder


def _write_random(path: Path, size: int, seed: int) -> None:
    with path.open("wb") as stream:
        key = hashlib.sha256(f"{path.name} {seed}".encode()).digest()
        left = size
        while left:
            key = hashlib.sha256(key).digest()
            block = hashlib.shake_128(key).digest(min(left, _BLOCK_BYTES))
            stream.write(block)
            left -= len(block)
