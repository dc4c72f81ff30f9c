"""The tiny checkpoint, and the bundle that is made of it today."""

import pytest

from st4vla.contracts.manifests import Bundle
from st4vla.export.bundle import export_bundle
from st4vla.training.checkpoint import Checkpoint, init_checkpoint


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return init_checkpoint("tiny", 0)


@pytest.fixture(scope="session")
def rebuilt(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    export_bundle(checkpoint, folder, name="tiny")
    return Bundle(folder)
