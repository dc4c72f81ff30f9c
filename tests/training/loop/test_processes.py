import pytest
import torch
from torch.nn import functional

from st4vla.contracts.errors import UsageError
from st4vla.training.loop.processes import Processes
from st4vla.training.loop.trainer import step_seed


def test_parts_share_a_batch_out_and_leave_none_of_it() -> None:
    parts = [list(Processes(rank, 3).part(range(9))) for rank in range(3)]
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UsageError, match="a batch of 10 for 4 processes; make it a multiple"):
        Processes(0, 4).part(range(10))


def test_the_mean_of_one_process_is_pytorch_s_to_the_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    for number in (3, 7, 11, 130):
        logits = torch.randn(number, 50, generator=generator, requires_grad=True)
        labels = torch.randint(50, (number,), generator=generator)
        total = functional.cross_entropy(logits, labels, reduction="sum")
        found, expected = Processes().mean(total, torch.tensor(number)), functional.cross_entropy(logits, labels)
        assert torch.equal(found, expected)
        assert torch.equal(*(torch.autograd.grad(loss, logits)[0] for loss in (found, expected)))


def test_seeds_differ_between_steps_and_processes_and_fit_the_generator() -> None:
    seeds = {step_seed(3, step, rank) for step in range(50) for rank in range(8)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert step_seed(3, 7) == step_seed(3, 7, 0)
