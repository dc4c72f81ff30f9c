"""`st4vla client`: stream images, a video or a camera to a server and print the actions."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from st4vla.contracts.clock import NS_PER_MS, NS_PER_S
from st4vla.contracts.command_line import Command, require_positive, require_seed
from st4vla.contracts.errors import UsageError
from st4vla.contracts.messages import ActionChunk, ErrorReply, Message, Plan
from st4vla.runtime.client import Client
from st4vla.runtime.curve import ClientKeys
from st4vla.runtime.memory import keep_freed_memory
from st4vla.runtime.sources import Source, open_source
from st4vla.runtime.streaming import Streamer, assign_views
from st4vla.runtime.telemetry import percentiles


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source",
        action="append",
        required=True,
        metavar="[VIEW=]WHERE",
        help="a folder of images, an image, a video file or a camera like /dev/video0; once for all views, or once for "
        "each as VIEW=WHERE",
    )
    parser.add_argument("--server", default="tcp://127.0.0.1:5555", help="address of the server (default: %(default)s)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="this client's secret key, for a server with keys")
    parser.add_argument("--server-key", type=Path, metavar="FILE", help="the server's public key, to go with --key")
    parser.add_argument("--instruction", default="pick up the red cube", help="what to do (default: %(default)s)")
    parser.add_argument("--hz", type=float, help="frames a second (default: the rate of the policy's actions)")
    parser.add_argument("--seconds", type=float, help="stop after this long (default: when the pictures end)")
    parser.add_argument("--loop", action="store_true", help="begin images and videos again when they end")
    parser.add_argument("--jpeg", type=int, metavar="QUALITY", help="send JPEG of this quality, 1 to 100, not raw RGB")
    parser.add_argument("--deadline-ms", type=float, help="a later chunk is refused (default: none is)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first chunk's noise (default: 0)")
    parser.add_argument("--json", action="store_true", help="print each chunk as a JSON line with all its actions")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    _check(options)
    keys = None if options.key is None else ClientKeys.load(options.key, options.server_key)
    keep_freed_memory()
    stop = threading.Event()
    with Client(options.server, keys) as client, ExitStack() as opened:
        welcome = client.hello()
        places = assign_views(options.source, [view.name for view in welcome.views])
        period_ns = welcome.period_ns if options.hz is None else round(NS_PER_S / options.hz)
        by_place: dict[str, Source] = {}
        for place in dict.fromkeys(places.values()):
            by_place[place] = open_source(place, period_ns, loop=options.loop)
            opened.callback(by_place[place].close)
        sources = {view: by_place[place] for view, place in places.items()}
        if not options.json:
            size = ", ".join(f"{view.name} {view.width} x {view.height}" for view in welcome.views)
            print(f"{welcome.bundle_name}: {size}; chunks of {welcome.horizon} x {welcome.action_dim} actions")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        streamer = Streamer(
            client,
            welcome,
            sources,
            options.instruction,
            period_ns=period_ns,
            seed=options.seed,
            deadline_ns=round((options.deadline_ms or 0.0) * NS_PER_MS),
            jpeg_quality=options.jpeg,
            on_message=_print_json if options.json else _print_line,
        )
        report = streamer.run(options.seconds, stop.is_set)
    return {
        "frames_sent": report.frames_sent,
        "frames_dropped": report.frames_refused + report.frames_superseded,
        "plans": report.plans,
        "chunks": report.chunks,
        "errors": report.errors,
        "chunk_age_ms": percentiles(report.chunk_age_ms, (50, 95, 99, 100)),
        "ok": report.chunks > 0 and report.errors == 0,
    }


def _check(options: argparse.Namespace) -> None:
    require_positive(options, "hz", "seconds", "deadline_ms")
    if options.jpeg is not None and not 1 <= options.jpeg <= 100:
        msg = f"--jpeg {options.jpeg}: a quality lies from 1 to 100"
        raise UsageError(msg)
    require_seed(options)
    if (options.key is None) != (options.server_key is None):
        msg = "--key and --server-key go together: this client's secret key file, and the server's public one"
        raise UsageError(msg)


def _print_line(message: Message) -> None:
    if isinstance(message, ActionChunk):
        action = np.array2string(message.actions[0], precision=4, suppress_small=True, max_line_width=200)
        ages = f"plan {message.plan_id} of {message.plan_lead_ns / NS_PER_MS:.0f} ms before"
        print(f"frame {message.observation_sequence}: {action}  in {message.inference_ns / NS_PER_MS:.1f} ms, {ages}")
    elif isinstance(message, Plan):
        took = f"{message.inference_ns / NS_PER_MS:.1f} ms, {message.token_count} tokens, {message.reason.name.lower()}"
        print(f"frame {message.observation_sequence}: plan {message.plan_id} in {took}")
    elif isinstance(message, ErrorReply):
        print(f"frame {message.observation_sequence}: no chunk: {message.message}")


def _print_json(message: Message) -> None:
    if isinstance(message, ActionChunk):
        line = {
            "observation_sequence": message.observation_sequence,
            "frame_capture_ns": message.frame_capture_ns,
            "plan_id": message.plan_id,
            "plan_capture_ns": message.plan_capture_ns,
            "inference_ns": message.inference_ns,
            "seed": message.seed,
            "actions": message.actions.tolist(),
        }
        print(msgspec.json.encode(line).decode())


COMMAND = Command("Stream images, a video or a camera to a server and print the actions.", _configure, _run)
