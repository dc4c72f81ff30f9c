"""Tests over a real sshd: the user's configuration, cut connections, and what OpenSSH complains of."""

import asyncio
import dataclasses
import os
import signal
from typing import Any

import msgspec
import pytest

from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.rate import RateLimit
from st4vla.export.flashing.results import Result
from st4vla.export.flashing.session import Plan, Session


def flash(device: Device, plan: Plan) -> Result:
    async def run() -> Result:
        return await Session(device, plan).run()

    return asyncio.run(run())


def test_a_flash_goes_through_the_users_own_configuration(sshd: Any, fleet: Any, plan: Plan) -> None:
    result = flash(sshd.device(fleet), plan)
    assert (result.state, result.connections) == ("flashed", 1), result
    assert fleet.objects("device") == {entry.sha256 for entry in plan.payload.files.values()}


def test_a_connection_that_is_killed_amid_files_is_resumed(sshd: Any, fleet: Any, plan: Plan) -> None:
    device = sshd.device(fleet)
    slow = dataclasses.replace(plan, limit=RateLimit(1.5e6))

    async def run() -> Result:
        running = asyncio.ensure_future(Session(device, slow).run())
        objects = fleet.folder / "device" / "objects"
        while not list(objects.glob("*")) or sum(path.stat().st_size for path in objects.iterdir()) < 100_000:
            await asyncio.sleep(0.01)
        sshd.cut()
        return await running

    result = asyncio.run(run())
    assert (result.state, result.connections) == ("flashed", 2), result
    # Nothing that the device had is sent again; what was on its way is.
    assert result.sent_bytes < plan.payload.size + 300_000


def test_a_link_on_which_nobody_answers_any_more_is_found_dead_by_ssh(
    sshd: Any, fleet: Any, plan: Plan, told: Any
) -> None:
    given = sshd.device(fleet, {"step_s": 0.2}, {})
    device = msgspec.structs.replace(given, ssh_options=("-o", "ServerAliveInterval=1", *given.ssh_options))

    async def run() -> Result:
        running = asyncio.ensure_future(Session(device, plan).run())
        while not (fleet.folder / "device" / "flash.json").exists():
            await asyncio.sleep(0.01)
        sshd.cut(signal.SIGSTOP)
        return await running

    try:
        result = asyncio.run(run())
    finally:
        sshd.cut()
    assert (result.state, result.connections) == ("flashed", 2), result
    assert any("the link was cut (Timeout, server 127.0.0.1 not responding.)" in text for _, text in told.notes)


def test_a_shared_connection_of_the_user_is_used(
    sshd: Any, fleet: Any, plan: Plan, tmp_path_factory: pytest.TempPathFactory
) -> None:
    socket = tmp_path_factory.mktemp("mux") / "s"
    device = sshd.device(fleet)
    words = ("-o", "ControlMaster=auto", "-o", f"ControlPath={socket}", "-o", "ControlPersist=3")
    shared = msgspec.structs.replace(device, ssh_options=(*device.ssh_options, *words))
    assert flash(shared, plan).state == "flashed"
    assert socket.is_socket()
    assert flash(shared, plan).state == "unchanged"


def probe(device: Device, plan: Plan) -> str:
    """Return why a device cannot be reached."""

    async def run() -> Result | None:
        return await Session(device, plan).probe()

    result = asyncio.run(run())
    assert result is not None
    assert result.state == "unreachable"
    return result.message


def test_a_device_behind_another_host_is_reached_through_it(sshd: Any, fleet: Any, plan: Plan) -> None:
    device = sshd.device(fleet)
    config = fleet.folder / "ssh_config"
    direct = sshd.config.read_text()
    config.write_text(direct + direct.replace("Host stand-in", "Host behind\n  ProxyJump stand-in"))
    result = flash(msgspec.structs.replace(device, host="behind", ssh_options=("-F", str(config))), plan)
    assert (result.state, result.connections) == ("flashed", 1), result


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("UserKnownHostsFile=/dev/null", "connect once by hand: ssh stand-in"),
        ("Port=1", "nothing listens for SSH there"),
        ("HostName=no-such-host.invalid", "its name is not known"),
        ("Nonsense=1", "ssh does not take its configuration or options (command-line: line 0"),
    ],
)
def test_what_ssh_complains_of_becomes_advice(sshd: Any, fleet: Any, plan: Plan, option: str, says: str) -> None:
    given = sshd.device(fleet)
    assert says in probe(msgspec.structs.replace(given, ssh_options=("-o", option, *given.ssh_options)), plan)


def test_a_key_that_is_not_taken_is_told_with_how_to_put_one_there(sshd: Any, fleet: Any, plan: Plan) -> None:
    device = sshd.device(fleet)
    config = fleet.folder / "ssh_config"
    config.write_text(sshd.config.read_text().replace("/user_key", "/host_key") + "  IdentityAgent none\n")
    said = probe(msgspec.structs.replace(device, ssh_options=("-F", str(config))), plan)
    assert "put a key there with `ssh-copy-id stand-in`" in said
    assert "Permission denied (publickey)" in said


def test_a_host_key_that_changed_is_told_apart_from_one_that_is_not_known(sshd: Any, fleet: Any, plan: Plan) -> None:
    given = sshd.device(fleet)
    other = (sshd.folder / "user_key.pub").read_text()
    port = next(line.split()[1] for line in sshd.config.read_text().splitlines() if "Port" in line)
    known = fleet.folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {other}")
    device = msgspec.structs.replace(given, ssh_options=("-o", f"UserKnownHostsFile={known}", *given.ssh_options))
    result = flash(device, plan)
    assert "it shows another host key than before" in result.message
    assert result.connections == 1


def test_a_command_that_is_not_there_is_named(sshd: Any, fleet: Any, plan: Plan) -> None:
    device = msgspec.structs.replace(sshd.device(fleet), command="/opt/nowhere/st4vla")
    result = flash(device, plan)
    assert result.state == "unreachable"
    assert "`/opt/nowhere/st4vla` cannot be run there" in result.message
    assert os.linesep not in result.message
