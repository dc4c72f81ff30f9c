"""Tests of LLaVA's conversations as a list, as lines and as Parquet."""

import builtins
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from st4vla.contracts.errors import DatasetError, MissingExtraError, UsageError
from st4vla.training.grounding.samples import Task, Turn

Run = Callable[..., Any]


def said(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[index % 2], "value": text} for index, text in enumerate(texts)]


GOOD = {
    "id": "000000033471",
    "image": "coco/1.jpg",
    "conversations": said("<image>\nWhat colour is the bus?", "White and red.", "Why?", "It is painted so."),
}


@pytest.fixture
def images(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    for name, size in (("1.jpg", (64, 48)), ("2.png", (10, 20))):
        picture(tmp_path / "images/coco" / name, size)
    return tmp_path / "images"


def write(folder: Path, records: list[Any], kind: str) -> Path:
    path = folder / f"data.{kind}"
    lines = [json.dumps(record) for record in records]
    path.write_text(f"[{', '.join(lines)}]" if kind == "json" else "\n\n".join(lines))
    return path


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_a_conversation_loses_its_markers_and_keeps_its_turns(
    tmp_path: Path, images: Path, run: Run, kind: str
) -> None:
    several = {"id": 5, "image": ["coco/2.png", "coco/1.jpg"], "conversations": said("Same?\n<image><image>", "No.")}
    samples, bad = run("llava-onevision", write(tmp_path, [GOOD, several], kind), images=images)
    assert not bad
    first, second = samples
    assert (first.id, first.task, first.size) == ("000000033471", Task.GENERAL, (64, 48))
    assert first.turns == (Turn("What colour is the bus?", "White and red."), Turn("Why?", "It is painted so."))
    assert (second.id, second.images, second.size) == ("5", ("coco/2.png", "coco/1.jpg"), (10, 20))
    assert second.turns == (Turn("Same?", "No."),)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"image": "coco/9.jpg"}, "9.jpg is missing"),
        ({"image": None}, "has 0 pictures"),
        ({"image": []}, "has 0 pictures"),
        ({"conversations": said("<image><image> a", "b")}, "has 1 pictures and 2 markers"),
        ({"conversations": said("<image> a")}, "must alternate"),
        ({"conversations": []}, "must alternate"),
        ({"conversations": said("a", "b")[::-1]}, "the speakers gpt, human"),
        ({"conversations": [*said("a", "b"), *said("c", "d")[::-1]]}, "must alternate"),
        ({"conversations": said("<image>", "b")}, "a turn needs a question"),
        ({"conversations": said("a", " ")}, "a turn needs a question"),
        ({"conversations": "hello"}, "Expected `array`"),
    ],
)
def test_a_conversation_that_cannot_be_read_is_named(
    tmp_path: Path, images: Path, run: Run, wrong: dict[str, Any], reason: str
) -> None:
    for kind, place in (("json", "at index 1"), ("jsonl", "on line 3")):
        path = write(tmp_path, [GOOD, GOOD | wrong, GOOD], kind)
        samples, bad = run("llava-onevision", path, images=images)
        assert len(samples) == 2
        (one,) = bad
        assert str(one).startswith(f"{path}, record {place}: ")
        assert reason in one.reason


def encoded(kind: str, size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, kind)
    return stream.getvalue()


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def row(data: bytes | None, identity: str = "a", **changes: Any) -> dict[str, Any]:
    image = None if data is None else {"bytes": data, "path": "1.png"}
    return {"id": identity, "image": image, "conversations": said("<image>\nWhat?", "A bus."), "data_source": "x"} | (
        changes
    )


def test_pictures_in_parquet_are_written_under_their_content(tmp_path: Path, run: Run) -> None:
    png, jpeg = encoded("PNG", (8, 6)), encoded("JPEG", (30, 20))
    write_parquet(tmp_path / "ov/train-00000-of-00002.parquet", [row(png), row(jpeg, "b"), row(png, "c")])
    write_parquet(tmp_path / "ov/train-00001-of-00002.parquet", [row(jpeg, "d")])
    samples, bad = run("llava-onevision", tmp_path / "ov", images=tmp_path / "out")
    assert not bad
    assert [sample.id for sample in samples] == ["a", "b", "c", "d"]
    assert [sample.size for sample in samples] == [(8, 6), (30, 20), (8, 6), (30, 20)]
    assert samples[0].images == samples[2].images
    assert samples[0].images[0].endswith(".png")
    assert (tmp_path / "out" / samples[1].images[0]).read_bytes() == jpeg
    assert samples[1].images[0].endswith(".jpg")
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == 2


def test_a_row_that_cannot_be_read_is_named_and_leaves_no_picture(tmp_path: Path, run: Run) -> None:
    good = encoded("PNG", (8, 6))
    rows = [row(good), row(b"no picture"), row(None), row(encoded("PNG", (9, 9)), conversations=said("<image> a"))]
    path = write_parquet(tmp_path / "a.parquet", rows)
    samples, bad = run("llava-onevision", path, images=tmp_path / "out")
    assert len(samples) == 1
    assert [one.record for one in bad] == ["in row 1", "in row 2", "in row 3"]
    assert "10 bytes are no picture" in bad[0].reason
    assert "has 0 pictures" in bad[1].reason
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == 1


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    path = write_parquet(tmp_path / "a.parquet", [row(encoded("PNG", (8, 6)))])
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name=name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"needs pyarrow; install it with: pip install 'st4vla\[train\]'"):
        run("llava-onevision", path, images=tmp_path / "out")


def test_what_is_no_conversation_file_is_refused(tmp_path: Path, run: Run) -> None:
    with pytest.raises(UsageError, match="name a folder to write them to with --images"):
        run("llava-onevision", tmp_path)
    with pytest.raises(DatasetError, match=r"holds no \.parquet file"):
        run("llava-onevision", tmp_path, images=tmp_path)
    for name, reason in (
        ("a.txt", r"ends in '\.txt'"),
        ("a.json", "is no JSON list of conversations"),
        ("a.parquet", "cannot be read: .* it should be a Parquet file"),
        ("none.jsonl", "cannot be read: No such file"),
    ):
        path = tmp_path / name
        if not name.startswith("none"):
            path.write_text('{"a": 1}')
        with pytest.raises(DatasetError, match=reason):
            run("llava-onevision", path, images=tmp_path)
    with pytest.raises(DatasetError, match="has no splits; got 'train'"):
        run("llava-onevision", tmp_path / "a.json", split="train")
