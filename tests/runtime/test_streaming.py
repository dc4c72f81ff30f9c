import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.command_line import main
from st4vla.contracts.errors import ObservationError, PromptError, ServerUnreachableError, UsageError
from st4vla.contracts.messages import ActionChunk, ErrorReply, Message, Plan
from st4vla.runtime import streaming
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.client import Client
from st4vla.runtime.core import Core
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Views
from st4vla.runtime.server import Server
from st4vla.runtime.sources import ImageFolder, Picture
from st4vla.runtime.streaming import Streamer, assign_views

SIZE = 28
PERIOD_NS = 20_000_000
NAMES = ("agentview", "wrist")


class Picky(NullPolicy):
    """Refuses one instruction, and returns NaN for the seed 2."""

    def plan(self, views: Views, instruction: str) -> PlanTensors:
        if instruction == "bad":
            raise PromptError("cannot be planned")
        return super().plan(views, instruction)

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        return Acted(super().act(views, plan, seed, splice).actions * (np.nan if seed == 2 else 1))


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(Core(Picky(image_size=SIZE)), "tcp://127.0.0.1:*")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for index in range(6):
        Image.new("RGB", (64, 48), (40 * index, 0, 0)).save(tmp_path / f"{index}.png")
    return tmp_path


def stream(
    server: Server, images: Path, instruction: str = "lift", **options: object
) -> tuple[Streamer, list[Message]]:
    messages: list[Message] = []
    with Client(server.endpoint) as client:
        source = ImageFolder(images)
        streamer = Streamer(
            client,
            client.hello(),
            dict.fromkeys(NAMES, source),
            instruction,
            period_ns=PERIOD_NS,
            on_message=messages.append,
            **options,  # type: ignore[arg-type]
        )
        streamer.run()
    return streamer, messages


@pytest.mark.parametrize("jpeg_quality", [None, 90])
def test_each_picture_of_a_folder_is_answered(server: Server, images: Path, jpeg_quality: int | None) -> None:
    streamer, messages = stream(server, images, seed=10, jpeg_quality=jpeg_quality)
    report = streamer.report
    chunks = [message for message in messages if isinstance(message, ActionChunk)]
    assert (report.frames_sent, report.frames_refused, report.errors) == (6, 0, 0)
    assert report.chunks == len(chunks) == 6 - report.frames_superseded
    assert report.plans == sum(isinstance(message, Plan) for message in messages) > 0
    assert chunks[-1].seed == 15
    assert min(report.chunk_age_ms) > 0


def test_a_frame_that_costs_its_chunk_does_not_end_the_stream(server: Server, images: Path) -> None:
    streamer, messages = stream(server, images)
    assert streamer.report.errors == 1
    assert streamer.report.chunks == 5 - streamer.report.frames_superseded
    assert any(isinstance(message, ErrorReply) for message in messages)


def test_an_instruction_that_cannot_be_planned_ends_the_stream(server: Server, images: Path) -> None:
    with pytest.raises(ObservationError, match="cannot be planned"):
        stream(server, images, "bad")


def test_a_server_that_falls_silent_is_named(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "ASK_AFTER_S", 0.1)
    monkeypatch.setattr(streaming, "GONE_AFTER_S", 0.4)
    server = Server(Core(NullPolicy(image_size=SIZE)), "tcp://127.0.0.1:*")
    server.start()
    with Client(server.endpoint) as client:
        sources = dict.fromkeys(NAMES, ImageFolder(images, loop=True))
        streamer = Streamer(client, client.hello(), sources, "lift", period_ns=PERIOD_NS)
        streamer.run(seconds=0.2)
        server.stop()
        with pytest.raises(ServerUnreachableError, match=r"has not answered for 0\.4 s; is it still running"):
            streamer.run(seconds=10)


def test_a_server_that_thinks_for_long_is_waited_for(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "ASK_AFTER_S", 0.1)
    monkeypatch.setattr(streaming, "GONE_AFTER_S", 0.4)
    server = Server(Core(NullPolicy(image_size=SIZE, plan_s=1.0)), "tcp://127.0.0.1:*")
    server.start()
    streamer, _ = stream(server, images)
    server.stop()
    assert streamer.report.chunks == 1


class SlowCamera:
    """Takes three times the period for each picture."""

    def __init__(self, count: int) -> None:
        self.left = count

    def read(self) -> Picture | None:
        time.sleep(3 * PERIOD_NS / 1e9)
        self.left -= 1
        return Picture(np.zeros((SIZE, SIZE, 3), np.uint8), monotonic_ns()) if self.left >= 0 else None

    def close(self) -> None:
        pass


def test_a_source_slower_than_the_period_sets_the_pace_and_chunks_come_in_between(server: Server) -> None:
    arrivals: list[int] = []
    with Client(server.endpoint) as client:
        sources = dict.fromkeys(NAMES, SlowCamera(8))
        streamer = Streamer(
            client,
            client.hello(),
            sources,
            "lift",
            period_ns=PERIOD_NS,
            seed=10,
            on_message=lambda message: arrivals.append(streamer.report.frames_sent),
        )
        streamer.run()
    assert streamer.report.frames_sent == 8
    assert len(set(arrivals)) >= 6


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["here"], {"agentview": "here", "wrist": "here"}),
        (["a=b/here"], {"agentview": "a=b/here", "wrist": "a=b/here"}),
        (["wrist=w", "agentview=a=b"], {"agentview": "a=b", "wrist": "w"}),
    ],
)
def test_sources_are_given_to_their_views(given: list[str], expected: dict[str, str]) -> None:
    assert assign_views(given, NAMES) == expected


@pytest.mark.parametrize(
    "given", [["wrist=w"], ["wrist=w", "wrist=v"], ["wrist=w", "left=l"], ["wrist=", "agentview=a"]]
)
def test_sources_that_do_not_fit_the_views_are_refused(given: list[str]) -> None:
    with pytest.raises(UsageError, match="--source agentview=WHERE --source wrist=WHERE"):
        assign_views(given, NAMES)


def test_the_command_prints_a_line_a_chunk_and_ends_with_its_figures(
    server: Server, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["client", "--server", server.endpoint, "--source", str(images), "--hz", "50", "--seed", "10"]
    assert main(arguments) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    assert (figures["ok"], figures["frames_sent"]) == (True, 6)
    assert sum(" ms, plan " in line for line in lines) == figures["chunks"]
    assert main([*arguments, "--json"]) == 0
    chunk = json.loads(capsys.readouterr().out.splitlines()[0])
    assert np.array(chunk["actions"]).shape == (16, 7)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--hz", "0"], "--hz 0: must be positive"),
        (["--seconds", "nan"], "--seconds nan"),
        (["--deadline-ms", "-1"], "--deadline-ms -1"),
        (["--jpeg", "101"], "--jpeg 101: a quality lies from 1 to 100"),
        (["--seed", "-1"], "--seed -1"),
    ],
)
def test_impossible_options_are_refused(options: list[str], match: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["client", "--source", "x", *options]) == 2
    assert match in capsys.readouterr().err
