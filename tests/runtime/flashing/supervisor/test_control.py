import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from msgspec.structs import replace

from st4vla.contracts.device_status import DeviceStatus, Machine, Outcome
from st4vla.contracts.errors import DeviceBusyError, FlashError, TransportError
from st4vla.contracts.flash_messages import (
    PROTOCOL,
    Answer,
    Ask,
    Cancel,
    Finished,
    Hello,
    Install,
    Offer,
    Progress,
    Refused,
    Request,
    Rollback,
    Told,
    Watch,
    Welcome,
    decode_answer,
)
from st4vla.runtime.flashing import control as controlling
from st4vla.runtime.flashing.asking import ask, ask_status
from st4vla.runtime.flashing.control import Control
from st4vla.runtime.flashing.flash import Flash
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.message_stream import MessageStream, connect

STATUS = DeviceStatus("0", Machine("x86_64", "m", "", "", "", 1, 1), {"a": None, "b": None})


class Deciding:
    """A supervisor that has one flash at most."""

    def __init__(self) -> None:
        self.flash: Flash | None = None
        self.asked: list[str] = []

    def install(self, digest: str) -> Flash:
        if self.flash is not None and self.flash.bundle_digest != digest:
            raise DeviceBusyError("another one is being flashed")
        self.flash = self.flash or Flash("new", digest)
        return self.flash

    def dry_run(self, digest: str) -> Outcome:
        return Flash("new", digest).succeeded("it would be taken")

    def watch(self) -> Flash | Outcome | None:
        return self.flash

    def cancel(self) -> Flash:
        self.asked.append("cancel")
        assert self.flash is not None
        self.flash.finish(self.flash.failed(FlashError("cancelled")))
        return self.flash

    def roll_back(self) -> Flash:
        raise FlashError("nothing to go back to")


class Link:
    """A connection to the control socket, until the test's end."""

    opened: ClassVar[list[socket.socket]] = []

    def __init__(self, layout: Layout) -> None:
        self.socket = connect(layout.control)
        self.opened.append(self.socket)
        self.stream = MessageStream(self.socket.fileno(), self.socket.fileno())

    def send(self, request: Request) -> None:
        assert self.stream.send(request)

    def get(self) -> Answer:
        body = self.stream.receive()
        assert body is not None
        return decode_answer(body)

    def ask(self, request: Request) -> Answer:
        self.send(request)
        return self.get()


@pytest.fixture
def supervisor() -> Deciding:
    return Deciding()


@pytest.fixture
def layout(tmp_path: Path, supervisor: Deciding) -> Iterator[Layout]:
    layout = Layout(tmp_path)
    control = Control(layout, supervisor, lambda: STATUS)
    control.start()
    yield layout
    control.close()
    while Link.opened:
        Link.opened.pop().close()
    assert not layout.control.exists()


def test_questions_are_answered(layout: Layout) -> None:
    link = Link(layout)
    assert link.ask(Hello(PROTOCOL, "0")) == Welcome(PROTOCOL, STATUS)
    assert link.ask(Ask()) == Told(STATUS)
    answer = link.ask(Install("d", dry_run=True))
    assert isinstance(answer, Finished)
    assert answer.outcome.message == "it would be taken"
    answer = link.ask(Watch())
    assert answer == Refused("receive", "FlashError", "nothing was flashed to this device yet")
    assert link.ask(Rollback()) == Refused("receive", "FlashError", "nothing to go back to")
    answer = link.ask(Offer(b"", b""))
    assert isinstance(answer, Refused)
    assert "the supervisor takes no Offer" in answer.message


def test_a_flash_is_followed_by_all_who_ask_and_goes_on_without_any(layout: Layout, supervisor: Deciding) -> None:
    first, second, third = Link(layout), Link(layout), Link(layout)
    first.send(Install("d"))
    while supervisor.flash is None:
        time.sleep(0.01)
    flash = supervisor.flash
    flash.say(Progress("compile", "planner", 0.5))
    assert first.get() == Progress("compile", "planner", 0.5)
    second.send(Install("d"))
    third.send(Watch())
    assert second.get() == third.get() == Progress("compile", "planner", 0.5)
    refused = Link(layout).ask(Install("another"))
    assert refused == Refused("receive", "DeviceBusyError", "another one is being flashed")
    first.socket.close()
    outcome = flash.succeeded("done")
    flash.finish(outcome)
    assert second.get() == third.get() == Finished(outcome, STATUS)


