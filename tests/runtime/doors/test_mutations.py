"""Bytes that are almost a request: every dialect understands them or refuses them, and does nothing else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from st4vla.contracts.errors import MalformedMessageError
from st4vla.runtime.doors.opening import DIALECTS
from st4vla.runtime.doors.options import DoorOptions

REQUESTS = {
    "openpi": ["openpi_request"],
    "starvla": ["starvla_request", "internvla_m1_request", "internvla_m1_reset"],
    "gr00t": ["gr00t_n15_request", "gr00t_n16_request_flat", "gr00t_n16_request_nested", "gr00t_n16_reset"],
}


@pytest.mark.parametrize("kind", list(REQUESTS))
def test_mutated_requests_are_understood_or_refused(core: Any, golden: Callable[[str], bytes], kind: str) -> None:
    dialect = DIALECTS[kind](core, DoorOptions(kind))
    rng = np.random.default_rng(0)
    outcomes = {"rows": 0, "answer": 0, "refused": 0}
    for name in REQUESTS[kind]:
        original = golden(name)
        for _ in range(2000 // len(REQUESTS[kind])):
            data = bytearray(original)
            for _ in range(rng.integers(1, 4)):
                where = rng.integers(len(data))
                match rng.integers(3):
                    case 0:
                        data[where] = rng.integers(256)
                    case 1:
                        del data[where : where + rng.integers(1, 9)]
                    case _:
                        data[where:where] = rng.bytes(rng.integers(1, 9))
                if not data:
                    break
            try:
                request = dialect.read(bytes(data), 7)
            except MalformedMessageError:
                outcomes["refused"] += 1
                continue
            outcomes["rows" if request.rows else "answer"] += 1
            for row in request.rows:
                assert [(view.height, view.width) for view in row.views] == [(8, 8), (8, 8)]
    # All three ways were taken, so the mutations are neither too mild nor too wild.
    assert all(count > 10 for count in outcomes.values()), outcomes
