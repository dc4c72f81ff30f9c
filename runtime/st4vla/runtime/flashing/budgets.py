"""Whether engines are as fast on a device as their release wants them."""

from __future__ import annotations

from collections.abc import Mapping

from st4vla.contracts.errors import BudgetError
from st4vla.contracts.manifests import BundleManifest
from st4vla.contracts.release import LatencyBudget


def system_latencies_ms(bundle: BundleManifest, engines_ms: Mapping[str, float]) -> tuple[float, float]:
    """Return how long System 1 takes from views to a chunk, and System 2 to a plan, from the times of their engines."""
    return engines_ms["bridge"] + bundle.sampler.num_steps * engines_ms["sampler"], engines_ms["planner"]


def over_budget(bundle: BundleManifest, engines_ms: Mapping[str, float], budget: LatencyBudget) -> list[str]:
    """Return for each system that takes longer than its budget how long, and what is allowed."""
    limits = (budget.system1_ms, budget.system2_ms)
    return [
        f"System {number} takes {found_ms:.2f} ms, allowed are {limit_ms:g}"
        for number, found_ms, limit_ms in zip((1, 2), system_latencies_ms(bundle, engines_ms), limits, strict=True)
        if limit_ms is not None and not found_ms <= limit_ms
    ]


def budget_error(bundle: BundleManifest, tries: list[list[str]]) -> BudgetError:
    """Return the error of a bundle that was too slow every time that it was measured."""
    said = f"{'; '.join(tries[-1])} (the last of {len(tries)} measurements)"
    return BudgetError(
        f"{bundle.name!r} is slower on this device than its release allows: {said}; look at the power mode and at what "
        "else runs, or sign it with another budget"
    )
