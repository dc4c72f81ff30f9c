import json
from pathlib import Path

import msgspec
import pytest

from st4vla.contracts.command_line import main
from st4vla.training.ablation.report import BOXES, SQUARED, RowResult, RunResult, format_table, read_result
from st4vla.training.ablation.rows import AblationConfig, Row, row_config
from st4vla.training.ablation.run import CONFIG
from st4vla.training.actions.config import ActionsConfig, CoTrainingConfig, DemonstrationsConfig, MeasuringConfig
from st4vla.training.grounding.stage import SamplesConfig
from st4vla.training.loop.trainer import LoopConfig

SAMPLES = SamplesConfig(Path("samples"), Path("images"))
ACTIONS = ActionsConfig(
    checkpoint=Path("start"),
    data=(DemonstrationsConfig(Path("episodes"), "panda"),),
    loop=LoopConfig(steps=10),
    prompt="generic",
    co_training=CoTrainingConfig(data=(SAMPLES,)),
    measuring=MeasuringConfig(samples=SAMPLES),
)
CONFIGURED = AblationConfig(actions=ACTIONS, pretrained=Path("stage_1"), seeds=(0, 1))


def test_the_rows_differ_in_prompt_grounding_data_and_beginning_alone() -> None:
    rows = {row: row_config(CONFIGURED, row, 1) for row in Row}
    assert [rows[row].prompt for row in Row] == ["none", "none", "generic", "generic"]
    assert [rows[row].co_training is None for row in Row] == [True, False, False, False]
    assert [rows[row].checkpoint.name for row in Row] == ["start", "start", "start", "stage_1"]
    # The gradients that are compared are those of the same samples, whether a row learns from them or not.
    assert all(config.measuring.similarity_samples == SAMPLES for config in rows.values())
    same = {
        msgspec.json.encode(
            msgspec.structs.replace(config, prompt=None, co_training=None, checkpoint=Path()), enc_hook=str
        )
        for config in rows.values()
    }
    assert len(same) == 1
    assert all(config.loop.seed == 1 for config in rows.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": msgspec.structs.replace(ACTIONS, co_training=None)}, "actions.co_training"),
        ({"actions": msgspec.structs.replace(ACTIONS, prompt="none")}, "spatial actions.prompt"),
        ({"actions": msgspec.structs.replace(ACTIONS, measuring=MeasuringConfig())}, "measuring.samples"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "must be different"),
        ({"workers": 0}, "workers 0"),
    ],
)
def test_a_comparison_of_nothing_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        msgspec.structs.replace(CONFIGURED, **changes)


def result(after: float) -> RunResult:
    curve = [(0.0, 0.5), (10.0, after)]
    return RunResult({BOXES: 0.5}, {BOXES: after, SQUARED: after / 2}, {BOXES: curve, "similarity": [(5.0, 0.3)]}, 1.0)


def test_the_table_has_mean_and_deviation_over_the_seeds() -> None:
    row = RowResult(Row.SPATIALLY_GUIDED, [result(0.2), result(0.4)])
    assert row.mean_curve(BOXES) == [(0.0, 0.5), (10.0, pytest.approx(0.3))]
    assert row.range_curve(BOXES) == ([0.5, 0.2], [0.5, 0.4])
    lines = format_table([row]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| + spatially guided | 0.500 ± 0.000 | 0.300 ± 0.141 | 0.150 ± 0.071 | not measured |")


def test_a_run_is_read_back_with_its_curves(tmp_path: Path) -> None:
    receipt = {"before": {BOXES: 0.1}, "after": {BOXES: 0.3}, "seconds_of_this_try": 2.5, "more": "left alone"}
    (tmp_path / "receipt.json").write_text(json.dumps(receipt))
    lines = [{"step": 0, "loss": 1.0}, {"step": 1, "loss": 0.5, BOXES: 0.3, "similarity": 0.2}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_result(tmp_path)
    assert found.curves == {BOXES: [(0.0, 0.1), (2, 0.3)], "similarity": [(2, 0.2)]}
    assert found.after == {BOXES: 0.3}


def test_runs_of_two_configurations_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.toml"
    config.write_text(
        'pretrained = "b"\n[actions]\ncheckpoint = "a"\nprompt = "generic"\nloop.steps = 3\n'
        '[[actions.data]]\nfolder = "d"\nembodiment = "e"\n'
        '[[actions.co_training.data]]\nsamples = "s"\nimages = "i"\n'
        '[actions.measuring.samples]\nsamples = "s"\nimages = "i"\n'
    )
    (tmp_path / CONFIG).write_text("{}")
    assert main(["train", "ablation", "--config", str(config), "--out", str(tmp_path)]) == 2
    assert "holds the runs of another configuration" in capsys.readouterr().err
