"""`st4vla drive`: move a Franka arm by a server's chunks, at 1 kHz."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from st4vla.contracts.clock import NS_PER_MS
from st4vla.contracts.command_line import Command, require_positive, require_seed
from st4vla.contracts.errors import MissingExtraError, ObservationError, TransportError, UsageError
from st4vla.contracts.messages import ActionRepresentation, Welcome
from st4vla.runtime.bridge.control import ControlLoop, Ended
from st4vla.runtime.bridge.franka import Franka, FrankaConfig
from st4vla.runtime.bridge.link import SOURCES, Camera, Link
from st4vla.runtime.bridge.native_franka import NativeFranka
from st4vla.runtime.bridge.player import NativePlayer, PlayerConfig, Robot
from st4vla.runtime.bridge.trace import COLUMNS, figures, latencies_ns
from st4vla.runtime.client import Client
from st4vla.runtime.curve import ClientKeys
from st4vla.runtime.local.door import SCHEME
from st4vla.runtime.real_time import become_real_time, come_before_others, kept_scheduling, require_core

ROBOTS = {"fr3": Robot.FRANKA_RESEARCH_3, "panda": Robot.FRANKA_PANDA}
#: A trace, and what is figured out of it, has room for so long when no time is given: 100 MB, which stay in memory.
TRACE_S = 600.0
#: Room for the way to rest, and for what comes before the time counts.
TRACE_MORE_MS = 5000


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--franka", required=True, metavar="ADDRESS", help="the arm's address, without a port")
    parser.add_argument("--robot", choices=ROBOTS, default="fr3", help="whose limits hold (default: %(default)s)")
    parser.add_argument(
        "--camera",
        action="append",
        required=True,
        metavar="VIEW=SOURCE[:WHERE]",
        help="where a view's pictures come from: v4l2:/dev/video0, folder:DIR, memory:FILE or pattern; the first paces "
        "the frames",
    )
    parser.add_argument("--hz", type=float, default=20.0, help="pictures a second (default: %(default)s)")
    parser.add_argument("--server", default="tcp://127.0.0.1:5555", help="address of the server (default: %(default)s)")
    parser.add_argument(
        "--local",
        type=Path,
        metavar="PATH",
        help="the same server's `serve --local`: frames go through memory that both share, on one machine",
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="this client's secret key, for a server with keys")
    parser.add_argument("--server-key", type=Path, metavar="FILE", help="the server's public key, to go with --key")
    parser.add_argument("--instruction", default="pick up the red cube", help="what to do (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first chunk's noise (default: 0)")
    parser.add_argument("--seconds", type=float, help="slow down and end after this long (default: at Ctrl-C)")
    parser.add_argument(
        "--dynamics",
        type=float,
        default=0.1,
        help="share of what the maker allows the hand in velocity, acceleration and jerk; its joints allow less than "
        "all of it in most poses (default: %(default)s)",
    )
    parser.add_argument(
        "--workspace",
        type=float,
        nargs=6,
        metavar=("X0", "Y0", "Z0", "X1", "Y1", "Z1"),
        help="corners of the box that the hand stays in, metres in the base frame (default: the arm's reach)",
    )
    parser.add_argument(
        "--turn",
        type=float,
        metavar="RADIANS",
        help="how far the hand may be told to turn away from how it is held at first (default: as far as it is told)",
    )
    parser.add_argument("--hold-ms", type=float, help="age of a frame from which the arm holds (default: the server's)")
    parser.add_argument("--stop-ms", type=float, help="age from which it stops for good (default: the server's)")
    parser.add_argument("--no-gripper", action="store_true", help="there is no Franka Hand")
    parser.add_argument(
        "--through",
        choices=("auto", "libfranka", "pylibfranka"),
        default="auto",
        help="how the arm is reached: this project's library around libfranka, pylibfranka, or the first where it is "
        "built (default: %(default)s)",
    )
    parser.add_argument("--cpu", type=int, help="keep the control loop on this core (default: on any)")
    parser.add_argument("--no-real-time", action="store_true", help="run without real-time priority: simulations only")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write each millisecond to this .npz file")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    _check(options)
    keys = None if options.key is None else ClientKeys.load(options.key, options.server_key)
    with Client(options.server, keys) as client:
        welcome = client.hello()
    cameras = [_camera(text, options.hz, welcome) for text in options.camera]
    _check_views(cameras, welcome)
    player = NativePlayer(_player_config(options, welcome))
    joints = welcome.representation is not ActionRepresentation.EE_DELTA
    config = FrankaConfig(joints=joints, real_time=not options.no_real_time, gripper=not options.no_gripper)
    # Who may use the server's socket on this machine is said by its file; keys are for the network.
    files = None if options.key is None or options.local else (options.key, options.server_key)
    endpoint = f"{SCHEME}{options.local.absolute()}" if options.local else options.server
    with closing(_franka(options, config)) as arm, kept_scheduling():
        control = ControlLoop(player, arm)
        control.trace(round((options.seconds or TRACE_S) * 1000) + TRACE_MORE_MS)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, lambda *_: control.end())
        signal.signal(signal.SIGUSR1, lambda *_: _resume(player))
        come_before_others()
        with Link(
            endpoint, cameras, player, options.instruction, control=control, seed=options.seed, keys=files
        ) as link:
            if options.seconds is not None:
                signal.setitimer(signal.ITIMER_REAL, options.seconds)
            print(f"the arm at {options.franka} follows {welcome.bundle_name}", flush=True)
            print("Ctrl-C brings it to rest; after a stop, SIGUSR1 lets it move again", flush=True)
            # In a thread of its own: this one hears signals, which it could not from within a library.
            with ThreadPoolExecutor(1) as loop:
                ended = loop.submit(_control, control, options.cpu).result()
            counts, frames = link.counts(), link.report()
    if options.trace is not None:
        np.savez_compressed(options.trace, rows=control.rows, columns=COLUMNS, latencies_ns=latencies_ns(control.rows))
    if ended is not Ended.AT_REST:
        print(f"the run ended: {control.text or ended.name.lower()}")
    report, played = control.report(), player.report()
    return {
        "through": "libfranka" if isinstance(arm, NativeFranka) else "pylibfranka",
        "ended": ended.name.lower(),
        "why": control.text,
        "cycles": report.cycles,
        "missed": report.missed,
        "corrections": played.corrections,
        "slow_cycles": report.slow_cycles,
        "longest_cycle_us": report.longest_cycle_ns // 1000,
        "gripper_events": report.gripper_events,
        "gripper_failures": report.gripper_failures,
        "stops": played.stops,
        "rest_bound_ms": player.rest_bound_ns / NS_PER_MS,
        "frames_sent": frames.sent,
        "chunks_received": counts["chunks_received"],
        "errors": counts["errors_received"],
        "reconnections": max(counts["connections"] - 1, 0),
        **figures(control.rows),
        "ok": ended is Ended.AT_REST,
    }


def _franka(options: argparse.Namespace, config: FrankaConfig) -> NativeFranka | Franka:
    """Connect, by the library where it is built unless another way is wanted."""
    if options.through != "pylibfranka":
        try:
            return NativeFranka(options.franka, config)
        except MissingExtraError:
            if options.through == "libfranka":
                raise
    return Franka(options.franka, config)


def _control(control: ControlLoop, cpu: int | None) -> Ended:
    """Run the loop in the calling thread, which is given all that it can have."""
    for line in become_real_time(cpu):
        print(line, flush=True)
    return control.run()


def _resume(player: NativePlayer) -> None:
    """Move again after a stop: the operator's signal."""
    try:
        player.resume()
        print("moves again", flush=True)
    except TransportError as error:
        print(error, flush=True)


