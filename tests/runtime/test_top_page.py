from typing import Any

import msgspec
import pytest

from st4vla.runtime.diagnosis import Cause
from st4vla.runtime.distribution import Distribution
from st4vla.runtime.printable import columns
from st4vla.runtime.snapshot import ClientSnapshot, Drops, Snapshot, SystemSnapshot
from st4vla.runtime.top_page import Line, draw, draw_absent

URL = "http://127.0.0.1:9464"
CLIENT = ClientSnapshot(
    "zmq:0b1c2d", "lift the cube", 19.8, 14.2, 120.0, 150.0, "RUN", 123, 4, -5000.25, 0.061, 40, 0.1
)
FRESH = ClientSnapshot("zmq:ffffff", "", 0.0, None, None, None, None, None, 0, None, None, 55.0, 0.0)


def snapshot(**fields: Any) -> Snapshot:
    calls = Distribution()
    for number in range(100):
        calls.add(number * 50_000_000, 12_340_000)
    system = SystemSnapshot(calls.figures(5_000_000_000), failures=2)
    given = {"health": "ready", "ready": True, "uptime_s": 3725.0, "system1": system, "max_clients": 8} | fields
    return Snapshot("tiny", "ab" * 32, **given)


def texts(page: list[Line]) -> str:
    return "\n".join(line.text.rstrip() for line in page)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"clients": (CLIENT, FRESH)},
        {"clients": (msgspec.structs.replace(CLIENT, instruction="\u62ff\u8d77" * 30),) * 3},
        {
            "clients": (
                msgspec.structs.replace(CLIENT, name="a" * 90, frame_age_ms=1e12, superseded=10**12, chunk_id=1),
            )
        },
        {"causes": (Cause("a", "x" * 500), Cause("b", "many words " * 40))},
        {"drops": Drops(10**9, 10**9, 10**9, 10**9, 10**9, 10**9, {f"code_{n}": 10**9 for n in range(20)})},
    ],
)
def test_every_line_has_exactly_the_width_of_the_terminal(width: int, fields: dict[str, Any]) -> None:
    page = draw(snapshot(**fields), URL, width)
    assert {columns(line.text) for line in page} == {width}
    page = draw_absent(URL, "no answer " * 30, snapshot(**fields), width)
    assert {columns(line.text) for line in page} == {width}


def test_the_page_says_what_is_served_how_it_is_and_for_how_long() -> None:
    title = draw(snapshot(), URL, 80)[0]
    assert title.text == "tiny abababab  READY  1:02:05                              " + URL
    assert title.style == "good"
    assert draw(snapshot(health="degraded"), URL, 80)[0].style == "bad"


def test_a_cause_is_told_whole_over_several_lines() -> None:
    text = "System 1 failed in 12 of its last 50 calls: look at the server's log, and restart the server if it goes on"
    page = draw(snapshot(causes=(Cause("system1_fails", text),)), URL, 80)
    told = [line.text for line in page if line.style == "warn"]
    assert len(told) == 2
    assert " ".join(line.strip("! ") for line in told) == text


def test_rates_latencies_ages_and_drops_are_shown() -> None:
    page = texts(draw(snapshot(drops=Drops(12, 3, refused={"deadline": 3})), URL, 120))
    assert "System 1, act       20.0     12.3     12.3     12.3     12.3       100       2" in page
    assert "System 2, plan       0.0        -        -        -        -         0       0" in page
    assert "superseded 12, late 3, stale 0" in page
    assert "refused   deadline 3" in page


@pytest.mark.parametrize("width", [80, 120])
def test_clients_are_shown_with_as_much_of_them_as_there_is_room_for(width: int) -> None:
    page = texts(draw(snapshot(clients=(CLIENT, FRESH)), URL, width))
    assert "2 of 8 clients" in page
    assert "zmq:0b1c2d       19.8    14.2   120.0  RUN       4     0.1  " in page
    assert "lift the cube" in page
    assert ("-5.000 \u00b10.06" in page) is (width == 120)


def test_a_client_that_holds_stands_out() -> None:
    page = draw(snapshot(clients=(CLIENT, msgspec.structs.replace(CLIENT, pace="HOLD"))), URL, 80)
    assert [line.style for line in page[-2:]] == ["", "bad"]


def test_nothing_that_a_stranger_says_reaches_the_terminal_as_it_is() -> None:
    wild = msgspec.structs.replace(CLIENT, name="\x1b[2J", instruction="\x1b]0;title\x07", pace="RUN\r")
    page = draw(
        snapshot(clients=(wild,), causes=(Cause("a", "\x1b[31m"),), drops=Drops(refused={"\x1b[5m": 1})), URL, 120
    )
    assert all(line.text.isprintable() for line in page)


def test_a_server_that_is_away_is_told_with_what_it_was_like() -> None:
    page = draw_absent(URL, "no answer", snapshot(), 80)
    assert page[0] == Line("no answer. Trying again.".ljust(80), "bad")
    assert "READY" in texts(page)
    assert {line.style for line in page[1:]} == {"dim"}
    assert len(draw_absent(URL, "no answer", None, 80)) == 1
