import subprocess
from pathlib import Path
from typing import Any

import pytest

# The module is loaded from its file: it belongs to a collection of Ansible, not to us.


def run(words: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def ours(house: Any) -> Any:
    return house.load("plugins/module_utils/device.py")


def device_of(ours: Any, fake: Any) -> Any:
    return ours["Device"](run, fake.command, str(fake.root))


def test_a_bundle_is_installed_once(house: Any, ours: Any) -> None:
    fake, bundle = house.device("one"), house.bundle("tiny", weights_bin=b"abc")
    device = device_of(ours, fake)
    result = ours["install"](device, str(bundle), dry_run=False)
    assert (result["changed"], result["digest"]) == (True, house.digest(bundle))
    assert result["outcome"]["message"] == "committed"
    assert fake.serves == house.digest(bundle)
    assert fake.calls() == ["status", "install"]
    assert ours["install"](device, str(bundle), dry_run=False)["changed"] is False
    assert fake.calls() == ["status"]


def test_check_mode_only_asks(house: Any, ours: Any) -> None:
    fake, bundle = house.device("one"), house.bundle("tiny", weights_bin=b"abc")
    (bundle / "weights.bin").unlink()
    result = ours["install"](device_of(ours, fake), str(bundle), dry_run=True)
    assert (result["changed"], result["outcome"]["message"]) == (True, "would be taken")
    assert (fake.serves, fake.calls()) == (None, ["status", "install --dry-run"])


def test_a_refusal_is_the_devices_own_sentence(house: Any, ours: Any) -> None:
    fake, bundle = house.device("one"), house.bundle("tiny", weights_bin=b"abc")
    fake.refuse("the new policy gave no chunk for 2 s; the old one is back")
    with pytest.raises(ours["DeviceError"], match="gave no chunk for 2 s; the old one is back") as caught:
        ours["install"](device_of(ours, fake), str(bundle), dry_run=False)
    assert caught.value.details["answer"]["step"] == "trial"


@pytest.mark.parametrize("going_on", [{"trial": {"slot": "a"}}, {"flashing": "compile"}])
def test_what_goes_on_is_waited_for_before_anything_is_decided(house: Any, ours: Any, going_on: dict[str, Any]) -> None:
    fake, bundle = house.device("one"), house.bundle("tiny", weights_bin=b"abc")
    fake.change(active="a", slots={"a": {"bundle_digest": house.digest(bundle)}, "b": None}, **going_on)
    assert ours["install"](device_of(ours, fake), str(bundle), dry_run=False)["changed"] is False
    assert fake.calls() == ["status", "watch", "status"]


def test_a_device_without_the_program_or_without_an_answer_is_said(house: Any, ours: Any) -> None:
    fake, bundle = house.device("one"), house.bundle("tiny", weights_bin=b"abc")
    none = ours["Device"](run, ["/none/st4vla"], str(fake.root))
    with pytest.raises(ours["DeviceError"], match=r"/none/st4vla cannot be started on the device: No such file"):
        ours["install"](none, str(bundle), dry_run=False)
    for words, said in (
        (["false"], "status 1 and without an answer; it said: nothing"),
        (["echo"], "without an answer"),
    ):
        with pytest.raises(ours["DeviceError"], match=said):
            ours["Device"](run, words, str(fake.root)).status()
    with pytest.raises(ours["DeviceError"], match=r"bundle\.json cannot be read on the device: No such file"):
        ours["install"](device_of(ours, fake), str(fake.root), dry_run=False)


def test_a_list_is_brought_once_and_never_an_older_one(house: Any, ours: Any) -> None:
    fake = house.device("one")
    device = device_of(ours, fake)
    new = str(house.trust(3))
    expected = {"changed": True, "version_before": 1, "version": 3}
    assert ours["take_trust"](device, new, dry_run=True) == expected
    assert fake.calls() == ["status"]
    assert ours["take_trust"](device, new, dry_run=False) == expected
    assert ours["take_trust"](device, new, dry_run=False)["changed"] is False
    assert ours["take_trust"](device, new, dry_run=True)["changed"] is False
    with pytest.raises(ours["DeviceError"], match="version 2 is not newer"):
        ours["take_trust"](device, str(house.trust(2)), dry_run=False)


def test_what_is_no_list_is_said(house: Any, ours: Any, tmp_path: Path) -> None:
    device = device_of(ours, house.device("one"))
    for text in ("nonsense", "{}", '{"payload": "AAAA"}', '{"payload": 1}', "[]"):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(ours["DeviceError"], match=r"odd\.json is no trust list"):
            ours["take_trust"](device, str(tmp_path / "odd.json"), dry_run=True)
    with pytest.raises(ours["DeviceError"], match="cannot be read on the device"):
        ours["take_trust"](device, str(tmp_path / "none.json"), dry_run=True)


def test_only_files_that_the_device_does_not_have_are_missing(house: Any, ours: Any) -> None:
    fake = house.device("one")
    first = house.bundle("first", planner_bin=b"shared", sampler_bin=b"one")
    ours["install"](device_of(ours, fake), str(first), dry_run=False)
    entries = {
        name: {"sha256": house.digest_of(data), "size": len(data)}
        for name, data in (("graphs/planner.bin", b"shared"), ("sampler.bin", b"two"))
    }
    assert ours["missing_files"](entries, str(fake.root)) == ["sampler.bin"]
    entries["graphs/planner.bin"]["size"] = 7
    assert ours["missing_files"](entries, str(fake.root)) == ["graphs/planner.bin", "sampler.bin"]


@pytest.mark.parametrize("entry", [{}, {"sha256": "../../../etc", "size": 1}, {"sha256": "0" * 64, "size": "1"}])
def test_what_is_no_entry_of_a_manifest_is_refused(ours: Any, tmp_path: Path, entry: dict[str, Any]) -> None:
    with pytest.raises(ours["DeviceError"], match=r"weights\.bin: not an entry of a manifest's files"):
        ours["missing_files"]({"weights.bin": entry}, str(tmp_path))


def test_canaries_are_a_share_and_one_of_each_kind(house: Any) -> None:
    canaries = house.load("plugins/filter/canaries.py")["canaries"]
    machines = {f"arm{number:02}": {"machine": "aarch64", "model": "Orin NX"} for number in range(40)}
    machines["arm33"] = {"machine": "aarch64", "model": "AGX Orin"}
    assert canaries(machines) == ["arm00", "arm33", "arm01", "arm02"]
    assert canaries(machines, 0) == ["arm00", "arm33"]
    assert canaries(machines, 0, ["arm07"]) == ["arm07", "arm33"]
    assert len(canaries(machines, 1)) == len(machines)
    assert canaries({"alone": {}}) == ["alone"]
    with pytest.raises(ValueError, match="share is 10"):
        canaries(machines, 10)
    assert list(house.load("plugins/filter/canaries.py")["FilterModule"]().filters()) == ["canaries"]