def test_a_watcher_that_never_reads_costs_the_flash_nothing(layout: Layout, supervisor: Deciding) -> None:
    stuck = Link(layout)
    stuck.send(Install("d"))
    while supervisor.flash is None:
        time.sleep(0.01)
    flash = supervisor.flash
    began = time.monotonic()
    for number in range(20000):
        flash.say(Progress("compile", "x" * 200, number / 20000))
    assert time.monotonic() - began < 5
    reading = Link(layout)
    reading.send(Watch())
    assert isinstance(reading.get(), Progress)
    outcome = flash.succeeded("done")
    flash.finish(outcome)
    while isinstance(answer := reading.get(), Progress):
        pass
    assert answer == Finished(outcome, STATUS)
    stuck.socket.close()


def test_one_who_hears_nothing_new_hears_the_last_word_again(
    layout: Layout, supervisor: Deciding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controlling, "AGAIN_S", 0.05)
    monkeypatch.setattr(controlling, "LOOK_S", 0.05)
    supervisor.flash = Flash("new", "d")
    supervisor.flash.say(Progress("compile", "planner", 0.5))
    link = Link(layout)
    link.send(Watch())
    assert [link.get() for _ in range(3)] == [Progress("compile", "planner", 0.5)] * 3
    supervisor.flash.finish(supervisor.flash.succeeded("done"))


def test_a_flash_is_cancelled_from_another_link(layout: Layout, supervisor: Deciding) -> None:
    link = Link(layout)
    link.send(Install("d"))
    while supervisor.flash is None:
        time.sleep(0.01)
    answer = Link(layout).ask(Cancel())
    assert isinstance(answer, Finished)
    assert link.get() == answer


def test_too_many_are_told_so(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlling, "MAX_CONNECTIONS", 2)
    links = [Link(layout), Link(layout)]
    for link in links:
        assert link.ask(Ask()) == Told(STATUS)
    answer = Link(layout).get()
    assert isinstance(answer, Refused)
    assert answer.error == "DeviceBusyError"
    links[0].socket.close()
    deadline = time.monotonic() + 10
    while True:
        link = Link(layout)
        link.stream.send(Ask())
        body = link.stream.receive()
        if body is not None and decode_answer(body) == Told(STATUS):
            break
        assert time.monotonic() < deadline


def test_what_is_not_of_the_protocol_ends_that_link_only(layout: Layout) -> None:
    link = Link(layout)
    link.socket.sendall(b"GET / HTTP/1.1\r\n")
    answer = link.get()
    assert isinstance(answer, Refused)
    assert answer.error == "TransportError"
    assert link.stream.receive() is None
    assert Link(layout).ask(Ask()) == Told(STATUS)


def test_a_refusal_is_the_same_error_on_the_other_side(layout: Layout, supervisor: Deciding) -> None:
    said: list[Progress] = []
    supervisor.flash = Flash("new", "d")
    with pytest.raises(DeviceBusyError, match="another one"):
        ask(layout, Install("e"), said.append)
    supervisor.flash.say(Progress("trial", "well"))
    outcome = supervisor.flash.succeeded("done")
    supervisor.flash.finish(outcome)
    assert ask(layout, Watch(), said.append) == replace(outcome)
    assert said == [Progress("trial", "well")]
    assert ask_status(layout) == STATUS


def test_a_supervisor_that_ends_while_it_is_followed_is_said(tmp_path: Path, supervisor: Deciding) -> None:
    control = Control(Layout(tmp_path), supervisor, lambda: STATUS)
    control.start()
    supervisor.flash = Flash("new", "d")
    closing = threading.Timer(0.2, control.close)
    closing.start()
    with pytest.raises(TransportError, match="the supervisor ended"):
        ask(Layout(tmp_path), Watch(), lambda _: None)
    closing.join()
    with pytest.raises(TransportError, match="no supervisor runs"):
        ask(Layout(tmp_path), Watch(), lambda _: None)


def test_a_link_that_says_nothing_holds_nobody_up(layout: Layout) -> None:
    for _ in range(5):
        Link(layout)
    assert Link(layout).ask(Ask()) == Told(STATUS)
