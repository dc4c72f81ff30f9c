from pathlib import Path

import msgspec
import pytest

from st4vla.contracts.errors import UsageError
from st4vla.training.loop.config_file import read_config


class Loop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    steps: int
    floor: float = 0.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    checkpoint: Path
    loop: Loop
    name: str = "none"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "run.toml"
    file.write_text('checkpoint = "out/tiny"\n[loop]\nsteps = 10\n')
    return file


def test_values_of_the_file_are_replaced_by_those_of_the_command_line(path: Path) -> None:
    assert read_config(path, [], Config) == Config(Path("out/tiny"), Loop(10))
    found = read_config(path, ["loop.steps=20", "loop.floor=0.5", "name=my run"], Config)
    assert found == Config(Path("out/tiny"), Loop(20, 0.5), "my run")


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("loop.steps", "write key=value"),
        ("=3", "write key=value"),
        ("loop.step=3", "unknown field `step`"),
        ("loop.steps=many", r"Expected `int`, got `str`"),
        ("checkpoint.path=x", "'checkpoint' is not a table"),
    ],
)
def test_an_override_that_fits_nothing_is_refused(path: Path, override: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        read_config(path, [override], Config)


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml cannot be read: No such file"):
        read_config(tmp_path / "none.toml", [], Config)
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(UsageError, match=r"bad\.toml is not TOML"):
        read_config(tmp_path / "bad.toml", [], Config)
