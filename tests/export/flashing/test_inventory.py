"""Tests that an inventory says what is wrong in it: the file, the device, the key."""

from pathlib import Path

import pytest

from st4vla.contracts.errors import UsageError
from st4vla.export.flashing.inventory import choose, named_devices, read_inventory

FLEET = """
[defaults]
command = "sudo -n st4vla"
groups = ["lab"]
ssh_options = ["-C"]

[[device]]
host = "thor-1"
name = "left arm"
groups = ["arms"]
canary = true
ssh_options = ["-p", "2222"]

[[device]]
host = "user@192.0.2.7"
command = "/opt/st4vla/bin/st4vla"
root = "/data/st4vla"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "fleet.toml"
    path.write_text(text)
    return path


def test_a_device_has_its_own_fields_and_those_of_the_defaults(tmp_path: Path) -> None:
    left, other = read_inventory(write(tmp_path, FLEET))
    assert (left.title, left.host, left.command, left.canary) == ("left arm", "thor-1", "sudo -n st4vla", True)
    assert left.groups == ("arms", "lab")
    assert left.ssh_options == ("-p", "2222", "-C")
    assert (other.title, other.command, other.root) == ("user@192.0.2.7", "/opt/st4vla/bin/st4vla", "/data/st4vla")


def test_the_command_line_wins_over_defaults_and_not_over_a_device(tmp_path: Path) -> None:
    left, other = read_inventory(write(tmp_path, FLEET), {"command": "st4", "ssh": "wrapper"})
    assert (left.command, left.ssh) == ("st4", "wrapper")
    assert other.command == "/opt/st4vla/bin/st4vla"


def test_devices_are_chosen_by_name_or_group(tmp_path: Path) -> None:
    devices = read_inventory(write(tmp_path, FLEET))
    assert choose(devices, [], []) == devices
    assert choose(devices, [], ["arms"]) == devices[:1]
    assert choose(devices, ["user@192.0.2.7"], []) == devices[1:]
    with pytest.raises(UsageError, match="no group 'legs'; there are arms, lab"):
        choose(devices, [], ["legs"])
    with pytest.raises(UsageError, match="no device 'right arm'; there are left arm, user@192"):
        choose(devices, ["right arm"], [])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[[device]]\nhots = 'a'", r"fleet\.toml, \[\[device\]\] number 1: .*"),
        ("[[device]]\nhost = 'a'\nrot = '/'", r"number 1 \(a\): .*`rot`.*; known are host, name, command"),
        ("[[device]]\nhost = 'a'\nname = 'b'\ncanary = 'yes'", r"number 1 \(b\): Expected `bool`.*\$\.canary"),
        ("[[device]]\nhost = '-oProxyCommand=x'", r"host '-oProxyCommand=x': name it as for ssh"),
        ("[[device]]\nhost = 'a b'", r"host 'a b'"),
        ("[[device]]\nhost = 'a'\nssh = ' '", r"ssh is empty; leave it out for 'ssh'"),
        ("[[device]]\nhost = 'a'\n[[device]]\nhost = 'a'", r"a named twice; give each device a `name`"),
        ("[default]\nroot = '/'", r"unknown key 'default'; known are defaults, device"),
        ("[defaults]\nhost = 'a'\n[[device]]\nhost = 'a'", r"\[defaults\]: unknown key 'host'; known are command"),
        ("[defaults]\nroot = 7\n[[device]]\nhost = 'a'", r"fleet\.toml, \[defaults\]: Expected `str`.*\$\.root"),
        ("", r"names no device; write \[\[device\]\]"),
        ("device = ['a']", r"number 1: Expected `object`"),
        ("defaults = 1\n[[device]]\nhost = 'a'", r"`defaults` is not a table"),
        ("host = ", r"fleet\.toml is not TOML: "),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        read_inventory(write(tmp_path, text))


def test_a_missing_inventory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml cannot be read: No such file"):
        read_inventory(tmp_path / "none.toml")


def test_hosts_of_the_command_line_are_devices() -> None:
    one, two = named_devices(["thor", "me@odin"], {"root": "/r"})
    assert (one.title, two.title, two.root) == ("thor", "me@odin", "/r")
    with pytest.raises(UsageError, match="thor named twice"):
        named_devices(["thor", "thor"])
    with pytest.raises(UsageError, match="the command line: host '-v'"):
        named_devices(["-v"])
