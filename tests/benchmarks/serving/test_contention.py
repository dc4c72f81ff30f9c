from pathlib import Path

import pytest

from st4vla.benchmarks.opened_bundle import opened
from st4vla.benchmarks.serving.contention import ALWAYS_NS, NEVER_NS, Contention, rates
from st4vla.contracts.errors import EngineError
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.policy import NullPolicy

TINY = Path(__file__).parents[3] / "bundles/tiny"


def test_system_2_works_on_end_beside_system_1_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(Bundle(TINY), tmp_path, system1_threads=1, system2_threads=1) as policy:
        alone, beside = (rates(policy, 0.5, period_ns) for period_ns in (NEVER_NS, ALWAYS_NS))
        assert alone.plans_hz == alone.planning == 0
        assert alone.chunks_hz > 5
        assert beside.planning > 0.5
        assert beside.plans_hz > 5
        assert beside.chunks_hz > 2

        def broken(*_: object) -> None:
            msg = "no such operator"
            raise EngineError(msg)

        monkeypatch.setattr(BundlePolicy, "act", broken)
        with pytest.raises(EngineError, match="no such operator"):
            rates(policy, 0.5, NEVER_NS)


def test_a_chunk_that_ends_after_the_time_is_over_counts_no_more() -> None:
    found = rates(NullPolicy(plan_s=0.02, act_s=0.3), 0.5, ALWAYS_NS)
    assert found.chunks_hz == pytest.approx(1 / 0.3, rel=0.1)
    assert found.planning > 0.9, "System 2 has no frame any more once the time is over"


def test_a_share_below_its_bar_and_a_system_2_at_rest_are_told() -> None:
    found = Contention((10.0, 12.0, 11.0), (9.0, 9.6, 8.8), (20.0, 20.0, 20.0), 5.0, 0.95)
    assert found.share == pytest.approx(0.8)
    assert found.missed() == []
    worse = Contention((10.0,), (7.0,), (20.0,), 5.0, 0.5)
    assert [line.split(",")[0] for line in worse.missed()] == [
        "System 1 keeps 70% of its rate beside System 2",
        "System 2 was at work 50% of the time",
    ]
