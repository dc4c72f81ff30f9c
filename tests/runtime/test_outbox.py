from st4vla.contracts.messages import ErrorCode, ErrorReply, Goodbye, Hello
from st4vla.runtime.outbox import Outbox


def test_what_a_client_could_not_take_waits_unless_something_newer_of_its_kind_comes() -> None:
    outbox = Outbox()
    error = ErrorReply(ErrorCode.ENGINE, "x")
    for client, message in ((b"a", Hello(1)), (b"a", error), (b"b", Hello(2)), (b"a", Hello(3))):
        outbox.put(client, message)
    assert outbox.waits_for(b"b")
    assert len(outbox) == 3
    assert outbox.take() == [(b"a", error), (b"b", Hello(2)), (b"a", Hello(3))]
    assert outbox.superseded == 1
    assert not outbox.waits_for(b"b")
    assert outbox.take() == []


def test_a_client_that_never_takes_anything_costs_one_message_of_each_kind() -> None:
    outbox = Outbox()
    for sequence in range(1000):
        outbox.put(b"a", Hello(sequence))
        outbox.put(b"a", Goodbye(sequence))
    assert len(outbox) == 2
    outbox.forget(b"b")
    assert len(outbox) == 2
    outbox.forget(b"a")
    assert outbox.take() == []
