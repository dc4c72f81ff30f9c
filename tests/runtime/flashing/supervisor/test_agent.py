import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from st4vla.contracts.device_status import DeviceStatus, Machine
from st4vla.contracts.flash_messages import (
    DATA_BYTES,
    PROTOCOL,
    Answer,
    Ask,
    Cancel,
    Data,
    Finished,
    Hello,
    Install,
    Offer,
    Progress,
    Refused,
    Request,
    Stored,
    Told,
    Trust,
    Wanted,
    Watch,
    Welcome,
    decode_answer,
)
from st4vla.contracts.manifests import BUNDLE_MANIFEST, Bundle
from st4vla.runtime.flashing.agent import Agent
from st4vla.runtime.flashing.control import Control
from st4vla.runtime.flashing.flash import Flash
from st4vla.runtime.flashing.message_stream import MessageStream

STATUS = DeviceStatus("0", Machine("x86_64", "m", "", "", "", 1, 1), {"a": None, "b": None})


class Host:
    """The other end of an agent, over two pipes."""

    def __init__(self, layout: Any) -> None:
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        self.stream = MessageStream(self._read, self._write)
        self._thread = threading.Thread(
            target=self._serve, args=(Agent(layout, MessageStream(read, write)), read, write)
        )
        self._thread.start()

    def _serve(self, agent: Agent, *ends: int) -> None:
        agent.run()
        for end in ends:
            os.close(end)

    def send(self, request: Request) -> None:
        assert self.stream.send(request)

    def get(self) -> Answer:
        body = self.stream.receive()
        assert body is not None
        return decode_answer(body)

    def ask(self, request: Request) -> Answer:
        self.send(request)
        return self.get()

    def hang_up(self) -> None:
        os.close(self._write)
        self._thread.join(10)
        assert not self._thread.is_alive()
        os.close(self._read)


@pytest.fixture
def host(device: Any) -> Iterator[Host]:
    made = Host(device.layout)
    yield made
    made.hang_up()


def offer(device: Any, bundle: Bundle, counter: int = 1) -> Offer:
    return Offer(bundle.path(BUNDLE_MANIFEST).read_bytes(), device.release(bundle, counter))


def bring(host: Host, bundle: Bundle, wanted: Wanted) -> list[Answer]:
    """Send what is wanted, and return the answers."""
    files = {entry.sha256: bundle.path(name).read_bytes() for name, entry in bundle.manifest.files.items()}
    for one in wanted.objects:
        data = files[one.sha256]
        for begin in range(one.offset, max(len(data), 1), DATA_BYTES):
            host.send(Data(one.sha256, begin, data[begin : begin + DATA_BYTES]))
    return [host.get() for _ in wanted.objects]


def test_without_a_supervisor_objects_are_taken_and_the_device_says_how_it_is(
    device: Any, host: Host, bundle: Bundle
) -> None:
    welcome = host.ask(Hello(PROTOCOL, "0"))
    assert isinstance(welcome, Welcome)
    assert welcome.status.server is None
    wanted = host.ask(offer(device, bundle))
    assert isinstance(wanted, Wanted)
    assert {one.sha256 for one in wanted.objects} == {entry.sha256 for entry in bundle.manifest.files.values()}
    assert bring(host, bundle, wanted) == [Stored(one.sha256) for one in wanted.objects]
    again = host.ask(offer(device, bundle))
    assert again == Wanted(bundle.digest, ())
    refused = host.ask(Install(bundle.digest))
    assert isinstance(refused, Refused)
    assert "st4vla device run" in refused.message
    told = host.ask(Ask())
    assert isinstance(told, Told)


def test_bytes_that_are_not_what_they_should_be_are_wanted_again(device: Any, host: Host, bundle: Bundle) -> None:
    wanted = host.ask(offer(device, bundle))
    assert isinstance(wanted, Wanted)
    one = wanted.objects[0]
    assert host.ask(Data(one.sha256, 0, bytes(one.size))) == Stored(one.sha256, ok=False)
    assert len(bring(host, bundle, wanted)) == len(wanted.objects)


def test_an_object_of_no_offer_is_refused_once(host: Host) -> None:
    first = host.ask(Data("0" * 64, 0, b"x"))
    assert isinstance(first, Refused)
    assert "offer it first" in first.message
    # What is on its way of it is let pass.
    host.send(Data("0" * 64, 1, b"x"))
    assert isinstance(host.ask(Ask()), Told)


