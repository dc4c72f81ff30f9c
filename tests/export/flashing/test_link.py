"""Tests of what goes through the pipes of one link."""

import asyncio
import errno
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from st4vla.contracts.flash_messages import DATA_BYTES, Data, MessageBuffer, data_head, decode_request
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.link import Link

SHA256 = "ab" * 32


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, DATA_BYTES])
def test_a_head_and_its_bytes_are_a_message(size: int) -> None:
    data = os.urandom(size)
    (body,) = MessageBuffer().feed(data_head(SHA256, 1 << 40, size) + data)
    assert decode_request(body) == Data(SHA256, 1 << 40, data)


def sent(tmp_path: Path, data: bytes, offset: int, size: int) -> tuple[int, bytes, Link]:
    """Return what `send_data` returns, and what came out at the other end."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    # In the place of ssh: it writes what it reads, slowly at first, so that the pipe fills.
    device = Device("host", ssh=f"sh -c 'sleep 0.2; cat > {target}' --")

    async def run() -> tuple[int, Link]:
        link = Link(device)
        with source.open("rb") as stream:
            done = await link.send_data(stream.fileno(), SHA256, offset, size)
        await link.close()
        return done, link

    done, link = asyncio.run(run())
    return done, target.read_bytes(), link


def no_sendfile(*_: Any) -> NoReturn:
    raise OSError(errno.EINVAL, "not for this file system")


@pytest.mark.parametrize("moved", [True, False])
def test_a_part_of_a_file_arrives_whether_the_system_can_move_it_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    if not moved:
        monkeypatch.setattr(os, "sendfile", no_sendfile)
    data = os.urandom(5 * DATA_BYTES)
    done, arrived, link = sent(tmp_path, data, 1000, 4 * DATA_BYTES)
    assert done == 4 * DATA_BYTES
    assert link.sent == len(arrived)
    (body,) = MessageBuffer().feed(arrived)
    assert decode_request(body) == Data(SHA256, 1000, data[1000 : 1000 + 4 * DATA_BYTES])


@pytest.mark.parametrize("moved", [True, False])
def test_a_file_that_ends_too_early_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool) -> None:
    if not moved:
        monkeypatch.setattr(os, "sendfile", no_sendfile)
    done, _, _ = sent(tmp_path, b"x" * 1000, 100, 2000)
    assert done == 900
