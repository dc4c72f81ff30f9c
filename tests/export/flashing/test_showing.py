"""Tests of what people see: lines, the live screen, the table of devices."""

import datetime
import io

import msgspec
from rich.console import Console

from st4vla.contracts.device_status import DeviceStatus, Machine, Outcome, ServerStatus, SlotStatus, TrialStatus
from st4vla.contracts.flash_messages import Progress
from st4vla.export.flashing.asking import Answered
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.live import Screen
from st4vla.export.flashing.reporting import Lines, megabytes
from st4vla.export.flashing.results import Result
from st4vla.export.flashing.table import devices_table

NOW = datetime.datetime(2026, 1, 2, 12, 0, 0, tzinfo=datetime.timezone.utc)
THOR = Device("thor")
STATUS = DeviceStatus(
    version="0.1.0",
    machine=Machine("aarch64", "Orin", "36.4", "MAXN", "tensorrt 10.3", 1 << 33, 1 << 36, temperature_c=51.6),
    slots={"a": SlotStatus("pick", "ab" * 32, 7, "key", "2026-01-01T12:00:00Z"), "b": None},
    active="a",
    active_since="2026-01-01T12:00:00Z",
    server=ServerStatus("tcp://0.0.0.0:5555", "ready", system1_hz=19.96, frame_age_ms=31.4, clients=1),
    last=Outcome(True, "x", "pick", "ab" * 32, "commit", "it serves", ended_at="2026-01-02T11:30:00Z"),
    trust_version=3,
)


def test_lines_tell_each_step_once_and_how_each_device_ended() -> None:
    lines: list[str] = []
    reporter = Lines(lines.append)
    reporter.wave("canaries", [THOR])
    reporter.begin(THOR)
    reporter.note(THOR, "12 MB to send")
    reporter.sent(THOR, 1, 2)
    for fraction in (0.1, 0.2):
        reporter.progress(THOR, Progress("compile", "planner", fraction))
    reporter.progress(THOR, Progress("compile", "", 0.3))
    reporter.progress(THOR, Progress("trial", "\033[2J"))
    reporter.end(Result("thor", "thor", "flashed", "it serves", seconds=12.34))
    assert lines == [
        "canaries: thor",
        "thor: 12 MB to send",
        "thor: compile: planner",
        "thor: trial: ?[2J",
        "thor: flashed after 12.3 s: it serves",
    ]


def test_bytes_are_told_in_units_of_people() -> None:
    told = [megabytes(size) for size in (0, 999, 1000, 123_456, 1_500_000, 2_340_000_000)]
    assert told == ["0 bytes", "999 bytes", "1 kB", "123 kB", "1.5 MB", "2.34 GB"]


def drawn(screen: Screen, console: Console, height: int) -> list[str]:
    options = console.options.update(height=height, max_width=100)
    options.max_height = height
    return ["".join(part.text for part in line).rstrip() for line in console.render_lines(screen, options, pad=False)]


def test_the_screen_has_a_line_for_each_running_device_and_one_for_the_whole() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    screen = Screen(console, 50)
    screen.wave("canaries", [THOR])
    screen.begin(THOR)
    screen.progress(THOR, Progress("compile", "planner", 0.5))
    screen.begin(Device("odin"))
    screen.sent(Device("odin"), 5_000_000, 20_000_000)
    screen.end(Result("freya", "freya", "failed", "too hot", sent_bytes=1_000_000))
    lines = [line for line in drawn(screen, console, 40) if line]
    assert len(lines) == 3
    assert "thor" in lines[0]
    assert " 5/11 compile" in lines[0]
    assert "planner" in lines[0]
    assert "5 MB of 20 MB" in lines[1]
    assert "canaries" in lines[-1]
    assert "0 of 50 good  1 not  2 running  47 waiting  6 MB sent" in lines[-1]


def test_a_screen_that_is_too_small_says_how_many_are_left_out() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=10)
    screen = Screen(console, 50)
    for number in range(30):
        screen.begin(Device(f"d{number}"))
    lines = [line for line in drawn(screen, console, 10) if line]
    assert len(lines) == 9
    assert lines[-2] == "and 23 more"


def test_the_screen_writes_what_ended_and_leaves_it_there() -> None:
    written = io.StringIO()
    with Screen(Console(file=written, force_terminal=True, width=100, height=40), 1) as screen:
        screen.begin(THOR)
        screen.note(THOR, "cut")
        screen.end(Result("thor", "thor", "flashed", "it \033[2J serves"))
    text = written.getvalue()
    assert "thor: flashed after 0.0 s: it ?[2J serves" in text


def test_the_table_says_what_runs_where_since_when_and_how() -> None:
    told = devices_table([Answered(THOR, STATUS), Answered(Device("odin"), None, "its name is not known")], NOW)
    header, _, row, _, note = told.splitlines()
    assert header.split()[:5] == ["device", "policy", "digest", "slot", "for"]
    assert " ".join(row.split()) == "thor pick (7) abababab a 1 d - ready 20.0 31 52 v3 ok 30 min ago"
    assert note == "odin: its name is not known"


def test_the_table_tells_trials_failures_and_devices_without_a_policy() -> None:
    failed = Outcome(False, "x", "pick", "cd" * 32, "trial", "3 NaN in 60 s", "TrialError", rolled_back=True)
    trial = msgspec.structs.replace(STATUS, trial=TrialStatus("a", "b", 12.0, 60.0, 1), last=failed)
    new = DeviceStatus("0.1.0", msgspec.structs.replace(STATUS.machine, temperature_c=None), {"a": None, "b": None})
    running = msgspec.structs.replace(STATUS, flashing="compile")
    told = devices_table([Answered(THOR, trial), Answered(Device("new"), new), Answered(Device("busy"), running)], NOW)
    lines = told.splitlines()
    assert "12 of 60 s" in lines[2]
    assert lines[2].endswith("rolled back")
    assert lines[3].split() == ["new", *["-", "-", "-", "-", "-"], "no", "supervisor", *["-", "-", "-", "-", "-"]]
    assert " compile " in lines[4]
    assert lines[-1] == "thor: 3 NaN in 60 s"


def test_a_table_without_answers_is_why_there_are_none() -> None:
    assert devices_table([Answered(THOR, None, "off")], NOW) == "thor: off"