def test_an_offer_that_nobody_has_signed_is_refused_and_the_link_goes_on(
    device: Any, host: Host, bundle: Bundle
) -> None:
    refused = host.ask(Offer(bundle.path(BUNDLE_MANIFEST).read_bytes(), b"{}"))
    assert isinstance(refused, Refused)
    assert refused.error == "SignatureError"
    assert isinstance(host.ask(offer(device, bundle)), Wanted)


def test_a_newer_list_of_keys_is_taken_and_a_first_one_is_not(device: Any, host: Host) -> None:
    told = host.ask(Trust(device.signed_list(device.trust)))
    assert isinstance(told, Told)
    assert told.status.trust_version == 1
    device.layout.trust.unlink()
    refused = host.ask(Trust(device.signed_list(device.trust)))
    assert isinstance(refused, Refused)
    assert "by hand" in refused.message


class Deciding:
    """A supervisor with one flash."""

    def __init__(self) -> None:
        self.flash = Flash("new", "d")
        self.cancelled = threading.Event()

    def install(self, digest: str) -> Flash:
        assert digest == "d"
        return self.flash

    def watch(self) -> Flash:
        return self.flash

    def cancel(self) -> Flash:
        self.cancelled.set()
        return self.flash


@pytest.fixture
def deciding(device: Any) -> Iterator[Deciding]:
    made = Deciding()
    control = Control(device.layout, made, lambda: STATUS)  # type: ignore[arg-type]
    control.start()
    yield made
    control.close()


def test_what_concerns_flashes_goes_to_the_supervisor_and_comes_back(deciding: Deciding, host: Host) -> None:
    assert host.ask(Hello(PROTOCOL, "0")) == Welcome(PROTOCOL, STATUS)
    host.send(Install("d"))
    deciding.flash.say(Progress("compile", "planner"))
    assert host.get() == Progress("compile", "planner")
    host.send(Cancel())
    assert deciding.cancelled.wait(10)
    outcome = deciding.flash.succeeded("done")
    deciding.flash.finish(outcome)
    assert host.get() == Finished(outcome, STATUS)
    # One answer, though both the flash and its cancellation have that outcome.
    assert host.ask(Ask()) == Told(STATUS)
    assert host.ask(Watch()) == Progress("compile", "planner")
    assert host.get() == Finished(outcome, STATUS)


def test_a_cut_link_ends_the_agent_and_not_the_flash(deciding: Deciding, device: Any) -> None:
    host = Host(device.layout)
    host.send(Install("d"))
    deciding.flash.say(Progress("compile"))
    assert host.get() == Progress("compile")
    host.hang_up()
    assert deciding.flash.outcome is None
    assert not deciding.flash.is_cancelled


def test_a_supervisor_that_ends_is_said(device: Any, host: Host) -> None:
    made = Deciding()
    control = Control(device.layout, made, lambda: STATUS)  # type: ignore[arg-type]
    control.start()
    host.send(Install("d"))
    made.flash.say(Progress("compile"))
    assert host.get() == Progress("compile")
    control.close()
    refused = host.get()
    assert isinstance(refused, Refused)
    assert "the supervisor ended" in refused.message


def test_the_agent_says_nothing_but_messages_and_ends_quietly(device: Any, bundle: Bundle) -> None:
    command = [sys.executable, "-c", "from st4vla.contracts.command_line import main; raise SystemExit(main())"]
    command += ["device", "agent", "--root", str(device.layout.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        assert agent.stderr is not None
        stream = MessageStream(agent.stdout.fileno(), agent.stdin.fileno())
        stream.send(offer(device, bundle))
        body = stream.receive()
        assert body is not None
        wanted = decode_answer(body)
        assert isinstance(wanted, Wanted)
        stream.send(Data(wanted.objects[0].sha256, 0, b"x"))
        agent.stdin.close()
        assert agent.stdout.read() == b""
        assert agent.wait(20) == 0
        assert agent.stderr.read() == b""
    # What had come stays.
    assert [path.stat().st_size for path in device.layout.incoming.glob("*.part")] == [1]


def test_an_agent_starts_without_what_it_does_not_need() -> None:
    program = (
        "import sys, st4vla.runtime.commands.device_verbs.agent\n"
        "print([m for m in ('numpy', 'zmq', 'tokenizers', 'onnxruntime', 'cryptography') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"
