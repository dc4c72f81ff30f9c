"""`st4vla-bridge stream`, and with it the whole network half of the library, against servers good and bad."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from msgspec.structs import replace

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.messages import (
    ActionChunk,
    ActionRepresentation,
    ErrorCode,
    ErrorReply,
    Health,
    Hello,
    ImageEncoding,
    Observation,
    Welcome,
    WelcomeView,
)
from st4vla.contracts.wire import checksum, encode
from st4vla.runtime.curve import ServerKeys
from st4vla.runtime.key_files import make_pair, write_pair, write_public

Run = Callable[..., Any]
CRC = slice(12, 16)
WELCOME = Welcome(
    bundle_name="pick-cube",
    bundle_digest=bytes(32),
    views=(WelcomeView("agentview", 28, 28), WelcomeView("wrist", 20, 36)),
    horizon=16,
    action_dim=7,
    gripper_index=6,
    representation=ActionRepresentation.EE_DELTA,
    period_ns=50_000_000,
    health=Health.READY,
)


def chunk(observation: Observation, chunk_id: int = 1, **fields: Any) -> ActionChunk:
    now_ns = monotonic_ns()
    answer = ActionChunk(
        chunk_id=chunk_id,
        actions=np.zeros((4, 7), np.float32),
        period_ns=50_000_000,
        representation=ActionRepresentation.EE_DELTA,
        gripper_index=6,
        observation_sequence=observation.sequence,
        observation_sent_ns=observation.sent_ns,
        frame_capture_ns=observation.capture_ns,
        start_ns=observation.capture_ns,
        plan_id=1,
        plan_capture_ns=observation.capture_ns,
        seed=observation.seed,
        received_ns=now_ns,
        inference_ns=0,
        sequence=chunk_id,
        sent_ns=now_ns,
    )
    return replace(answer, **fields)


def frame(message: Any) -> list[bytes]:
    return [bytes(encode(message))]


def test_frames_go_out_and_chunks_come_in(run: Run, serve: Run) -> None:
    server = serve()
    ended = run("stream", "--endpoint", server.endpoint, "--pattern=", "--pattern=", "--rate", "50", "--seconds", "1.5")
    assert ended.status == 0, ended.err
    assert ended.out.startswith("null at tcp://")
    assert "frames" in ended.out
    assert 40 <= ended.count("chunks_received") <= ended.count("frames_sent") <= 100
    assert ended.line["frame_to_chunk_ms"]["p50"] > 0
    # Both clocks are the same one.
    assert abs(ended.line["clock_offset_ms"]) <= ended.line["clock_error_ms"] < 100
    refused = {name: count for name, count in ended.line["counters"].items() if "refused" in name or "messages" in name}
    assert not any(refused.values()), refused
    assert server.core.counts["refused_malformed_message"] == 0


def test_an_observation_is_what_the_options_say(run: Run, pretend: Run) -> None:
    impostor = pretend(WELCOME, lambda observation: [frame(chunk(observation, observation.sequence))])
    ended = run(
        *("stream", "--endpoint", impostor.endpoint, "--pattern=", "--pattern=", "--rate", "100", "--seconds", "0.6"),
        *("--instruction", "öffne die Schublade", "--seed", "7", "--deadline-ms", "150"),
    )
    assert ended.status == 0, ended.err
    assert isinstance(impostor.seen[0], Hello)
    first, *later = impostor.observations
    assert [(view.name, view.height, view.width) for view in first.views] == [("agentview", 28, 28), ("wrist", 20, 36)]
    assert (first.instruction, first.seed, first.deadline_ns) == ("öffne die Schublade", 7, 150_000_000)
    assert (first.held_chunk_id, first.held_received_ns) == (0, 0)
    assert all(view.encoding is ImageEncoding.RGB8 for view in first.views)
    # Each picture differs from the one before, and sequences rise.
    assert not np.array_equal(first.views[0].data, later[-1].views[0].data)
    assert [message.sequence for message in later] == sorted({message.sequence for message in later})
    # What is held is reported back: a chunk that this server gave, and when it arrived.
    assert later[-1].held_chunk_id in {message.sequence for message in impostor.observations}
    assert later[-1].capture_ns - 10**9 < later[-1].held_received_ns <= later[-1].sent_ns
    assert impostor.await_goodbye()


def test_jpeg_files_are_passed_through_and_raw_pictures_become_jpeg_when_asked(
    run: Run, pretend: Run, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8)
    (tmp_path / "0.jpg").write_bytes(picture := simplejpeg.encode_jpeg(pixels, quality=80))
    impostor = pretend(WELCOME, lambda observation: [frame(chunk(observation))])
    ended = run(
        *("stream", "--endpoint", impostor.endpoint, "--folder", str(tmp_path), "--pattern", "wrist"),
        *("--jpeg", "90", "--rate", "50", "--seconds", "0.4"),
    )
    assert ended.status == 0, ended.err
    passed, encoded = impostor.observations[0].views
    assert (passed.name, passed.height, passed.width, passed.encoding) == ("agentview", 24, 40, ImageEncoding.JPEG)
    assert passed.data.tobytes() == picture
    assert (encoded.name, encoded.encoding) == ("wrist", ImageEncoding.JPEG)
    assert simplejpeg.decode_jpeg(encoded.data.tobytes()).shape == (20, 36, 3)


def test_a_server_that_is_started_again_is_found_again(start: Run, serve: Run) -> None:
    server = serve()
    running = start("stream", "--endpoint", server.endpoint, "--pattern=", "--pattern=", "--rate", "50")
    time.sleep(1.0)
    server.stop()
    time.sleep(0.3)
    again = serve(server.endpoint)
    time.sleep(1.5)
    ended = running.end()
    assert ended.status == 0, ended.err
    assert ended.count("connections") >= 2
    assert ended.count("disconnections") >= 1
    assert ended.count("welcomes_received") == 2
    assert ended.count("server_restarts") == 1
    assert again.core.counts["chunks"] >= 20


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with the server's keys, a client's that is let in, and a stranger's."""
    write_pair(tmp_path / "server", "server", make_pair())
    for name in ("robot", "stranger"):
        pair = make_pair()
        write_pair(tmp_path, name, pair)
        if name == "robot":
            write_public(tmp_path / "server" / "clients" / "robot.key", name, pair.public)
    return tmp_path


