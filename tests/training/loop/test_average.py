import pytest
import torch
from torch import nn

from st4vla.contracts.errors import ManifestError, UsageError
from st4vla.training.loop.average import WeightAverage


def model() -> nn.Linear:
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.fill_(0.0)
    layer.bias.requires_grad_(False)
    return layer


def test_the_average_follows_what_learns_slowly_and_faster_in_the_first_steps() -> None:
    layer = model()
    average = WeightAverage(layer, 0.9)
    assert set(average.averages) == {"weight"}
    with torch.no_grad():
        layer.weight.fill_(1.0)
    average.update(1)
    # (1 + 1) / (10 + 1) of the old value is kept.
    torch.testing.assert_close(average.averages["weight"], torch.full((2, 2), 9 / 11))
    average.update(1000)
    torch.testing.assert_close(average.averages["weight"], torch.full((2, 2), 1 - 0.9 * 2 / 11))


def test_averages_are_stored_for_a_while_or_for_good() -> None:
    layer = model()
    average = WeightAverage(layer, 0.5)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    with average.stored():
        assert (layer.weight == 0).all()
    assert (layer.weight == 1).all()
    average.store()
    assert (layer.weight == 0).all()


def test_averages_go_on_from_where_they_were() -> None:
    average = WeightAverage(model(), 0.5)
    average.load({"weight": torch.full((2, 2), 3.0)})
    assert (average.averages["weight"] == 3).all()
    with pytest.raises(ManifestError, match="differ in bias"):
        average.load({"weight": torch.zeros(2, 2), "bias": torch.zeros(2)})


@pytest.mark.parametrize("decay", [-0.1, 0.0, 1.0])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    with pytest.raises(UsageError, match="must lie between 0 and 1"):
        WeightAverage(model(), decay)
