"""How a device is set up: `device.json`, written by people. Every field has a default, and an empty file is `{}`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from st4vla.contracts.errors import ManifestError

MIB = 1 << 20


def _require_positive(config: msgspec.Struct, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 < value < float("inf"):
            msg = f"{name} is {value:g}; it must be positive and finite"
            raise ValueError(msg)


class ServeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the policy is served; see `st4vla serve --help`.

    Attributes:
        bind: Address to listen on.
        keys: Folder of keys, or None for everybody on this machine.
        doors: Doors for other clients.
        backend: Engine library, or None for the best one that works here.
        args: Further arguments of `st4vla serve`.
    """

    bind: str = "tcp://127.0.0.1:5555"
    keys: str | None = None
    doors: tuple[str, ...] = ()
    backend: str | None = None
    args: tuple[str, ...] = ()


class TrialConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a new policy is held to before it is committed.

    Attributes:
        seconds: How long it must do well.
        max_starts: How often its server may be started before it is taken back.
        start_timeout_s: Within which time a server must be ready, its engines loaded.
        min_rate_share: Least chunks a second, as a share of what the policy before it gave the same clients.
        max_frame_age_ms: Most age of frames when their chunks are handed out, 99th percentile; None is without a limit.
        max_system1_failures: How many runs of System 1 may fail.
    """

    seconds: float = 60.0
    max_starts: int = 2
    start_timeout_s: float = 300.0
    min_rate_share: float = 0.7
    max_frame_age_ms: float | None = None
    max_system1_failures: int = 0

    def __post_init__(self) -> None:
        """Refuse a trial that nothing could pass, or fail."""
        _require_positive(self, "seconds", "max_starts", "start_timeout_s", "max_frame_age_ms")
        if not 0 <= self.min_rate_share <= 1:
            msg = f"min_rate_share is {self.min_rate_share:g}; it is a share, from 0 to 1"
            raise ValueError(msg)


class PreflightConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In which state a device takes a bundle.

    Attributes:
        max_temperature_c: Of the hottest thermal zone.
        min_supply_v: Of the board's supply; None is without a limit, since boards differ.
        min_battery_percent: Of the battery, where there is one.
        disk_reserve_bytes: What stays free of the disk.
        memory_reserve_bytes: What stays free of the memory while engines are built.
    """

    max_temperature_c: float = 85.0
    min_supply_v: float | None = None
    min_battery_percent: float = 20.0
    disk_reserve_bytes: int = 256 * MIB
    memory_reserve_bytes: int = 256 * MIB


class BuildConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How engines are built beside a policy that serves.

    Attributes:
        memory_bytes: Most memory that a build may have; None is what is available less the preflight's reserve.
        nice: Its niceness, 0 to 19; with 19 it also gets only what the other processes leave of the CPU and the disk.
        timeout_s: After so long it is ended.
    """

    memory_bytes: int | None = None
    nice: int = 19
    timeout_s: float = 7200.0

    def __post_init__(self) -> None:
        """Refuse what no build could have."""
        _require_positive(self, "memory_bytes", "timeout_s")
        if not 0 <= self.nice <= 19:
            msg = f"nice is {self.nice}; it is from 0 to 19"
            raise ValueError(msg)


class DeviceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device's configuration.

    Attributes:
        serve: How the policy is served.
        trial: What a new policy is held to.
        preflight: In which state the device takes a bundle.
        build: How engines are built.
        system_root: Where the machine's file system begins: what the device is, is read below it.
    """

    serve: ServeConfig = ServeConfig()
    trial: TrialConfig = TrialConfig()
    preflight: PreflightConfig = PreflightConfig()
    build: BuildConfig = BuildConfig()
    system_root: str = "/"

    @property
    def root(self) -> Path:
        """Where the machine's file system begins."""
        return Path(self.system_root)


def read_config(path: Path) -> DeviceConfig:
    """Return a device's configuration; all defaults when there is no file.

    Raises:
        ManifestError: The file holds something else; the message names the field.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return DeviceConfig()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise ManifestError(msg) from error
    try:
        return msgspec.json.decode(data, type=DeviceConfig)
    except (msgspec.DecodeError, ValueError) as error:
        msg = f"{path} is not a device's configuration: {error}"
        raise ManifestError(msg) from error
