"""Tests of shares, canaries, rates and retries."""

import asyncio

import pytest

from st4vla.contracts.device_status import Machine
from st4vla.contracts.errors import UsageError
from st4vla.contracts.flash_messages import DATA_BYTES
from st4vla.export.flashing.canary import choose_canaries
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.patience import Patience
from st4vla.export.flashing.rate import RateLimit
from st4vla.export.flashing.retrying import Retries
from st4vla.export.flashing.shares import Share, read_share


@pytest.mark.parametrize(
    ("text", "total", "least", "most"),
    [("10%", 50, 5, 5), ("10%", 11, 2, 1), ("0.1", 30, 3, 3), ("3", 50, 3, 3), ("9", 4, 4, 4), ("0", 7, 0, 0)],
)
def test_a_share_is_rounded_to_the_safe_side(text: str, total: int, least: int, most: int) -> None:
    share = read_share(text, "--canary")
    assert (share.at_least(total), share.at_most(total)) == (least, most)


def test_a_share_is_shown_as_it_is_written() -> None:
    assert [str(read_share(text, "")) for text in ("10%", "0.25", "3")] == ["10%", "25%", "3"]


@pytest.mark.parametrize("text", ["-1", "101%", "1.5", "nan%", "x", "", "-3%"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--canary .*: give a share such as 10%"):
        read_share(text, "--canary")


def machine(model: str) -> Machine:
    return Machine("aarch64", model, "36.4", "MAXN", "tensorrt 10.3", 1 << 33, 1 << 36)


FLEET = {Device(f"d{number:02d}"): machine("Orin") for number in range(40)}


def test_canaries_are_a_share_and_at_least_one() -> None:
    assert len(choose_canaries(FLEET, Share(0.1, counted=False), "digest")) == 4
    assert len(choose_canaries(FLEET, Share(0, counted=True), "digest")) == 1
    assert choose_canaries({}, Share(0.1, counted=False), "digest") == ()


def test_marked_canaries_come_first_and_each_kind_has_one() -> None:
    fleet = {**FLEET, Device("marked", canary=True): machine("Orin"), Device("odd"): machine("Thor")}
    chosen = [device.host for device in choose_canaries(fleet, Share(0.1, counted=False), "digest")]
    assert chosen[:2] == ["marked", "odd"]
    assert len(chosen) == len(set(chosen)) == 5


def test_the_same_flash_has_the_same_canaries_and_another_bundle_has_others() -> None:
    share = Share(0.1, counted=False)
    shuffled = dict(reversed(FLEET.items()))
    assert choose_canaries(FLEET, share, "one") == choose_canaries(shuffled, share, "one")
    assert choose_canaries(FLEET, share, "one") != choose_canaries(FLEET, share, "two")


def test_a_rate_holds_over_all_takers() -> None:
    async def run() -> float:
        limit = RateLimit(1e6)
        begin_s = asyncio.get_running_loop().time()

        async def take() -> None:
            for _ in range(4):
                await limit.take(25_000)

        await asyncio.gather(take(), take())
        return asyncio.get_running_loop().time() - begin_s

    # The last block need not be waited for.
    assert asyncio.run(run()) >= 0.175


def test_blocks_are_whole_without_a_limit_and_small_with_a_low_one() -> None:
    assert RateLimit(None).block_bytes == RateLimit(1e9).block_bytes == DATA_BYTES
    assert RateLimit(200e3).block_bytes == 10_000
    assert RateLimit(1.0).block_bytes == 4096


def test_pauses_grow_and_end() -> None:
    retries = Retries(Patience(retries=6))
    assert [retries.pause_s(0.1) for _ in range(7)] == [1, 2, 4, 8, 15, 15, None]


def test_getting_further_begins_again_and_standing_still_does_not() -> None:
    retries = Retries(Patience(retries=2))
    assert [retries.pause_s(0.1), retries.pause_s(0.1)] == [1, 2]
    retries.reached(0, 100)
    assert retries.pause_s(0.1) == 1
    retries.reached(0, 100)
    assert retries.pause_s(0.1) == 2
    retries.reached(1)
    retries.reached(0, 200)
    assert retries.pause_s(0.1) == 1


def test_a_link_on_which_a_device_talked_for_a_while_begins_again() -> None:
    retries = Retries(Patience(retries=1, steady_s=30.0))
    assert retries.pause_s(0.0) == 1
    assert retries.pause_s(29.0) is None
    assert retries.pause_s(31.0) == 1
