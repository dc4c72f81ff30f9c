"""Many stand-ins at once: a flash that fails on some of them, one that does not, and rsync of the same files."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from st4vla.benchmarks.flashing.jetson_files import JetsonFiles
from st4vla.benchmarks.flashing.powered_device import QUICK, PoweredDevice
from st4vla.benchmarks.flashing.sshd import write_client_config
from st4vla.benchmarks.flashing.stand_in import ST4VLA, StandIn
from st4vla.contracts.errors import FlashError
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.flashing.state import read_state

#: JetPack 6.2, and the release before it.
L4T, OLD_L4T = "36.4.3", "35.6.0"
#: Devices at one moment, as `st4vla flash` has it unless it is told otherwise.
PARALLEL = 10


@contextmanager
def fleet(folder: Path, trust: Path, count: int) -> Iterator[list[StandIn]]:
    """Yield stand-ins that are on; every tenth has the older JetPack.

    Args:
        folder: For everything of them.
        trust: Their first trust list.
        count: How many.
    """

    def make(number: int) -> StandIn:
        files = JetsonFiles(l4t=OLD_L4T if number % 10 == 9 else L4T)
        return StandIn(f"jetson-{number:02}", folder / f"jetson-{number:02}", trust, config=QUICK, files=files)

    with ThreadPoolExecutor(4) as threads:
        devices = list(threads.map(make, range(count)))
    with ExitStack() as stack:
        # From this thread, which lives as long as they do.
        for device in devices:
            stack.enter_context(device).boot()
        for device in devices:
            device.await_supervisor()
        yield devices


def flash_all(folder: Path, devices: Sequence[PoweredDevice], bundle: Path, trust: Path) -> dict[str, Any]:
    """Flash them with `st4vla flash` and an inventory, in a process of its own, and return its figures.

    Args:
        folder: For the inventory.
        devices: Which ones.
        bundle: Folder of a signed bundle.
        trust: The host's trust list.
    """
    config, inventory = folder / "ssh_config", folder / "inventory.toml"
    write_client_config(config, [device.ssh for device in devices])
    rows = "".join(f'[[device]]\nhost = "{device.name}"\n' for device in devices)
    inventory.write_text(f'[defaults]\nssh_options = ["-F", "{config}"]\n{rows}')
    words = ["flash", str(bundle), "--inventory", str(inventory), "--trust", str(trust), "--parallel", str(PARALLEL)]
    began = time.monotonic()
    answer = st4vla(*words)
    seconds = time.monotonic() - began
    try:
        told = msgspec.json.decode(answer.stdout.splitlines()[-1])
        results = told["devices"]
    except (IndexError, KeyError, msgspec.DecodeError):
        msg = f"st4vla flash ended with status {answer.returncode}: {answer.stderr[-1000:]}"
        raise FlashError(msg) from None
    return {
        "seconds": round(seconds, 2),
        "status": answer.returncode,
        "states": dict(Counter(result["state"] for result in results)),
        "sent_bytes": sum(result["sent_bytes"] for result in results),
        "sent_bytes_a_device": _middle([result["sent_bytes"] for result in results if result["sent_bytes"]]),
        "seconds_a_device": _middle([result["seconds"] for result in results if result["state"] == "flashed"]),
        "messages": sorted({result["message"] for result in results if result["state"] == "failed"}),
        "said": [line for line in answer.stdout.splitlines() if "no further device" in line],
    }


def rsync_all(folder: Path, devices: Sequence[PoweredDevice], bundle: Path) -> dict[str, Any]:
    """Copy a bundle's files to them with rsync over the same ssh, as many at one moment; nothing is done with them.

    Raises:
        FlashError: One of the copies fails.
    """
    config = folder / "ssh_config"
    write_client_config(config, [device.ssh for device in devices])

    def copy(device: PoweredDevice) -> int:
        command = ["rsync", "-a", "--checksum", "--stats", "-e", f"ssh -F {config} -o BatchMode=yes"]
        target = f"{device.name}:{device.layout.root.parent}/rsync/"
        answer = subprocess.run(  # noqa: S603
            [*command, f"{bundle}/", target], capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            msg = f"rsync to {device.name} ended with status {answer.returncode}: {answer.stderr}"
            raise FlashError(msg)
        sent = next(line for line in answer.stdout.splitlines() if line.startswith("Total bytes sent"))
        return int(sent.rpartition(":")[2].replace(",", ""))

    began = time.monotonic()
    with ThreadPoolExecutor(PARALLEL) as threads:
        sent = list(threads.map(copy, devices))
    return {
        "seconds": round(time.monotonic() - began, 2),
        "sent_bytes": sum(sent),
        "sent_bytes_a_device": _middle(sent),
    }


def serving(devices: Sequence[PoweredDevice], bundles: Sequence[Bundle]) -> dict[str, int]:
    """Return how many devices have each bundle in their active slot, by its folder; the others under ``none``."""
    names = {bundle.digest: bundle.folder.name for bundle in bundles}
    found: Counter[str] = Counter()
    for device in devices:
        state = read_state(device.layout.state)
        record = "" if state.active is None else device.layout.slot(state.active).record.read_text()
        found[next((name for digest, name in names.items() if digest in record), "none")] += 1
    return dict(found)


def memory(devices: Sequence[PoweredDevice]) -> dict[str, float]:
    """Return what a device's processes take together, in megabytes: the largest, and in the middle.

    A page that several processes share counts as many times less.
    """
    sizes = [sum(map(_proportional_kib, device.processes())) / 1000 * 1.024 for device in devices]
    return {"middle_mb": round(_middle(sizes), 1), "most_mb": round(max(sizes), 1)}


def _proportional_kib(process: int) -> int:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def st4vla(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of this project's commands in a process of its own; how that ended is in the result."""
    return subprocess.run([*ST4VLA, *arguments], capture_output=True, text=True, check=False)  # noqa: S603


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0
