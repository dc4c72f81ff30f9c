import multiprocessing
import os
from pathlib import Path

import pytest

from st4vla.contracts.errors import StorageError
from st4vla.runtime.flashing.record import Record


def test_what_was_written_is_read_the_newest_last(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.jsonl")
    record.write("begin", attempt="a1", step="compile", bundle_name="trial", bundle_digest="ab", text="engine")
    record.write("end")
    first, second = record.read()
    assert (first.event, first.attempt, first.step, first.text) == ("begin", "a1", "compile", "engine")
    assert second.monotonic_ns >= first.monotonic_ns
    assert record.read(1) == [second]


def test_a_line_that_a_power_cut_tore_is_passed_over_and_spoils_none(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    record = Record(path)
    record.write("one")
    with path.open("ab") as stream:
        stream.write(path.read_bytes()[:20])
    assert [line.event for line in record.read()] == ["one"]
    record.write("two")
    assert [line.event for line in record.read()] == ["one", "two"]


def test_a_long_record_is_put_aside_and_one_old_one_is_kept(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.jsonl", rotate_bytes=2000)
    for number in range(40):
        record.write("event", text=str(number))
    assert {path.name for path in tmp_path.iterdir()} <= {"record.jsonl", "record.jsonl.1"}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4500
    texts = [int(line.text) for line in record.read()]
    assert texts == list(range(texts[0], 40))
    assert len(texts) > 10


def test_lines_of_several_processes_do_not_mix_nor_get_lost_while_the_record_is_put_aside(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(tmp_path / "record.jsonl", name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    lines = Record(tmp_path / "record.jsonl").read()
    assert len(lines) == 90
    for name in "abc":
        assert [line.text for line in lines if line.event == name] == [str(number) for number in range(30)]


def write_many(path: Path, name: str) -> None:
    # So that it is put aside once, and one old one is enough.
    record = Record(path, rotate_bytes=7000)
    for number in range(30):
        record.write(name, text=str(number))


def test_a_record_that_cannot_be_written_says_so_and_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record(tmp_path / "record.jsonl")
    record.write("one")
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", full)
        return write(descriptor, data[: len(data) // 2])

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(StorageError, match=r"record\.jsonl cannot be written: No space left"):
        record.write("two")
    monkeypatch.undo()
    record.write("three")
    assert [line.event for line in record.read()] == ["one", "three"]
    assert (tmp_path / "record.jsonl").read_bytes().count(b"\n") == 2
