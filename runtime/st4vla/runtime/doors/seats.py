"""A door's client as the core sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from st4vla.contracts.messages import ActionChunk, ErrorReply, Message, Observation
from st4vla.runtime.doors.dialect import Row
from st4vla.runtime.doors.door import Core
from st4vla.runtime.doors.options import Planning

#: Takes a row's chunk, or why there is none. Called once for each question, from any thread.
Answer = Callable[[ActionChunk | ErrorReply], None]


class Seat:
    """One robot or simulator: its identity, its sequence and its seeds.

    Args:
        core: Who answers.
        name: Unique among all clients of the core.
        planning: Which plan its requests may be acted on with.
        seed: Of its first request; it rises by one with each.
    """

    def __init__(self, core: Core, name: str, planning: Planning, seed: int) -> None:
        self._core, self._name, self._planning, self._seed = core, name, planning, seed
        self._lock = threading.Lock()
        self._waiting: tuple[int, Answer] | None = None
        self._asked = 0
        self._epoch = 0

    @property
    def identity(self) -> bytes:
        """What the core calls it; another one after each `renew`."""
        return f"{self._name}.{self._epoch}".encode()

    def ask(self, row: Row, received_ns: int, answer: Answer) -> None:
        """Hand a row to the core; `answer` gets the chunk that was made from it, at once or later."""
        if self._planning is Planning.FRESH:
            # A client that the core does not know is planned for before it is acted for.
            self._core.leave(self.identity)
        self._asked += 1
        sequence = self._asked
        seed = (self._seed + sequence - 1) % 2**64
        observation = Observation(sequence, row.views, row.instruction, seed=seed, sent_ns=received_ns, fresh=True)
        with self._lock:
            self._waiting = (sequence, answer)
        refusal = self._core.submit(self.identity, observation, received_ns, partial(self._deliver, sequence))
        if refusal is not None:
            self._finish(sequence, refusal)

    def renew(self) -> None:
        """Begin anew: what was asked, seen or planned so far is of no concern any more."""
        with self._lock:
            self._waiting = None
        self._core.leave(self.identity)
        # A plan that is being made for the old identity cannot reach the new one.
        self._epoch += 1

    def _deliver(self, sequence: int, message: Message) -> None:
        if isinstance(message, ActionChunk | ErrorReply) and message.observation_sequence == sequence:
            self._finish(sequence, message)

    def _finish(self, sequence: int, message: ActionChunk | ErrorReply) -> None:
        with self._lock:
            if self._waiting is None or self._waiting[0] != sequence:
                return
            answer, self._waiting = self._waiting[1], None
        answer(message)


class Party:
    """The rows of one connection: one seat for each, so that every simulator has its own instruction and plan.

    Its methods are called from the door's thread, one at a time.
    """

    def __init__(self, core: Core, name: str, planning: Planning, seed: int) -> None:
        self._core, self._name, self._planning, self._seed = core, name, planning, seed
        self._seats: list[Seat] = []

    def ask(
        self,
        rows: Sequence[Row],
        received_ns: int,
        answer: Callable[[list[ActionChunk | ErrorReply]], None],
    ) -> None:
        """Hand all rows to the core; `answer` gets one message for each, once all are there, from any thread."""
        while len(self._seats) > len(rows):
            self._seats.pop().renew()
        while len(self._seats) < len(rows):
            self._seats.append(Seat(self._core, f"{self._name}.{len(self._seats)}", self._planning, self._seed))
        lock = threading.Lock()
        answers: dict[int, ActionChunk | ErrorReply] = {}

        def collect(index: int, message: ActionChunk | ErrorReply) -> None:
            with lock:
                answers[index] = message
                complete = len(answers) == len(rows)
            if complete:
                answer([answers[row] for row in range(len(rows))])

        for index, (seat, row) in enumerate(zip(self._seats, rows, strict=True)):
            seat.ask(row, received_ns, partial(collect, index))

    def renew(self) -> None:
        """Begin anew with all rows, and give their places back until they ask again."""
        for seat in self._seats:
            seat.renew()
