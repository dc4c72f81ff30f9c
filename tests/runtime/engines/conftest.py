"""A TensorRT of nothing but its public surface: a name, an argument or an attribute that a version lacks is an error.

The surfaces in `tests/data/tensorrt/api.json` were read by introspection from the bindings of TensorRT 10.3 (JetPack
6.2), 10.16, 11.4 and TensorRT-RTX 1.7.
"""

from __future__ import annotations

import json
import re
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "data" / "tensorrt" / "api.json"
SURFACES: dict[str, dict[str, Any]] = json.loads(DATA.read_text())
#: Results of methods whose signature a version does not tell, or tells under another name.
_RESULTS = {"Builder.build_serialized_network": "IHostMemory", "OnnxParser.get_error": "ParserError"}
_SIGNATURE = re.compile(r"fn: (?P<name>\w+)\((?P<arguments>.*)\) -> (?P<result>[\w.:]+)$", re.DOTALL)


class Surface:
    """A library of one version.

    Args:
        version: A key of `SURFACES`.
        answers: What a method answers in place of a default, by ``Class.method``.

    Attributes:
        used: Every ``Class.member`` that was used.
    """

    def __init__(self, version: str, **answers: Any) -> None:
        self.__name__ = "tensorrt_rtx" if version.startswith("rtx") else "tensorrt"
        self.__version__ = version
        self.used: set[str] = set()
        self._answers = answers
        for name, content in SURFACES[version].items():
            made = IntEnum(name, content["enum"]) if "enum" in content else _class(self, name, content["class"])
            setattr(self, name, made)

    def members(self, name: str) -> list[str]:
        """Return what a class of this version has."""
        return list(SURFACES[self.__version__][name]["class"])

    def answer(self, owner: str, member: str, result: str) -> Any:
        """Return what a call gives."""
        self.used.add(f"{owner}.{member}")
        key = f"{owner}_{member}"
        if key in self._answers:
            return self._answers[key]
        result = _RESULTS.get(f"{owner}.{member}", result)
        made = getattr(self, result, None)
        if made is not None:
            return b"plan" if result == "IHostMemory" else made.__new__(made)
        return {"bool": True, "int": 0, "str": "", "None": None}.get(result)


def _class(library: Surface, name: str, members: dict[str, str]) -> type:
    namespace: dict[str, Any] = {"__slots__": ("__dict__",)}
    for member, said in members.items():
        if said.startswith("prop"):
            namespace[member] = _property(library, name, member, said)
        elif member.isupper():
            namespace[member] = f"{name}.{member}"
        elif member != "__new__":
            namespace[member] = _method(library, name, member, said)

    def refuse(self: Any, member: str, value: Any) -> None:
        # What a subclass of ours adds is its own.
        if type(self).__name__ == name and member not in members:
            raise AttributeError(f"{name} of {library.__version__} has no {member}")
        object.__setattr__(self, member, value)

    namespace["__setattr__"] = refuse
    return type(name, (), namespace)


def _property(library: Surface, owner: str, member: str, said: str) -> property:
    def read(self: Any) -> Any:
        return library.answer(owner, member, "int")

    def write(self: Any, value: Any) -> None:
        library.used.add(f"{owner}.{member}")
        if said != "prop: rw":
            raise AttributeError(f"{owner}.{member} of {library.__version__} can only be read")

    return property(read, write)


def _method(library: Surface, owner: str, member: str, said: str) -> Any:
    found = _SIGNATURE.match(said)

    def call(self: Any, *given: Any, **named: Any) -> Any:
        if found is not None:
            _check_call(f"{owner}.{member} of {library.__version__}", found["arguments"], len(given), named)
        return library.answer(owner, member, found["result"] if found else "")

    return call


def _check_call(what: str, arguments: str, given: int, named: dict[str, Any]) -> None:
    # Types hold commas of their own, in brackets and in angle brackets.
    flat = re.sub(r"<[^>]*>|\[[^\]]*\]", "", arguments)
    known = [part.strip() for part in flat.split(",") if part.strip() not in {"self", "*", ""}]
    names = [part.partition(":")[0].strip() for part in known][1:]
    needed = [name for name, part in zip(names, known[1:], strict=True) if "=" not in part]
    unknown = [name for name in named if name not in names]
    missing = [name for index, name in enumerate(names) if name in needed and index >= given and name not in named]
    if given > len(names) or unknown or missing:
        raise TypeError(f"{what} takes {arguments}: {given} in order, unknown {unknown}, missing {missing}")


@pytest.fixture(params=SURFACES)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def make_surface() -> type[Surface]:
    return Surface
