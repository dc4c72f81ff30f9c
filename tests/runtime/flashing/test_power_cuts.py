"""kill -9 at moments that nobody chose."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.files import file_entry
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.flashing.config import DeviceConfig, ServeConfig
from st4vla.runtime.flashing.installing import Installer
from st4vla.runtime.flashing.record import Record
from st4vla.runtime.flashing.recovering import recover
from st4vla.runtime.flashing.slots import read_slot, verify_slot
from st4vla.runtime.flashing.state import DeviceState, write_state

#: Takes a bundle from a folder and installs it into slot b, again and again, each time from nothing.
FLASHING = """
import sys
from pathlib import Path
from st4vla.contracts.manifests import BUNDLE_MANIFEST, Bundle
from st4vla.runtime.flashing.config import DeviceConfig, ServeConfig
from st4vla.runtime.flashing.installing import Installer
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.offers import Offers
from st4vla.runtime.flashing.record import Record
from st4vla.runtime.flashing.recovering import recover
from st4vla.runtime.flashing.slots import clear_slot
from st4vla.runtime.flashing.store import Store

layout, bundle, release = Layout(Path(sys.argv[1])), Bundle(Path(sys.argv[2])), Path(sys.argv[3]).read_bytes()
installer = Installer(layout, DeviceConfig(serve=ServeConfig(backend="onnxruntime")), Record(layout.record))
while True:
    print("flashing", flush=True)
    offer = Offers(layout).take(bundle.path(BUNDLE_MANIFEST).read_bytes(), release)
    for name, entry in bundle.manifest.files.items():
        Store(layout).add_file(bundle.path(name), entry)
    installer.install(
        offer, "b", attempt="f", progress=lambda one: None, cancelled=lambda: False, serving=False
    )
    clear_slot(layout, "b")
    Offers(layout).drop(offer.digest)
    recover(layout)
"""
KILLS = 40


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_at_whatever_moment_the_power_goes_nothing_is_half_and_the_next_flash_succeeds(
    device: Any, bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    layout, random_s = device.layout, random.Random(7)
    config = DeviceConfig(serve=ServeConfig(backend="onnxruntime"))
    here = this_device().fingerprint(OnnxRuntimeBackend())
    installer = Installer(layout, config, Record(layout.record))

    def install(offer: Any, slot: Any) -> None:
        quiet: dict[str, Callable[..., Any]] = {"progress": lambda _: None, "cancelled": lambda: False}
        installer.install(offer, slot, attempt="f", serving=False, **quiet)

    install(device.bring(bundle), "a")
    write_state(layout.state, DeviceState(active="a"))
    (tmp_path / "release").write_bytes(device.release(other_bundle, 2))
    found = set[bool]()
    for _ in range(KILLS):
        flashing = subprocess.Popen(
            [sys.executable, "-c", FLASHING, layout.root, other_bundle.folder, tmp_path / "release"],
            stdout=subprocess.PIPE,
        )
        assert flashing.stdout is not None
        assert flashing.stdout.readline() == b"flashing\n"
        time.sleep(random_s.random() * 4)
        flashing.send_signal(signal.SIGKILL)
        assert flashing.wait() == -signal.SIGKILL
        flashing.stdout.close()
        # An object is whole or not there, before anything is cleaned up.
        for path in (layout.root / "objects").glob("??/*"):
            assert file_entry(path).sha256 == path.name
        complete = read_slot(layout, "b") is not None
        found.add(complete)
        if complete:
            verify_slot(layout, "b", here)
        recover(layout)
        assert recover(layout) == []
        verify_slot(layout, "a", here)
        assert layout.slot("b").folder.exists() == complete
        assert [name for name in device.names() if "/." in f"/{name}" and not name.startswith("cache/")] == []
    assert False in found
    install(device.bring(other_bundle, 2), "b")
    verify_slot(layout, "b", here)
