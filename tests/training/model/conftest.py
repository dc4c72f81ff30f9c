"""The golden arrays of a tiny reference model, and our modules with its weights."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from st4vla.training.model.diffusion_transformer import DiffusionTransformer
from st4vla.training.model.querying_transformer import QueryingTransformer

GOLDEN_PATH = Path(__file__).parents[2] / "data" / "golden" / "internvla_tiny.npz"

Golden = dict[str, Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def golden() -> Golden:
    with np.load(GOLDEN_PATH, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(np.array(arrays[name])) for name in arrays.files}


def weights(golden: Golden, prefix: str) -> Golden:
    return {name.removeprefix(prefix): array for name, array in golden.items() if name.startswith(prefix)}


@pytest.fixture
def querying_transformer(golden: Golden) -> QueryingTransformer:
    model = QueryingTransformer(48, 32, 8, 2, num_heads=4).eval()
    model.load_state_dict(weights(golden, "sd/layer_qformer."), strict=True)
    return model


@pytest.fixture
def diffusion_transformer(golden: Golden) -> DiffusionTransformer:
    model = DiffusionTransformer(7, 16, 32, 2, 4, 8).eval()
    model.load_state_dict(weights(golden, "sd/action_model.net."), strict=True)
    return model


def relative_error(value: Tensor, reference: Tensor) -> float:
    assert value.shape == reference.shape
    return float((value - reference).abs().max() / reference.abs().max())


@pytest.fixture(name="relative_error")
def relative_error_fixture() -> object:
    return relative_error