def key_options(secret: Path, server: Path) -> tuple[str, ...]:
    return ("--key", str(secret), "--server-key", str(server))


def test_a_client_with_the_right_keys_is_served(run: Run, serve: Run, keys: Path) -> None:
    server = serve(keys=ServerKeys.load(keys / "server"))
    options = key_options(keys / "robot.key_secret", keys / "server" / "server.key")
    ended = run(
        *("stream", "--endpoint", server.endpoint, "--pattern=", "--pattern=", "--seconds", "0.7"),
        *options,
    )
    assert ended.status == 0, ended.err
    assert ended.count("chunks_received") > 5


@pytest.mark.parametrize(("own", "server_key"), [("stranger", "server/server.key"), ("robot", "stranger.key")])
def test_a_client_with_wrong_keys_gets_nothing_and_is_told_what_to_do(
    run: Run, serve: Run, keys: Path, own: str, server_key: str
) -> None:
    server = serve(keys=ServerKeys.load(keys / "server"))
    options = key_options(keys / f"{own}.key_secret", keys / server_key)
    ended = run("stream", "--endpoint", server.endpoint, "--pattern=", "--wait", "0.6", *options)
    assert ended.status == 1
    assert "does not talk to this key" in ended.err
    assert "st4vla keys allow" in ended.err


def test_a_client_without_keys_is_told_that_keys_are_wanted(run: Run, serve: Run, keys: Path) -> None:
    server = serve(keys=ServerKeys.load(keys / "server"))
    ended = run("stream", "--endpoint", server.endpoint, "--pattern=", "--wait", "0.6")
    assert ended.status == 1
    assert "hangs up, as a runtime that wants keys does" in ended.err


