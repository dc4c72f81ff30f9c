"""Tests of the registry, of counting what cannot be read, and of the command end to end."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.command_line import main
from st4vla.contracts.errors import DatasetError, UsageError
from st4vla.training.grounding.answers import answer_text, parse_boxes
from st4vla.training.grounding.converters import CONVERTERS, convert
from st4vla.training.grounding.records import Options
from st4vla.training.grounding.samples import Task, read_samples

SAID = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A bus."}]


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    """Write three conversations, the second without its picture."""
    picture(tmp_path / "images/1.jpg", (64, 48))
    records = [{"id": name, "image": f"{name}.jpg", "conversations": SAID} for name in ("1", "2", "1")]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def last_line(capsys: pytest.CaptureFixture[str]) -> tuple[Any, str]:
    captured = capsys.readouterr()
    return json.loads(captured.out.splitlines()[-1]), captured.err


def test_the_command_writes_samples_and_counts_them_and_what_it_skipped(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new/out.jsonl"
    images = str(tmp_path / "images")
    status = main(
        ["data", "convert", "llava-onevision", str(source), "--images", images, "--out", str(out), "--skip-bad"]
    )
    result, errors = last_line(capsys)
    assert status == 0
    assert result == {"out": str(out), "samples": 2, "tasks": {"general": 2}, "skipped": 1, "ok": True}
    assert errors.startswith(f"skipped {source}, record on line 2: the picture {tmp_path / 'images/2.jpg'} is missing")
    assert [sample.id for sample in read_samples(out)] == ["1", "1"]


def test_without_skip_bad_the_first_bad_record_stops_and_nothing_is_written(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("as it was")
    arguments = ["data", "convert", "llava-onevision", str(source), "--images", str(tmp_path / "images")]
    assert main([*arguments, "--out", str(out)]) == 1
    result, _ = last_line(capsys)
    assert result["error"] == "DatasetError"
    assert f"{source}, record on line 2" in result["message"]
    assert "--skip-bad" in result["message"]
    assert out.read_text() == "as it was"
    assert {path.name for path in tmp_path.iterdir()} == {"images", "data.jsonl", "out.jsonl"}


def test_a_limit_stops_before_what_would_be_bad(source: Path, tmp_path: Path) -> None:
    done = convert("llava-onevision", source, tmp_path / "out.jsonl", Options(tmp_path / "images"), limit=1)
    assert (done.samples, done.skipped) == ({"general": 1}, 0)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["coco", "SOURCE", "--out", "OUT"], "no converter is called 'coco'; there are a0, llava-onevision, refcoco"),
        (["refcoco", "nowhere", "--out", "OUT"], "nowhere is not there"),
        (["refcoco", "SOURCE", "--out", "FOLDER"], "is a folder; name a file with --out"),
        (["refcoco", "SOURCE", "--out", "SOURCE/below"], "write to another place"),
        (["refcoco", "SOURCE", "--out", "OUT"], "is refused as a pickle"),
        (["refcoco", "SOURCE", "--out", "OUT", "--limit", "0"], "--limit 0: must be positive"),
    ],
)
def test_a_wrong_command_line_is_answered_in_one_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], error: str
) -> None:
    names = {"SOURCE": source, "OUT": tmp_path / "out.jsonl", "FOLDER": tmp_path, "SOURCE/below": source / "below/a"}
    status = main(["data", "convert", *(str(names.get(argument, argument)) for argument in arguments)])
    result, _ = last_line(capsys)
    assert status in {1, 2}
    assert error in result["message"]


def test_a_source_that_gives_no_sample_is_refused(source: Path, tmp_path: Path) -> None:
    source.write_text("")
    with pytest.raises(DatasetError, match="gave no sample, and 0 unreadable records"):
        convert("llava-onevision", source, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are a0, llava-onevision, refcoco, roborefit, tabletop"):
        convert("coco", tmp_path, tmp_path / "out.jsonl")


def test_a_converted_box_comes_back_from_the_answer_in_the_pixels_shown(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    picture(tmp_path / "annotations/images/a.png", (224, 224))
    line = {"image": "annotations/images/a.png", "view": "wrist", "width": 224, "height": 224}
    (tmp_path / "annotations/boxes.jsonl").write_text(json.dumps(line | {"boxes": {"red cube": [10, 20, 30, 40]}}))
    out = tmp_path / "out.jsonl"
    assert convert("tabletop", tmp_path, out).samples == {"box": 1, "point": 1}
    box = next(sample for sample in read_samples(out) if sample.task is Task.BOX)
    (target,) = parse_boxes(answer_text(box.turns[0], box.task, box.size, (448, 112)))
    assert (target.label, target.box) == ("red cube", (20, 10, 60, 20))


def test_converting_needs_no_torch() -> None:
    code = (
        "import sys, st4vla.training.commands.data, st4vla.training.grounding.answers, "
        "st4vla.training.grounding.resize; print(sorted({'torch', 'transformers', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert len(CONVERTERS) == 5
