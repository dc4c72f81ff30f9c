from pathlib import Path

import pytest

from st4vla.contracts.errors import ManifestError
from st4vla.runtime.flashing.config import DeviceConfig, read_config


def test_a_device_without_a_configuration_has_the_defaults(tmp_path: Path) -> None:
    assert read_config(tmp_path / "device.json") == DeviceConfig()
    (tmp_path / "device.json").write_text("{}")
    assert read_config(tmp_path / "device.json") == DeviceConfig()


def test_what_is_given_is_taken_and_the_rest_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    path.write_text('{"serve": {"bind": "tcp://*:5555", "args": ["--plan-hz", "2"]}, "trial": {"seconds": 2}}')
    config = read_config(path)
    assert (config.serve.bind, config.serve.args, config.trial.seconds) == ("tcp://*:5555", ("--plan-hz", "2"), 2.0)
    assert config.trial.max_starts == DeviceConfig().trial.max_starts
    assert config.root == Path("/")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is not a device's configuration"),
        ('{"serv": {}}', "unknown field `serv`"),
        ('{"serve": {"port": 1}}', r"unknown field `port` - at `\$\.serve`"),
        ('{"trial": {"seconds": 0}}', "seconds is 0; it must be positive and finite"),
        ('{"trial": {"min_rate_share": 2}}', "min_rate_share is 2; it is a share, from 0 to 1"),
        ('{"build": {"nice": 20}}', "nice is 20; it is from 0 to 19"),
        ('{"build": {"memory_bytes": 0}}', "memory_bytes is 0; it must be positive"),
    ],
)
def test_what_is_no_configuration_is_refused_and_the_field_named(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "device.json").write_text(text)
    with pytest.raises(ManifestError, match=match):
        read_config(tmp_path / "device.json")


def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "device.json").mkdir()
    with pytest.raises(ManifestError, match=r"device\.json cannot be read: Is a directory"):
        read_config(tmp_path / "device.json")
