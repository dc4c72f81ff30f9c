"""Compile one graph with TensorRT-RTX, as a program that holds nothing else: GRAPH TENSORS CAPABILITY."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import tensorrt_rtx

from st4vla.contracts.tensor_spec import GraphTensors
from st4vla.runtime.engines.tensorrt_build import build_engine


def _main(graph: str, tensors: str, capability: str) -> None:
    described = msgspec.json.decode(tensors, type=GraphTensors)
    build_engine(tensorrt_rtx, Path(graph), described, compute_capability=capability)


if __name__ == "__main__":
    _main(*sys.argv[1:])
