from pathlib import Path

import pytest

from st4vla.contracts.errors import StorageError
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
