from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from st4vla.contracts.messages import ActionChunk, ErrorCode, ErrorReply, View
from st4vla.runtime.doors.dialect import Row
from st4vla.runtime.doors.options import Planning
from st4vla.runtime.doors.seats import Party, Seat

Answers = list[ActionChunk | ErrorReply]


def row(core: Any, instruction: str = "lift") -> Row:
    pixels = np.zeros((8, 8, 3), np.uint8)
    return Row(tuple(View.from_pixels(spec.name, pixels, 5) for spec in core.info.views), instruction)


def test_each_question_has_the_next_sequence_and_seed_and_one_answer(
    core: Any, eventually: Callable[..., None]
) -> None:
    seat, answers = Seat(core, "door.0", Planning.REUSE, seed=40), []
    for _ in range(3):
        before = len(answers)
        seat.ask(row(core), 5, answers.append)
        eventually(lambda before=before: len(answers) > before)
    assert [(chunk.observation_sequence, chunk.seed) for chunk in answers] == [(1, 40), (2, 41), (3, 42)]
    assert {client for client, _ in core.asked} == {b"door.0.0"}
    assert core.left == []


def test_a_fresh_plan_is_had_by_leaving_before_asking(core: Any, eventually: Callable[..., None]) -> None:
    seat, answers = Seat(core, "door.0", Planning.FRESH, seed=0), []
    for count in (1, 2):
        seat.ask(row(core), 5, answers.append)
        eventually(lambda count=count: len(answers) == count)
    assert core.left == [b"door.0.0"]


def test_seeds_begin_again_after_the_last(core: Any) -> None:
    seat = Seat(core, "door.0", Planning.REUSE, seed=2**64 - 1)
    for _ in range(2):
        seat.ask(row(core), 5, lambda _: None)
    assert [observation.seed for _, observation in core.asked] == [2**64 - 1, 0]


def test_what_was_asked_before_a_renewal_is_not_answered(core: Any, eventually: Callable[..., None]) -> None:
    core.think_s = 0.05
    seat, old, new = Seat(core, "door.0", Planning.REUSE, seed=0), [], []
    seat.ask(row(core), 5, old.append)
    seat.renew()
    seat.ask(row(core), 5, new.append)
    eventually(lambda: bool(new))
    assert old == []
    assert [client for client, _ in core.asked] == [b"door.0.0", b"door.0.1"]
    assert core.clients == {b"door.0.1"}


def test_a_refusal_is_the_answer(core: Any) -> None:
    core.max_clients = 0
    answers: Answers = []
    Seat(core, "door.0", Planning.REUSE, seed=0).ask(row(core), 5, answers.append)
    assert answers == [ErrorReply(ErrorCode.TOO_MANY_CLIENTS, "all places are taken", 1)]


@pytest.mark.parametrize("planning", list(Planning))
def test_rows_have_seats_of_their_own_and_come_back_in_order(
    core: Any, eventually: Callable[..., None], planning: Planning
) -> None:
    party, answers = Party(core, "door", planning, seed=3), []
    party.ask([row(core, "a"), row(core, "fail"), row(core, "c")], 5, answers.append)
    eventually(lambda: bool(answers))
    kinds = [type(answer) for answer in answers[0]]
    assert kinds == [ActionChunk, ErrorReply, ActionChunk]
    assert {client: observation.instruction for client, observation in core.asked} == {
        b"door.0.0": "a",
        b"door.1.0": "fail",
        b"door.2.0": "c",
    }
    assert [observation.seed for _, observation in core.asked] == [3, 3, 3]


def test_rows_that_are_gone_give_their_places_back(core: Any, eventually: Callable[..., None]) -> None:
    party, answers = Party(core, "door", Planning.REUSE, seed=0), []
    for rows in (3, 1):
        before = len(answers)
        party.ask([row(core)] * rows, 5, answers.append)
        eventually(lambda before=before: len(answers) > before)
        assert len(core.clients) == rows
    party.renew()
    assert core.clients == set()
