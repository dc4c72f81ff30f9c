"""What a server is to do: serve, stand by, or end; and a supervisor that says so over the server's standard streams.

A server in standby has its engines loaded, run and compared, and listens nowhere. Lines in both directions:

=============  ==========================================  =====================================
supervisor     server                                      when
=============  ==========================================  =====================================
..             ``standing by``                             ready to serve within milliseconds
``go``         ``bound ENDPOINT``, ``serving NAME on ..``  it listens; its doors are open as well
``close``      ``closed``, then ``standing by``            its address is free; it may go again
``snapshot``   ``snapshot JSON``                           at any time while it serves
``probe``      ``probe JSON``                              when its own client was answered
end of file    its last line                               the supervisor is gone
=============  ==========================================  =====================================
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Literal

LOG = logging.getLogger(__name__)
Wanted = Literal["stand_by", "serve", "end"]
#: Words of the supervisor, and of the server.
GO, CLOSE, SNAPSHOT, PROBE = "go", "close", "snapshot", "probe"
STANDING_BY, BOUND, SERVING, CLOSED = "standing by", "bound", "serving", "closed"


class Orders:
    """What a server is to do; any thread and any signal handler may say so.

    Args:
        first: What it is to do until somebody says something else.
    """

    def __init__(self, first: Wanted) -> None:
        self._wanted: Wanted = first
        # Reentrant: a signal's handler runs in the thread that waits.
        self._changed = threading.Condition(threading.RLock())

    @property
    def wanted(self) -> Wanted:
        """What the server is to do now."""
        return self._wanted

    def give(self, wanted: Wanted) -> None:
        """Say what it is to do from now on; after `end` nothing else is."""
        with self._changed:
            if self._wanted != "end":
                self._wanted = wanted
            self._changed.notify_all()

    def wait_while(self, current: Wanted) -> Wanted:
        """Wait until something else is wanted, and return that."""
        with self._changed:
            while self._wanted == current:
                self._changed.wait()
            return self._wanted


class StandbyLines:
    """Take a supervisor's words from standard input, and answer on standard output.

    Args:
        orders: Where ``go``, ``close`` and the end of the input go.
        answers: What answers the other words, with one line of JSON.
    """

    def __init__(self, orders: Orders, answers: Mapping[str, Callable[[], bytes]]) -> None:
        self._orders, self._answers = orders, answers
        self._lock = threading.Lock()
        self._busy: set[str] = set()

    def start(self) -> None:
        """Listen to the supervisor from a thread of its own, which ends with the process."""
        threading.Thread(target=self._listen, name="st4vla_standby", daemon=True).start()

    def say(self, line: str) -> None:
        """Write one line; lines of several threads do not mix."""
        with self._lock:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    def _listen(self) -> None:
        # Read from the descriptor: a thread that waits in Python's own stream would hold up the end of the process.
        pending = b""
        while data := os.read(sys.stdin.fileno(), 4096):
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self._obey(line.decode(errors="replace").strip())
        self._orders.give("end")

    def _obey(self, word: str) -> None:
        if word == GO:
            self._orders.give("serve")
        elif word == CLOSE:
            self._orders.give("stand_by")
        elif word in self._answers and word not in self._busy:
            # Each in a thread of its own: a probe that takes long must not keep a snapshot waiting.
            self._busy.add(word)
            threading.Thread(target=self._answer, args=(word,), name=f"st4vla_{word}", daemon=True).start()

    def _answer(self, word: str) -> None:
        try:
            self.say(f"{word} {self._answers[word]().decode()}")
        except Exception:
            # The supervisor takes silence for what it is.
            LOG.exception("%s cannot be answered", word)
        finally:
            self._busy.discard(word)
