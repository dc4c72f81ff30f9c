"""Tests of reading pickles from strangers."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.restricted_pickle import load_plain

PATH = Path("refs(unc).p")


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch owned",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_containers_and_scalars_survive_every_protocol(protocol: int) -> None:
    value = [{"a": (1, 2.5, None, True, 1 << 80)}, {"größe", "b"}, frozenset({3})]
    assert load_plain(pickle.dumps(value, protocol), PATH) == value


def test_byte_strings_of_python_2_become_text() -> None:
    # What cPickle of Python 2 wrote for [{'sent': 'caf\xe9'}] with protocol 2.
    data = b"\x80\x02]q\x01}q\x02U\x04sentq\x03U\x04caf\xe9q\x04sa."
    assert load_plain(data, PATH) == [{"sent": "café"}]


def test_a_hostile_pickle_is_refused_by_name_and_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"refs\(unc\)\.p is refused as a pickle: it asks for (posix|nt)\.system"):
        load_plain(pickle.dumps([Hostile()], protocol=2), PATH)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (pickle.dumps(OrderedDict(a=1)), "collections.OrderedDict"),
        (pickle.dumps(eval, protocol=2), "__builtin__.eval"),
        (b"c__builtin__\ngetattr\n.", "__builtin__.getattr"),
        (b"cbuiltins\nset.__init__\n.", "builtins.set.__init__"),
    ],
)
def test_any_other_name_is_refused(data: bytes, name: str) -> None:
    with pytest.raises(DatasetError, match=f"it asks for {name}, which is neither"):
        load_plain(data, PATH)


@pytest.mark.parametrize("data", [b"", b"not a pickle", pickle.dumps([1, 2])[:-1], b"\x80\x02}q\x00s."])
def test_a_damaged_pickle_is_refused(data: bytes) -> None:
    with pytest.raises(DatasetError, match="is refused as a pickle"):
        load_plain(data, PATH)
