"""Tests of which blocks are raised, with a judge and graphs that are made up."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.errors import UsageError
from st4vla.contracts.manifests import GRAPH_NAMES
from st4vla.export.quantization.deviation import Deviation
from st4vla.export.quantization.observing import Observations
from st4vla.export.quantization.recipe import PINNED, get_form
from st4vla.export.quantization.sensitivity import (
    Bounds,
    GraphLowerer,
    Raiser,
    Sensitivity,
    measure_alone,
    raise_until_it_holds,
)

LADDER = ("int4", "int8", "half", "float32")
#: What each block does to the cosine at each rung.
DISTANCES = {
    ("planner", "layers.0"): (0.1, 0.01, 0.0001),
    ("planner", "layers.1"): (0.5, 0.4, 0.001),
    ("bridge", "keys"): (0.02, 0.001, 0.0),
    ("sampler", "transformer.blocks.0"): (0.3, 0.001, 0.0001),
}
Rungs = dict[str, dict[str, tuple[str, ...]]]


def rungs() -> Rungs:
    made: Rungs = {graph: {} for graph in GRAPH_NAMES}
    for graph, block in DISTANCES:
        made[graph][block] = LADDER
    return made


def deviation(distance: float) -> Deviation:
    return Deviation(1 - distance, 1 - distance, 0.0)


def raiser() -> Raiser:
    alone = [
        Sensitivity(graph, block, rung, deviation(distance))
        for (graph, block), distances in DISTANCES.items()
        for rung, distance in zip(LADDER, distances, strict=False)
    ]
    return Raiser(rungs(), alone)


def chosen(made: Raiser) -> list[str]:
    return [made.chosen[graph][block] for graph, block in DISTANCES]


class FakeLowerer:
    """Writes no graphs, but what they would be."""

    def __init__(self) -> None:
        self.written: list[Path] = []

    def emulate(self, graph: str, each: Mapping[str, str]) -> Any:
        return {(graph, block): rung for block, rung in each.items()}

    def write(self, graph: str, each: Mapping[str, str], folder: Path) -> Any:
        self.written.append(folder / graph)
        return self.emulate(graph, each)


class FakeJudge:
    """Adds up what blocks do, and a little for their company."""

    def __init__(self, company: float = 1.2) -> None:
        self.company, self.seen = company, list[tuple[int | None, bool]]()

    def deviation(self, changed: Mapping[str, Any], count: int | None = None, *, exactly: bool = True) -> Deviation:
        self.seen.append((count, exactly))
        blocks = [pair for each in changed.values() for pair in each.items()]
        found = [DISTANCES[key][LADDER.index(rung)] for key, rung in blocks if rung != "float32"]
        return deviation(self.company * sum(found))


def test_all_begin_with_the_smallest_numbers() -> None:
    assert chosen(raiser()) == ["int4"] * 4


def test_the_block_from_which_most_is_gained_is_raised_first() -> None:
    made = raiser()
    # 0.92 in all: the sampler's block gains 0.299, layers.1 only 0.1 by its first rung.
    assert made.raise_worst(0.7)
    assert chosen(made) == ["int4", "int4", "int4", "int8"]
    assert made.raise_worst(0.999)
    assert chosen(made) == ["int4", "int8", "int4", "int8"]
    assert made.raise_worst(0.999)
    assert chosen(made) == ["int4", "half", "int4", "int8"]


@pytest.mark.parametrize("share", [0.9, 0.5, 0.2, 0.01, 0.0])
def test_blocks_are_raised_down_to_the_share_and_not_beyond(share: float) -> None:
    made = raiser()
    steps = [0.92]
    while made.raise_worst(0.9999):
        steps.append(sum(made.distance(graph, block, made.chosen[graph][block]) for graph, block in DISTANCES))
    made = raiser()
    assert made.raise_worst(share)
    left = sum(made.distance(graph, block, made.chosen[graph][block]) for graph, block in DISTANCES)
    assert left <= share * 0.92 + 1e-12
    # One step fewer would not have been enough.
    assert min(step for step in steps if step > left + 1e-12) > share * 0.92


def test_one_block_is_raised_even_where_the_share_is_met_already() -> None:
    made = raiser()
    assert made.raise_worst(100)
    assert chosen(made).count("int4") == 3


def test_raising_ends_when_all_are_float32() -> None:
    made = raiser()
    count = 0
    while made.raise_worst(1):
        count += 1
    assert chosen(made) == ["float32"] * 4
    assert count == 4 * 3
    assert not made.raise_worst(0)


def test_only_the_graphs_that_were_named_are_raised() -> None:
    made = raiser()
    assert made.raise_worst(0, ("planner",))
    assert made.chosen["planner"] == {"layers.0": "float32", "layers.1": "float32"}
    assert made.chosen["sampler"] == {"transformer.blocks.0": "int4"}


def settle(made: Raiser, judge: FakeJudge, lowerer: FakeLowerer, bounds: Bounds, **options: Any) -> Deviation:
    return raise_until_it_holds(judge, lowerer, made, bounds, **options)  # type: ignore[arg-type]


def test_blocks_are_raised_until_the_bounds_hold() -> None:
    made, judge, lines = raiser(), FakeJudge(), list[str]()
    bounds = Bounds(min_cosine=0.95)
    found = settle(made, judge, FakeLowerer(), bounds, report=lines.append)
    assert bounds.hold(found)
    assert chosen(made) == ["int8", "half", "int8", "int8"]
    assert len(lines) == len(judge.seen) == 2
    assert lines[0].startswith("4 int4: cosine -0.104000, joints 0.00 mrad")
    assert lines[-1].startswith("1 half, 3 int8: ")
    assert set(judge.seen) == {(None, True)}


def test_nothing_is_raised_where_the_bounds_hold_at_once() -> None:
    made, judge = raiser(), FakeJudge()
    settle(made, judge, FakeLowerer(), Bounds(min_cosine=-0.5))
    assert chosen(made) == ["int4"] * 4
    assert len(judge.seen) == 1


def test_fixed_precisions_stay_whatever_they_do() -> None:
    made, judge = raiser(), FakeJudge()
    found = settle(made, judge, FakeLowerer(), Bounds(), fixed=True)
    assert not Bounds().hold(found)
    assert chosen(made) == ["int4"] * 4


def test_bounds_that_nothing_holds_end_with_float32() -> None:
    made, judge = raiser(), FakeJudge()
    assert settle(made, judge, FakeLowerer(), Bounds(min_cosine=2)).cosine == 1
    assert chosen(made) == ["float32"] * 4


def test_what_this_processor_makes_is_judged_where_graphs_are_written(tmp_path: Path) -> None:
    made, judge, lowerer = raiser(), FakeJudge(), FakeLowerer()
    settle(made, judge, lowerer, Bounds(min_cosine=-0.5), written_in=tmp_path)
    assert lowerer.written == [tmp_path / graph for graph in GRAPH_NAMES]
    assert judge.seen == [(None, False)]


def test_each_block_is_measured_alone_at_each_rung_but_float32() -> None:
    shown: list[tuple[str, int, int]] = []
    judge = FakeJudge(company=1)
    found = measure_alone(judge, FakeLowerer(), rungs(), lambda *each: shown.append(each))  # type: ignore[arg-type]
    assert [(each.graph, each.block, each.rung) for each in found] == [
        (graph, block, rung) for graph, block in DISTANCES for rung in LADDER[:3]
    ]
    assert found[4].deviation.distance == pytest.approx(0.4)
    assert shown[0] == ("planner layers.0 int4", 0, 12)
    assert {count for count, _ in judge.seen} == {4}


@pytest.fixture(scope="session")
def lowerer(
    paths: dict[str, Path], observations: dict[str, Observations], tmp_path_factory: pytest.TempPathFactory
) -> GraphLowerer:
    return GraphLowerer(paths, get_form("tensorrt"), observations, tmp_path_factory.mktemp("lowered"))


def test_blocks_have_the_rungs_that_do_something_for_them(lowerer: GraphLowerer) -> None:
    planner, sampler = lowerer.rungs("planner", "int4"), lowerer.rungs("sampler", "int4")
    # A table is not multiplied with; 588 and 7 rows do not divide into blocks.
    assert planner["embed"] == ("half", "float32")
    assert planner["visual.patches"] == ("int8", "half", "float32")
    assert planner["layers.0"] == LADDER
    assert sampler["transformer.x_embedder"] == ("int8", "half", "float32")
    assert not set(PINNED) & set(sampler)
    # The bridge's is a product like any other.
    assert lowerer.rungs("bridge", "int8")["embed"] == ("int8", "half", "float32")
    assert set(lowerer.rungs("bridge", "float32").values()) == {("float32",)}


def test_a_rung_that_a_form_does_not_have_is_answered_with_those_that_it_has(lowerer: GraphLowerer) -> None:
    with pytest.raises(UsageError, match="'int2' is not a precision of tensorrt; choose one of int4, int8, half"):
        lowerer.rungs("planner", "int2")
    with pytest.raises(UsageError, match="'int8' is not a precision of cpu; choose one of int8_dynamic, float32"):
        get_form("cpu").rungs("int8")
    with pytest.raises(UsageError, match="unknown kind of engine 'gpu'; known are tensorrt, cpu"):
        get_form("gpu")


def test_every_product_of_int8_knows_its_range(lowerer: GraphLowerer, paths: dict[str, Path]) -> None:
    recipe = lowerer.recipe("sampler", dict.fromkeys(lowerer.rungs("sampler", "int8"), "int8"))
    assert set(recipe.precisions.values()) == {"int8"}
    assert set(recipe.float_types().values()) == {"float16"}
    scalings = lowerer.scalings["planner"]
    query, key = (scalings[f"layers.0.self_attn.{name}_proj"] for name in "qk")
    assert query is key
    assert all(each.scale > 0 for graph in GRAPH_NAMES for each in lowerer.scalings[graph].values())
    assert lowerer.emulate("sampler", dict(recipe.precisions)) != paths["sampler"]
