"""A disk that really is full: a small tmpfs."""

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.errors import PreflightError, StorageError
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.flashing.build_job import BuildJob, Built
from st4vla.runtime.flashing.build_work import do_job
from st4vla.runtime.flashing.config import DeviceConfig, PreflightConfig, ServeConfig
from st4vla.runtime.flashing.installing import Installer
from st4vla.runtime.flashing.record import Record
from st4vla.runtime.flashing.recovering import recover
from st4vla.runtime.flashing.slots import verify_slot
from st4vla.runtime.flashing.state import DeviceState, write_state

PAGE = 4096
ENOUGH = 4 << 20
CONFIG = DeviceConfig(serve=ServeConfig(backend="onnxruntime"), preflight=PreflightConfig(disk_reserve_bytes=0))


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[int], None]]:
    """Mount a small disk on a folder, and yield what changes its size."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ENOUGH}", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_however_small_the_disk_a_flash_ends_in_a_sentence_and_a_larger_one_takes_it(
    trial_device: Callable[[Path], Any],
    bundle: Bundle,
    other_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("st4vla.runtime.flashing.build_slot.run_build", lambda job, say, **_: build(job, say))
    here = this_device().fingerprint(OnnxRuntimeBackend())
    ends = Counter[str]()
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk") as resize:
        device = trial_device(tmp_path / "disk/device")
        layout, steps = device.layout, list[str]()
        installer = Installer(layout, CONFIG, Record(layout.record), lambda step, _: steps.append(step))

        def flash(offered: Bundle, counter: int, slot: Any) -> None:
            steps[:] = ["receive"]
            quiet: dict[str, Callable[..., Any]] = {"progress": lambda _: None, "cancelled": lambda: False}
            installer.install(device.bring(offered, counter), slot, attempt="f", serving=False, **quiet)

        flash(bundle, 1, "a")
        write_state(layout.state, DeviceState(active="a"))
        disk = os.statvfs(layout.root)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        # The other bundle shares all files but one, and all engines: there is little to write, a page at a time.
        for size in range(used, used + 64 * PAGE, 2 * PAGE):
            resize(size)
            # It would grow as fast as the disk does.
            layout.record.unlink(missing_ok=True)
            refusal = refused(lambda: flash(other_bundle, 2, "b"))
            ends[steps[-1] if refusal else "done"] += 1
            if not refusal:
                break
            assert "full" in refusal or "free some space" in refusal
            assert not layout.slot("b").folder.exists()
            verify_slot(layout, "a", here)
        assert ends["done"] == 1
        assert len(ends) > 2, f"the disk was full at several moments: {ends}"
        verify_slot(layout, "b", here)
        resize(ENOUGH)
        recover(layout)
        verify_slot(layout, "a", here)


def refused(work: Callable[[], None]) -> str:
    """Return the sentence that something ends in, or nothing."""
    try:
        work()
    except (StorageError, PreflightError) as error:
        return str(error)
    return ""


def build(job: BuildJob, say: Callable[[Any], None]) -> Built:
    try:
        return do_job(job, say)
    except OSError as error:
        # As the process that builds says it.
        msg = f"engines cannot be written: {error.strerror}; free some space"
        raise StorageError(msg) from error
