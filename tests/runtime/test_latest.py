import threading
import time

from st4vla.runtime.latest import LatestSlot


def test_a_new_value_replaces_one_that_nobody_took() -> None:
    slot: LatestSlot[int] = LatestSlot()
    for value in range(1000):
        slot.put(value)
    assert slot.take() == 999
    assert slot.take() is None
    assert slot.superseded == 999


def test_closing_wakes_whoever_waits() -> None:
    slot: LatestSlot[int] = LatestSlot()
    waiter = threading.Thread(target=slot.take, args=(None,))
    waiter.start()
    slot.close()
    waiter.join(5)
    assert not waiter.is_alive()
    began = time.monotonic()
    assert slot.take(None) is None
    assert time.monotonic() - began < 1
