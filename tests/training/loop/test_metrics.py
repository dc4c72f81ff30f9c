import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from st4vla.contracts.errors import MissingExtraError, StorageError
from st4vla.training.loop.metrics import MetricsLog


def test_a_run_that_goes_on_forgets_the_steps_that_it_takes_again_and_lines_that_were_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    with MetricsLog(path, 0) as metrics:
        for step in range(5):
            metrics.log(step, {"loss": step / 2})
    with path.open("ab") as stream:
        stream.write(b'{"step": 5, "lo')
    with MetricsLog(path, 3) as metrics:
        metrics.log(3, {"loss": 9.0})
    assert path.read_text().splitlines() == [
        '{"step":0,"loss":0.0}',
        '{"step":1,"loss":0.5}',
        '{"step":2,"loss":1.0}',
        '{"step":3,"loss":9.0}',
    ]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StorageError, match=r"metrics\.jsonl cannot be written: .*run again to go on"):
        MetricsLog(tmp_path / "run" / "metrics.jsonl", 0)


def test_in_event_files_each_step_stands_once_as_well(tmp_path: Path) -> None:
    path, events = tmp_path / "metrics.jsonl", tmp_path / "tensorboard"
    for first, last, loss in ((0, 5, 1.0), (3, 6, 2.0)):
        with MetricsLog(path, first, events) as metrics:
            for step in range(first, last):
                metrics.log(step, {"loss": loss, "gradient_norm": 0.5})
    read = EventAccumulator(str(events)).Reload()
    assert read.Tags()["scalars"] == ["loss", "gradient_norm"]
    assert [(event.step, event.value) for event in read.Scalars("loss")] == [
        (0, 1.0),
        (1, 1.0),
        (2, 1.0),
        (3, 2.0),
        (4, 2.0),
        (5, 2.0),
    ]


def test_without_tensorboard_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"event files need TensorBoard .*pip install 'st4vla\[train\]'"):
        MetricsLog(tmp_path / "metrics.jsonl", 0, tmp_path / "tensorboard")
