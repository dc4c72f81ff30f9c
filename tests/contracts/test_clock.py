import pytest

from st4vla.contracts.clock import ClockOffset, ClockOffsetEstimator


def test_the_sample_with_the_shortest_round_trip_is_believed() -> None:
    estimator = ClockOffsetEstimator()
    assert estimator.estimate is None
    estimator.add(sent_ns=0, peer_received_ns=1_000_900, peer_replied_ns=1_000_900, received_ns=1_000)
    estimator.add(sent_ns=0, peer_received_ns=1_000_005, peer_replied_ns=1_000_015, received_ns=20)
    assert estimator.estimate == ClockOffset(offset_ns=1_000_000, error_bound_ns=5)


def test_a_reply_before_its_request_is_refused() -> None:
    with pytest.raises(ValueError, match="impossible exchange"):
        ClockOffsetEstimator().add(sent_ns=10, peer_received_ns=0, peer_replied_ns=1, received_ns=5)
