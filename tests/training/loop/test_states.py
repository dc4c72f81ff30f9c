from pathlib import Path

import pytest
import torch
from torch import nn

from st4vla.contracts.errors import ManifestError
from st4vla.training.loop.parameters import parameter_groups
from st4vla.training.loop.states import load_optimiser, load_state, newest_state, save_state
from st4vla.training.loop.trainer import make_optimiser
from st4vla.training.loop.world import World


class Tied(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(8, width)
        self.head = nn.Linear(width, 8, bias=False)
        self.head.weight = self.embed.weight


def test_a_tied_weight_is_stored_once_and_stays_tied(tmp_path: Path) -> None:
    model = Tied()
    optimiser = make_optimiser(parameter_groups(model, rate=1e-3, rates={}))
    path = save_state(tmp_path, 5, model, optimiser, keep=1)
    other = Tied()
    assert load_state(path, other, make_optimiser(parameter_groups(other, rate=1e-3, rates={}))) == 5
    assert other.head.weight is other.embed.weight
    assert torch.equal(other.embed.weight, model.embed.weight)


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    model = Tied()
    path = save_state(tmp_path, 5, model, make_optimiser(parameter_groups(model, rate=1e-3, rates={})), keep=1)
    with pytest.raises(ManifestError, match="does not fit this run's model"):
        load_state(path, Tied(width=6), None)
    with pytest.raises(ManifestError, match=r"missing: \['weight'"):
        load_state(path, nn.Linear(4, 4), None)


def test_a_folder_without_states_has_none(tmp_path: Path) -> None:
    assert newest_state(tmp_path) is None


class InParts(World):
    """A world whose optimiser cannot be made whole, as DeepSpeed's."""

    loaded: Path | None = None

    def save_parts(self, folder: Path) -> bool:
        folder.mkdir()
        (folder / "rank_0.pt").write_bytes(b"moments")
        return True

    def load_parts(self, folder: Path) -> bool:
        self.loaded = folder
        return True


def test_an_optimiser_in_parts_lies_in_the_state_and_is_vouched_for(tmp_path: Path) -> None:
    model, world = nn.Linear(4, 4), InParts()
    optimiser = make_optimiser(parameter_groups(model, rate=1e-3, rates={}))
    path = save_state(tmp_path, 5, model, optimiser, keep=1, world=world)
    assert [each.name for each in tmp_path.iterdir()] == ["step_00000005"]
    load_optimiser(path, optimiser, world)
    assert world.loaded == path / "parts"
    with pytest.raises(ManifestError, match="was written by DeepSpeed; go on with the launch configuration that began"):
        load_optimiser(path, optimiser)
    (path / "parts" / "rank_0.pt").write_bytes(b"other")
    assert newest_state(tmp_path) is None
