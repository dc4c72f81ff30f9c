"""The devices that bundles are checked for: memory, precisions, and the compiler's nearest relative."""

from __future__ import annotations

from dataclasses import dataclass

from st4vla.contracts.errors import UsageError

GIB = 2**30
#: Number formats that a Jetson Orin's tensor cores and TensorRT compute in; int4 is for weights alone.
_AMPERE = frozenset({"float32", "float16", "bfloat16", "int8", "int4"})
_BLACKWELL = _AMPERE | {"float8", "float4"}


@dataclass(frozen=True)
class Target:
    """A device.

    Attributes:
        name: What it is called on the command line.
        title: What NVIDIA calls it.
        compute_capability: Of its GPU.
        nearest: What TensorRT-RTX can build for without the device: the same family, or the next one.
        memory_bytes: What CPU and GPU share.
        precisions: What its hardware computes in, as numpy and ONNX name it.
    """

    name: str
    title: str
    compute_capability: str
    nearest: str
    memory_bytes: int
    precisions: frozenset[str]


TARGETS = {
    target.name: target
    for target in (
        Target("orin-agx-64", "Jetson AGX Orin 64 GB", "SM87", "SM86", 64 * GIB, _AMPERE),
        Target("orin-agx-32", "Jetson AGX Orin 32 GB", "SM87", "SM86", 32 * GIB, _AMPERE),
        Target("orin-nx-16", "Jetson Orin NX 16 GB", "SM87", "SM86", 16 * GIB, _AMPERE),
        Target("orin-nx-8", "Jetson Orin NX 8 GB", "SM87", "SM86", 8 * GIB, _AMPERE),
        Target("orin-nano-8", "Jetson Orin Nano 8 GB", "SM87", "SM86", 8 * GIB, _AMPERE),
        Target("thor", "Jetson Thor T5000", "SM110", "SM120", 128 * GIB, _BLACKWELL),
    )
}


def get_target(name: str) -> Target:
    """Return a target.

    Raises:
        UsageError: An unknown name; the message lists the known ones.
    """
    if name not in TARGETS:
        raise UsageError(f"unknown target {name!r}; known are {', '.join(TARGETS)}")
    return TARGETS[name]
