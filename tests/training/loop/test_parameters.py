import pytest
from torch import nn

from st4vla.contracts.errors import UsageError
from st4vla.training.loop.parameters import parameter_groups


def model() -> nn.ModuleDict:
    inner = nn.ModuleDict({"proj": nn.Linear(2, 2), "proj2": nn.Linear(2, 2)})
    return nn.ModuleDict({"planner": nn.Linear(2, 2), "bridge": inner})


def test_the_longest_path_decides_and_a_path_ends_at_a_module() -> None:
    made = model()
    groups = parameter_groups(made, rate=1e-3, rates={"bridge": 1e-4, "bridge.proj": 1e-5})
    rates = {id(parameter): group["peak"] for group in groups for parameter in group["params"]}
    assert rates[id(made["planner"].weight)] == 1e-3
    assert rates[id(made["bridge"]["proj"].weight)] == 1e-5
    assert rates[id(made["bridge"]["proj2"].weight)] == 1e-4


def test_frozen_modules_are_in_no_group_and_have_no_gradient() -> None:
    made = model()
    groups = parameter_groups(made, rate=1e-3, rates={}, frozen=["planner"])
    assert not made["planner"].weight.requires_grad
    assert sum(len(group["params"]) for group in groups) == 4


def test_parameters_that_do_not_learn_stay_so() -> None:
    made = model()
    made["planner"].weight.requires_grad_(False)
    assert sum(len(group["params"]) for group in parameter_groups(made, rate=1e-3, rates={})) == 5


@pytest.mark.parametrize(
    ("rates", "frozen", "match"),
    [
        ({"plan": 1e-3}, [], "no parameter lies in plan; the model's modules are bridge, planner"),
        ({}, ["bridge.projection"], r"no parameter lies in bridge\.projection"),
        ({"planner": 0.0}, [], "planner 0"),
        ({}, ["planner", "bridge"], "nothing learns"),
    ],
)
def test_what_cannot_be_meant_is_refused(rates: dict[str, float], frozen: list[str], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        parameter_groups(model(), rate=1e-3, rates=rates, frozen=frozen)
