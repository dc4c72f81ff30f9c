from pathlib import Path

import numpy as np

from st4vla.benchmarks.flashing.asking import know
from st4vla.benchmarks.flashing.derived_bundle import derive_bundle
from st4vla.contracts.manifests import Bundle

TINY = Path(__file__).parents[3] / "bundles/tiny"


def test_a_derived_bundle_is_another_policy_that_shares_planner_and_bridge(tmp_path: Path) -> None:
    source = Bundle(TINY)
    derived = derive_bundle(source, tmp_path / "derived", seed=1)
    same = {name for name, entry in derived.manifest.files.items() if entry == source.manifest.files[name]}
    assert set(source.manifest.files) - same == {"sampler.onnx.data", "golden.npz"}
    assert derived.digest != source.digest
    assert derived.manifest.name == source.manifest.name
    # It compiles within the bounds of its own golden numbers, and answers clearly otherwise.
    assert np.abs(know(derived).actions - know(source).actions).max() > 0.01


def test_seeds_give_different_policies_and_each_the_same_twice(tmp_path: Path) -> None:
    source = Bundle(TINY)
    first, again, other = (
        derive_bundle(source, tmp_path / name, seed=seed, name=f"tiny-{seed}")
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    weights = "sampler.onnx.data"
    assert first.manifest.files[weights] == again.manifest.files[weights]
    assert first.manifest.files[weights] != other.manifest.files[weights]
    assert other.manifest.name == "tiny-2"
