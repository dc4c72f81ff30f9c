import select

from st4vla.contracts.messages import ErrorCode, ErrorReply, Goodbye, Hello
from st4vla.runtime.outbox import CAPACITY, Outbox


def readable(outbox: Outbox) -> bool:
    return bool(select.select([outbox.fileno()], [], [], 0)[0])


def test_what_is_put_makes_the_descriptor_readable_until_it_is_taken() -> None:
    outbox = Outbox()
    assert not readable(outbox)
    outbox.put(b"a", Hello(1))
    outbox.put(b"b", Hello(2))
    assert readable(outbox)
    assert outbox.take() == [(b"a", Hello(1)), (b"b", Hello(2))]
    assert not readable(outbox)
    assert outbox.take() == []
    outbox.close()


def test_what_a_client_could_not_take_waits_unless_something_newer_of_its_kind_comes() -> None:
    outbox = Outbox()
    error = ErrorReply(ErrorCode.ENGINE, "x")
    for message in (Hello(1), error):
        outbox.refuse(b"a", message)
    outbox.refuse(b"b", Hello(2))
    assert outbox.has_refused
    outbox.put(b"a", Hello(3))
    assert outbox.take() == [(b"a", error), (b"b", Hello(2)), (b"a", Hello(3))]
    assert outbox.superseded == 1
    assert not outbox.has_refused
    outbox.close()


def test_a_client_that_never_takes_anything_costs_one_message_of_each_kind() -> None:
    outbox = Outbox()
    for sequence in range(1000):
        outbox.put(b"a", Hello(sequence))
        outbox.put(b"a", Goodbye(sequence))
        for client, message in outbox.take():
            outbox.refuse(client, message)
    assert outbox.take() == [(b"a", Hello(999)), (b"a", Goodbye(999))]
    outbox.refuse(b"a", Hello(1))
    outbox.forget(b"a")
    assert outbox.take() == []
    outbox.close()


def test_room_is_bounded_even_if_nobody_empties_it() -> None:
    outbox = Outbox()
    for sequence in range(2 * CAPACITY):
        outbox.put(b"a", Hello(sequence))
    assert len(outbox.take()) == CAPACITY
    outbox.close()