def test_key_files_are_refused_as_the_runtime_refuses_them(run: Run, keys: Path) -> None:
    secret, server = keys / "robot.key_secret", keys / "server" / "server.key"

    def refusal(own: Path, other: Path) -> str:
        ended = run("stream", "--endpoint", "tcp://127.0.0.1:9", "--pattern=", *key_options(own, other))
        assert ended.status == 1
        own_key = secret.read_text().split('secret-key = "')[1][:40]
        assert own_key not in ended.err
        return str(ended.err)

    assert "No such file" in refusal(keys / "none.key_secret", server)
    (keys / "robot.key").chmod(0o600)
    assert "holds a public key only" in refusal(keys / "robot.key", server)
    assert "holds a secret key" in refusal(secret, keys / "server" / "server.key_secret")
    assert "not a file" in refusal(keys, server)
    os.mkfifo(keys / "pipe", 0o600)
    assert "not a file" in refusal(keys / "pipe", server)
    text = secret.read_text()
    bad = keys / "bad.key_secret"
    for broken, why in (
        (text.replace("secret-key", "sekret-key"), "holds a public key only"),
        (text.replace('public-key = "', 'public-key = "~'), "40 characters of Z85"),
        (text + '    secret-key = "x"\n', "says twice secret-key"),
        (text.replace("curve\n", "curves\n"), "holds a public key only"),
        (text.replace(text.split('public-key = "')[1][:40], make_pair().public), "not that of its secret key"),
    ):
        bad.write_text(broken)
        bad.chmod(0o600)
        assert why in refusal(bad, server), why
    bad.write_bytes(b"\xff\xfe")
    assert "not text" in refusal(bad, server)
    secret.chmod(0o640)
    assert "mode 640" in refusal(secret, server)


