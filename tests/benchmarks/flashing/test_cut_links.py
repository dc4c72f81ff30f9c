"""Cables that are cut between the host and a device."""

import random
from pathlib import Path

import pytest

from st4vla.benchmarks.flashing.ground import Ground
from st4vla.benchmarks.flashing.relay import CutLink
from st4vla.benchmarks.flashing.stand_in import StandIn


def detour(device: StandIn, link: CutLink, folder: Path) -> Path:
    """Return a configuration of ssh that goes through a link."""
    config = folder / "ssh_config"
    config.write_text(device.ssh.client_lines(port=link.address[1]))
    return config


def cut_once(ground: Ground, device: StandIn, folder: Path, chance: random.Random, counter: int) -> tuple[int, int]:
    """Flash through a link that is cut once, and return after how many bytes, and how many were sent in all."""
    source = ground.new if ground.serves(device) == "old" else ground.old
    bundle = ground.release(source, folder / f"release{counter}", counter=counter)
    # From the keys' exchange, of some kilobytes, to beyond the last byte of the files.
    after = chance.randrange(1000, 1_200_000)
    with CutLink((device.ssh.address, device.ssh.port), cut_after_bytes=after) as link:
        result = ground.flash(device, bundle, config=detour(device, link, folder))
        assert result.ok, (after, result)
        assert link.connections == 1 + link.cuts
    return after, result.sent_bytes


def test_a_link_that_is_cut_is_opened_again_and_goes_on_where_it_was(
    ground: Ground, device: StandIn, tmp_path: Path
) -> None:
    chance = random.Random(1)
    for counter in (100, 101):
        cut_once(ground, device, tmp_path, chance, counter)


@pytest.mark.slow
def test_links_that_are_cut_at_random_points(ground: Ground, device: StandIn, tmp_path: Path) -> None:
    chance = random.Random(2)
    for counter in range(200, 220):
        cut_once(ground, device, tmp_path, chance, counter)


def test_a_device_whose_link_is_gone_for_good_stays_with_the_old_policy(
    ground: Ground, device: StandIn, tmp_path: Path
) -> None:
    bundle = ground.release(ground.new, tmp_path / "bundle", counter=300)
    before = ground.serves(device)
    with CutLink((device.ssh.address, device.ssh.port), cut_after_bytes=3000, for_good=True) as link:
        result = ground.flash(device, bundle, config=detour(device, link, tmp_path))
    assert not result.ok
    assert "link was cut" in result.message
    assert ground.serves(device) == before
