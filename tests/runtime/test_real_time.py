import ctypes
import os
import threading

import pytest

from st4vla.runtime.real_time import FEEDING_PRIORITY, PRIORITY, come_before_others, kept_scheduling

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real-time priorities need root")
HIGHEST = 99


def told(thread: int) -> tuple[int, int]:
    """Return what the C library says of a thread: its policy and priority."""
    policy, priority = ctypes.c_int(), ctypes.c_int()
    thread_id = ctypes.c_ulong(thread)
    assert not ctypes.CDLL(None).pthread_getschedparam(thread_id, ctypes.byref(policy), ctypes.byref(priority))
    return policy.value, priority.value


def of_a_new_thread() -> list[tuple[int, int]]:
    """Return what the kernel and the C library say of a thread that begins now."""
    found: list[tuple[int, int]] = []

    def look() -> None:
        found.append((os.sched_getscheduler(0), os.sched_getparam(0).sched_priority))
        found.append(told(threading.get_ident()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found


def test_a_priority_that_a_library_gave_is_handed_on_to_no_thread() -> None:
    usual = (os.SCHED_OTHER, 0)
    assert of_a_new_thread() == [usual, usual]
    with kept_scheduling():
        # As libfranka does it.
        highest = ctypes.byref(ctypes.c_int(HIGHEST))
        assert not ctypes.CDLL(None).pthread_setschedparam(
            ctypes.c_ulong(threading.get_ident()), os.SCHED_FIFO, highest
        )
        assert of_a_new_thread() == [(os.SCHED_FIFO, HIGHEST)] * 2
    assert of_a_new_thread() == [usual, usual]


def test_what_feeds_a_loop_comes_before_others_and_after_the_loop() -> None:
    with kept_scheduling():
        come_before_others()
        assert of_a_new_thread() == [(os.SCHED_FIFO, FEEDING_PRIORITY)] * 2
    assert 0 < FEEDING_PRIORITY < PRIORITY
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