def test_nobody_listening_and_a_deaf_server_are_told_apart(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        ended = run("stream", "--endpoint", f"tcp://127.0.0.1:{port}", "--pattern=", "--wait", "0.4")
    assert ended.status == 1
    assert "says nothing" in ended.err
    ended = run("stream", "--endpoint", f"tcp://127.0.0.1:{port}", "--pattern=", "--wait", "0.4")
    assert ended.status == 1
    assert "nothing listens there" in ended.err


def test_a_server_that_never_answers_holds_nothing_up(run: Run, pretend: Run) -> None:
    impostor = pretend(WELCOME)
    ended = run(
        "stream", "--endpoint", impostor.endpoint, "--pattern=", "--pattern=", "--rate", "100", "--seconds", "0.6"
    )
    assert ended.status == 1
    assert ended.line["ok"] is False
    assert ended.count("frames_sent") >= 30
    assert 0.5 < ended.line["seconds"] < 1.5


def test_bytes_that_are_no_answer_are_counted_by_what_is_wrong_with_them(run: Run, pretend: Run) -> None:
    rounds = 4
    answered: list[int] = []

    def answer(observation: Observation) -> list[list[bytes]]:
        answered.append(observation.sequence)
        if len(answered) > rounds:
            return []
        good = bytes(encode(chunk(observation, observation.sequence)))
        other_version = bytearray(good)
        other_version[4] += 1
        other_version[CRC] = checksum(other_version).to_bytes(4, "little")
        not_finite = bytearray(good)
        not_finite[-4:] = b"\0\0\xc0\x7f"
        not_finite[CRC] = checksum(not_finite).to_bytes(4, "little")
        huge = chunk(observation, observation.sequence, actions=np.zeros((600, 7), np.float32))
        return [
            [b"GET / HTTP/1.1\r\n\r\n"],
            [b""],
            [bytes(other_version)],
            [good[:-1]],
            [good[:-1] + b"\1"],
            [bytes(not_finite)],
            [good, good],
            frame(Hello(1, 1)),
            frame(huge),
            frame(chunk(observation, 1, observation_sequence=10**9)),
            frame(chunk(observation, 1, frame_capture_ns=monotonic_ns() + 10**9)),
            frame(chunk(observation, 1, received_ns=5, sent_ns=4)),
            [good],
            [good],
            frame(chunk(observation, 1, observation_sequence=1)),
        ]

    impostor = pretend(WELCOME, answer)
    ended = run("stream", "--endpoint", impostor.endpoint, "--pattern=", "--rate", "10", "--seconds", "1.2")
    assert ended.status == 0, ended.err
    expected = {
        "messages_foreign": 2,
        "messages_other_wire": 1,
        "messages_truncated": 2,
        "messages_bad_checksum": 1,
        "messages_malformed": 1,
        "messages_unexpected": 1,
        "chunks_refused_large": 1,
        "chunks_refused_impossible": 2,
        "chunks_refused_old": 2,
        "clock_samples_refused": 1,
        "chunks_received": 2,
    }
    assert {name: ended.count(name) for name in expected} == {name: n * rounds for name, n in expected.items()}


def test_chunks_of_frames_that_are_too_old_are_dropped(run: Run, pretend: Run) -> None:
    kept: list[Observation] = []

    def answer(observation: Observation) -> list[list[bytes]]:
        kept.append(observation)
        return [frame(chunk(kept[-10], len(kept)))] if len(kept) >= 10 else []

    impostor = pretend(WELCOME, answer)
    options = ("--pattern=", "--rate", "50", "--seconds", "0.8", "--max-frame-age-ms", "100")
    ended = run("stream", "--endpoint", impostor.endpoint, *options)
    assert ended.status == 1
    assert ended.count("chunks_received") == 0
    assert ended.count("chunks_refused_late") >= 10


def test_what_the_runtime_complains_of_is_shown_without_what_a_terminal_obeys(run: Run, pretend: Run) -> None:
    complaint = ErrorReply(ErrorCode.OBSERVATION, "view 'wrist' is missing\x1b[2J\u009b1m" + "é" * 400)
    impostor = pretend(WELCOME, lambda _: [frame(complaint)])
    ended = run("stream", "--endpoint", impostor.endpoint, "--pattern=", "--rate", "20", "--seconds", "1.3")
    assert ended.status == 1
    assert "view 'wrist' is missing?[2J" in ended.err
    assert "\x1b" not in ended.err
    assert "\u009b" not in ended.err
    assert ended.count("errors_received") >= 10


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "a command is wanted"),
        (("dance",), "no command 'dance'"),
        (("stream",), "--endpoint is wanted"),
        (("stream", "--endpoint", "tcp://127.0.0.1:1"), "1 to 8 cameras"),
        (("stream", "tcp://127.0.0.1:1"), "is no option"),
        (("stream", "--endpoint"), "--endpoint needs a value"),
        (("stream", "--rate", "fast"), "takes a number"),
        (("stream", "--rate", "0"), "takes a number"),
        (("stream", "--rate", "nan"), "takes a number"),
        (("stream", "--seed", "1.5"), "takes a whole number"),
        (("stream", "--size", "480"), "HEIGHTxWIDTH"),
        (("stream", "--size", "0x640"), "HEIGHTxWIDTH"),
        (("stream", "--jpeg", "101"), "from 1 to 100"),
        (("stream", "--speed", "1"), "no option --speed"),
        (("stream", "--endpoint", "tcp://127.0.0.1:1", "--pattern=", "--key", "x"), "go together"),
        (("check", "--unloaded=yes"), "takes no value"),
        (("check", "--rate", "1"), "no option --rate"),
    ],
)
def test_wrong_arguments_are_named(run: Run, arguments: tuple[str, ...], why: str) -> None:
    ended = run(*arguments)
    assert ended.status == 2
    assert why in ended.err
    assert ended.out == ""


@pytest.mark.parametrize("command", [(), ("stream",), ("check",)])
def test_help_is_no_error(run: Run, command: tuple[str, ...]) -> None:
    ended = run(*command, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("usage: st4vla-bridge")


def test_an_address_that_is_none_is_refused(run: Run) -> None:
    ended = run("stream", "--endpoint", "127.0.0.1:5555", "--pattern=")
    assert ended.status == 1
    assert "tcp://127.0.0.1:5555" in ended.err


def test_a_camera_that_is_not_there_is_named(run: Run, pretend: Run, tmp_path: Path) -> None:
    impostor = pretend(WELCOME)
    ended = run("stream", "--endpoint", impostor.endpoint, "--v4l2", str(tmp_path / "video0"))
    assert ended.status == 1
    assert f"{tmp_path}/video0: No such file" in ended.err
    ended = run("stream", "--endpoint", impostor.endpoint, *["--pattern="] * 3)
    assert ended.status == 1
    assert "the bundle has 2 views" in ended.err
