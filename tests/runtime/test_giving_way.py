import os
import subprocess
import sys

import pytest

from st4vla.runtime import giving_way
from st4vla.runtime.giving_way import BEHIND, GivingWay

#: In a process of its own, since not every one may go back.
PROGRAM = """
import os, threading
from st4vla.runtime.giving_way import GivingWay
def niceness():
    return [os.getpriority(os.PRIO_PROCESS, int(task)) for task in os.listdir("/proc/self/task")]
before, way, stop = niceness(), GivingWay(), threading.Event()
way.begin()
thread = threading.Thread(target=stop.wait)
thread.start()
during = niceness()
way.end()
after = niceness()
stop.set()
print(way.is_behind, before, during, after)
"""


def test_all_threads_come_after_others_and_get_their_priority_back() -> None:
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    during = max(nice, BEHIND) if giving_way._can_return(nice, max(nice, BEHIND)) else nice
    assert answer.stdout.strip() == f"False {[nice]} {[during] * 2} {[nice] * 2}"


def test_who_could_not_come_back_stays_where_he_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, who: int, nice: int) -> None:
        if nice < BEHIND:
            raise PermissionError
        asked.append((which, who, nice))

    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "setpriority", refuse)
    way = GivingWay()
    way.begin()
    assert not way.is_behind
    # Only the thread that tried, which has ended.
    assert len(asked) <= 1
