"""A device of aarch64 under QEMU; `make virtual-jetson` makes it."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from st4vla.benchmarks.flashing.ground import Ground
from st4vla.benchmarks.flashing.powered_device import QUICK
from st4vla.benchmarks.flashing.virtual_jetson import VirtualJetson
from st4vla.contracts.files import read_manifest
from st4vla.contracts.manifests import ENGINES_FORMAT, EnginesManifest
from st4vla.runtime.flashing.config import TrialConfig
from st4vla.runtime.flashing.state import read_state

#: Sums are added in another order there; the policies are farther apart by far.
BOUND = 1e-4
#: Emulated, all takes some thirty times as long.
FLASH_S = 500.0


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_bundle_is_flashed_to_a_jetson_that_is_emulated(ground: Ground, tmp_path: Path) -> None:
    config = replace(QUICK, trial=TrialConfig(seconds=5.0))
    with VirtualJetson(ground.lab.trust, config=config, fresh=True) as jetson:
        jetson.boot()
        jetson.await_supervisor(300)
        assert jetson.ssh_run("uname -m").stdout == "aarch64\n"
        result = ground.flash(jetson, ground.old.bundle.folder, timeout_s=FLASH_S)
        assert result.ok, result
        state = read_state(jetson.layout.state)
        assert state.active is not None
        engines = read_manifest(
            jetson.layout.slot(state.active).engines / "engines.json", EnginesManifest, ENGINES_FORMAT
        )
        assert engines.fingerprint.machine == "aarch64"
        assert engines.actions.max_relative < 1e-4
        # And it answers through the wire as the same bundle does here, within what another processor's sums make.
        assert ground.serves(jetson, 120, BOUND) == "old"
        result = ground.flash(jetson, timeout_s=FLASH_S)
        assert result.ok, result
        assert ground.serves(jetson, 120, BOUND) == "new"
