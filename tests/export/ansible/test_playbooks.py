"""The playbooks, run by Ansible itself against devices on this machine.

Ansible is no dependency of ours: where `ansible-playbook` is not to be found, these tests are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = shutil.which("ansible-playbook", path=os.environ.get("ST4VLA_ANSIBLE", os.environ["PATH"]))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        PROGRAM is None, reason="ansible-playbook is not on PATH, nor in the folder that ST4VLA_ANSIBLE names"
    ),
]


class Controller:
    """Runs a playbook of the collection against all devices of a house."""

    def __init__(self, house: Any, devices: dict[str, Any]) -> None:
        self._house, self.devices = house, devices
        folder = house.folder / "controller"
        place = folder / "ansible_collections" / "st4vla"
        place.mkdir(parents=True)
        (place / "edge").symlink_to(house.collection)
        hosts = {
            name: {"st4vla_root": str(device.root), "st4vla_staging": str(device.root.with_suffix(".staging"))}
            for name, device in devices.items()
        }
        shared = {
            "ansible_connection": "local",
            "ansible_remote_tmp": str(folder / "remote"),
            "ansible_async_dir": str(folder / "async"),
            "ansible_python_interpreter": sys.executable,
            "st4vla_poll_s": 1,
            "st4vla_command": list(next(iter(devices.values())).command),
        }
        inventory = {"st4vla": {"hosts": hosts, "vars": shared}}
        self._inventory = folder / "inventory.json"
        self._inventory.write_text(json.dumps(inventory))
        others = os.environ.get("ANSIBLE_COLLECTIONS_PATH", "")
        self._environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": f"{folder}:{others}",
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_FORKS": "4",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        self.said = ""

    def __call__(self, playbook: str, *words: str, ok: bool = True, **variables: Any) -> dict[str, dict[str, int]]:
        """Run a playbook, and return the recap: host to what was counted."""
        command = [str(PROGRAM), f"st4vla.edge.{playbook}", "-i", str(self._inventory), *words]
        # Keywords of a play do not see variables of hosts.
        given = {"st4vla_serial": ["100%"], **variables}
        command += ["-e", json.dumps(given, default=str)]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        self.said = done.stdout + done.stderr
        assert (done.returncode == 0) is ok, self.said
        recap = done.stdout.rpartition("PLAY RECAP")[2].splitlines()[1:]
        lines = [line.split(":", 1) for line in recap if "=" in line]
        return {
            host.strip(): {name: int(count) for name, count in (pair.split("=") for pair in counts.split())}
            for host, counts in lines
        }


@pytest.fixture
def controller(house: Any) -> Controller:
    return Controller(house, {f"arm{number}": house.device(f"arm{number}") for number in range(4)})


def test_a_fleet_is_flashed_once_and_files_that_are_there_do_not_travel(controller: Controller, house: Any) -> None:
    first = house.bundle("first", planner_bin=b"shared", graphs__sampler_bin=b"one")
    recap = controller("flash", st4vla_bundle=first)
    assert all(counts["changed"] > 0 and counts["failed"] == 0 for counts in recap.values())
    assert {device.serves for device in controller.devices.values()} == {house.digest(first)}
    assert not list(house.folder.glob("devices/*.staging"))

    recap = controller("flash", st4vla_bundle=first)
    assert all(counts["changed"] == 0 for counts in recap.values()), controller.said

    second = house.bundle("second", planner_bin=b"shared", graphs__sampler_bin=b"two")
    (second / "planner.bin").unlink()
    controller("flash", st4vla_bundle=second)
    assert {device.serves for device in controller.devices.values()} == {house.digest(second)}
    assert len(controller.devices["arm0"].objects) == 3


def test_check_mode_asks_each_device_and_changes_none(controller: Controller, house: Any) -> None:
    bundle = house.bundle("first", planner_bin=b"shared")
    controller.devices["arm1"].refuse("this bundle is for JetPack 36.4")
    recap = controller("flash", "--check", ok=False, st4vla_bundle=bundle, st4vla_failure_budget=50)
    assert recap["arm1"]["failed"] == 1
    assert "this bundle is for JetPack 36.4" in controller.said
    for device in controller.devices.values():
        assert (device.serves, device.objects) == (None, set())
        assert device.calls() == ["status", "status", "status", "install --dry-run"]


def test_a_canary_that_fails_ends_it(controller: Controller, house: Any) -> None:
    controller.devices["arm0"].refuse("the new policy gave no chunk; the old one is back")
    recap = controller("flash", ok=False, st4vla_bundle=house.bundle("first", planner_bin=b"x"))
    assert recap["arm0"]["failed"] == 1
    assert "the new policy gave no chunk; the old one is back" in controller.said
    assert {name: device.calls() for name, device in controller.devices.items() if name != "arm0"} == {
        name: ["status"] for name in ("arm1", "arm2", "arm3")
    }


def test_more_failures_than_the_budget_end_it_after_the_batch(controller: Controller, house: Any) -> None:
    bundle = house.bundle("first", planner_bin=b"x")
    controller.devices["arm1"].refuse("too hot")
    recap = controller("flash", ok=False, st4vla_bundle=bundle, st4vla_serial=[2])
    assert (recap["arm1"]["failed"], controller.devices["arm2"].serves) == (1, house.digest(bundle))
    assert controller.devices["arm3"].serves is None
    # One of two may fail, and the rest goes on.
    controller("flash", ok=False, st4vla_bundle=bundle, st4vla_serial=[2], st4vla_failure_budget=50)
    assert [name for name, device in controller.devices.items() if device.serves is None] == ["arm1"]
    controller.devices["arm1"].accept()
    controller("flash", st4vla_bundle=bundle)
    assert controller.devices["arm1"].serves == house.digest(bundle)


def test_each_kind_of_machine_is_among_the_canaries(house: Any) -> None:
    kinds = {"arm0": "Orin NX", "arm1": "Orin NX", "arm2": "AGX Orin"}
    controller = Controller(house, {name: house.device(name, model=model) for name, model in kinds.items()})
    controller.devices["arm2"].refuse("out of memory")
    controller("flash", ok=False, st4vla_bundle=house.bundle("first", planner_bin=b"x"))
    assert controller.devices["arm1"].calls() == ["status"]


def test_a_list_is_brought_once(controller: Controller, house: Any) -> None:
    assert all(counts["changed"] == 1 for counts in controller("trust", st4vla_trust=house.trust(2)).values())
    assert {device.status["trust_version"] for device in controller.devices.values()} == {2}
    assert all(counts["changed"] == 0 for counts in controller("trust", st4vla_trust=house.trust(2)).values())
    controller("trust", ok=False, st4vla_trust=house.trust(1))
    assert "version 1 is not newer" in controller.said


@pytest.mark.skipif(
    "ANSIBLE_COLLECTIONS_PATH" not in os.environ or shutil.which("rsync") is None,
    reason="ansible.posix is looked for in ANSIBLE_COLLECTIONS_PATH; rsync is needed too",
)
def test_rsync_brings_files_as_well(controller: Controller, house: Any) -> None:
    bundle = house.bundle("first", planner_bin=b"shared", graphs__sampler_bin=b"one")
    controller("flash", st4vla_bundle=bundle, st4vla_transport="synchronize")
    assert {device.serves for device in controller.devices.values()} == {house.digest(bundle)}


def test_a_device_that_does_not_answer_is_counted_and_the_others_are_flashed(house: Any) -> None:
    controller = Controller(house, {name: house.device(name) for name in ("arm0", "arm1")})
    (controller.devices["arm0"].root / "status.json").unlink()
    bundle = house.bundle("first", planner_bin=b"x")
    recap = controller("flash", ok=False, st4vla_bundle=bundle)
    assert (recap["arm0"]["failed"], recap["arm1"]["failed"]) == (1, 0)
    assert controller.devices["arm1"].serves == house.digest(bundle)