def _check(options: argparse.Namespace) -> None:
    require_positive(options, "hz", "seconds", "hold_ms", "stop_ms", "dynamics", "turn")
    if options.dynamics > 1:
        msg = f"--dynamics {options.dynamics:g}: a share lies above 0 and up to 1"
        raise UsageError(msg)
    require_seed(options)
    require_core(options.cpu)
    if (options.key is None) != (options.server_key is None):
        msg = "--key and --server-key go together: this client's secret key file, and the server's public one"
        raise UsageError(msg)
    box = options.workspace
    if box is not None and not all(low < high for low, high in zip(box[:3], box[3:], strict=True)):
        msg = f"--workspace {box}: the first corner must lie below the second in x, y and z"
        raise UsageError(msg)


def _camera(text: str, rate_hz: float, welcome: Welcome) -> Camera:
    """Return the camera that VIEW=SOURCE[:WHERE] names."""
    view, _, source = text.partition("=")
    kind, _, where = source.partition(":")
    if not view or kind not in SOURCES or (kind != "pattern" and not where):
        msg = f"--camera {text}: expected VIEW=SOURCE:WHERE, where SOURCE is one of {', '.join(SOURCES)}"
        raise UsageError(msg)
    size = next(((each.height, each.width) for each in welcome.views if each.name == view), (0, 0))
    return Camera(view, kind, where, *size, rate_hz=rate_hz)


def _check_views(cameras: Sequence[Camera], welcome: Welcome) -> None:
    wanted, given = sorted(view.name for view in welcome.views), sorted(camera.name for camera in cameras)
    if wanted != given:
        msg = f"{welcome.bundle_name} takes the views {wanted}; --camera gives {given}"
        raise ObservationError(msg)


def _player_config(options: argparse.Namespace, welcome: Welcome) -> PlayerConfig:
    config = PlayerConfig.default(ROBOTS[options.robot])
    config.scale(options.dynamics)
    config.set_actions(welcome.representation, welcome.action_dim, welcome.gripper_index)
    config.set_staleness(welcome.staleness)
    if options.workspace is not None:
        config.workspace_low_m[:], config.workspace_high_m[:] = options.workspace[:3], options.workspace[3:]
    if options.turn is not None:
        config.turn_rad = options.turn
    if options.hold_ms is not None:
        config.frame.hold_ns = round(options.hold_ms * NS_PER_MS)
    if options.stop_ms is not None:
        config.frame.stop_ns = round(options.stop_ms * NS_PER_MS)
    return config


COMMAND = Command("Move a Franka arm by a server's chunks, at 1 kHz.", _configure, _run)
