from collections.abc import Iterator
from pathlib import Path

import pytest

from st4vla.benchmarks.flashing.ground import Ground
from st4vla.benchmarks.flashing.stand_in import StandIn

TINY = Path(__file__).parents[3] / "bundles/tiny"


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"), TINY)


@pytest.fixture(scope="module")
def device(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A device that serves the old policy, for all tests of a file that leave it so."""
    with StandIn("stand-in", tmp_path_factory.mktemp("device"), ground.lab.trust) as made:
        made.boot()
        made.await_supervisor()
        result = ground.flash(made, ground.old.bundle.folder)
        assert result.ok, result
        yield made
