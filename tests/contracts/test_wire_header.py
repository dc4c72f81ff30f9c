import runpy
from pathlib import Path

import msgspec
import numpy as np
import pytest

from st4vla.contracts.messages import Message
from st4vla.contracts.wire import decode, encode
from st4vla.contracts.wire_header import main, wire_header
from st4vla.contracts.wire_table import Kind

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "firmware_bridge" / "include" / "st4vla" / "wire.h"
# Test modules are not importable by name under importlib mode.
GOLDEN = runpy.run_path(str(Path(__file__).with_name("golden_messages.py")))
MESSAGES: dict[str, Message] = GOLDEN["MESSAGES"]
DIRECTORY: Path = GOLDEN["DIRECTORY"]


def assert_equal(got: object, expected: object, where: str) -> None:
    """Compare messages field by field: == on their arrays has no single answer."""
    assert type(got) is type(expected), where
    if isinstance(expected, np.ndarray):
        assert isinstance(got, np.ndarray)
        assert got.dtype == expected.dtype, where
        np.testing.assert_array_equal(got, expected, err_msg=where, strict=True)
    elif isinstance(expected, tuple):
        assert isinstance(got, tuple)
        assert len(got) == len(expected), where
        for index, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
            assert_equal(ours, theirs, f"{where}[{index}]")
    elif isinstance(expected, msgspec.Struct):
        for name in expected.__struct_fields__:
            assert_equal(getattr(got, name), getattr(expected, name), f"{where}.{name}")
    else:
        assert got == expected, where


def test_the_committed_header_is_what_the_table_gives() -> None:
    assert HEADER.read_text(encoding="utf-8") == wire_header(), f"rewrite it: see the first lines of {HEADER}"


def test_the_header_keeps_to_the_line_length() -> None:
    assert max(len(line) for line in wire_header().splitlines()) <= 120


def test_the_command_writes_the_header(tmp_path: Path) -> None:
    assert main([str(tmp_path / "wire.h")]) == 0
    assert (tmp_path / "wire.h").read_text(encoding="utf-8") == wire_header()


@pytest.mark.parametrize("arguments", [[], ["a.h", "b.h"], ["--help"]])
def test_the_command_says_how_it_is_used(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: ")


def test_there_is_one_golden_file_for_each_kind() -> None:
    assert {kind.name.lower() for kind in Kind} == set(MESSAGES)
    assert {path.name for path in DIRECTORY.iterdir()} == {f"{name}.bin" for name in MESSAGES}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_golden_file_is_its_message_encoded(name: str) -> None:
    assert (DIRECTORY / f"{name}.bin").read_bytes() == bytes(encode(MESSAGES[name]))


@pytest.mark.parametrize("name", MESSAGES)
def test_a_golden_file_decodes_to_its_message(name: str) -> None:
    assert_equal(decode((DIRECTORY / f"{name}.bin").read_bytes()), MESSAGES[name], name)
