"""One episode: the tabletop's cameras stream to a server, and the arm follows the chunks that come back.

The control loop keeps real time and never waits for the server: at each tick it takes the newest chunk that has
arrived, executes the action that is meant for that instant, and holds still when there is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.world import Tabletop
from st4vla.contracts.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from st4vla.contracts.errors import ObservationError
from st4vla.contracts.messages import (
    ActionChunk,
    ActionRepresentation,
    ErrorReply,
    Observation,
    Plan,
    RobotState,
    View,
    Welcome,
)
from st4vla.runtime.client import Client
from st4vla.runtime.player import Player

HOLD = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Tick:
    """One control period: when, which chunk and action (None: held), and which frame was sent."""

    time_ns: int
    chunk_id: int | None
    action_index: int | None
    frame_capture_ns: int
    sent: bool


@dataclass(frozen=True)
class Arrival:
    """A chunk and when it arrived."""

    chunk: ActionChunk
    arrived_ns: int


@dataclass
class Episode:
    """What happened.

    Attributes:
        began_ns: Clock at the first tick.
        ticks: Every control period.
        arrivals: Every chunk.
        plans: Every plan notice, with its arrival.
        errors: Every error reply.
        frames: For each tick, both cameras' pictures by name, uint8 [H, W, 3]; empty unless recording was asked for.
        overruns: Ticks that ended after the next one should have begun.
    """

    began_ns: int
    ticks: list[Tick] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    plans: list[tuple[Plan, int]] = field(default_factory=list)
    errors: list[ErrorReply] = field(default_factory=list)
    frames: list[Mapping[str, npt.NDArray[np.uint8]]] = field(default_factory=list)
    overruns: int = 0


def run_episode(
    client: Client,
    world: Tabletop,
    cameras: Cameras,
    instruction: str,
    *,
    ticks: int,
    seed: int = 0,
    record: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Episode:
    """Run the control loop for a number of ticks.

    Args:
        client: Connected to the server.
        world: The tabletop, reset.
        cameras: Its cameras.
        instruction: What the policy is told.
        ticks: Control periods to run.
        seed: Seed of the first frame's noise; each frame has the next one.
        record: Keep the pictures.
        stopped: Asked at each tick; True ends the episode early.

    Raises:
        ServerUnreachableError: No server answers.
        ObservationError: The server wants cameras or actions that the tabletop has not.
    """
    welcome = client.hello()
    check_welcome(welcome, cameras)
    player = Player(welcome.staleness)
    period_ns = world.control_period_ns
    episode = Episode(began_ns=monotonic_ns())
    for tick in range(ticks):
        if stopped():
            break
        due_ns = episode.began_ns + tick * period_ns
        _sleep_until(due_ns)
        capture_ns = monotonic_ns()
        pictures = cameras.render()
        observation = _observe(
            client, world, pictures, instruction=instruction, capture_ns=capture_ns, seed=seed + tick
        )
        sent = client.send(observation)
        _collect(client, episode, player)
        due = player.due(monotonic_ns())
        episode.ticks.append(Tick(monotonic_ns(), due.chunk_id, due.index, capture_ns, sent))
        world.step(HOLD if due.action is None else due.action)
        if record:
            episode.frames.append(pictures)
        # What arrives while this tick lasts is stamped when it arrives, not at the next tick.
        while (left_ns := due_ns + period_ns - monotonic_ns()) > 2 * NS_PER_MS:
            _collect(client, episode, player, timeout_s=(left_ns - NS_PER_MS) / NS_PER_S)
        episode.overruns += monotonic_ns() > due_ns + period_ns
    return episode


def check_welcome(welcome: Welcome, cameras: Cameras) -> None:
    """Refuse a server whose policy does not fit the tabletop.

    Raises:
        ObservationError: Other cameras, another size, or another kind of actions.
    """
    wanted = {view.name: (view.height, view.width) for view in welcome.views}
    have = {name: picture.shape[:2] for name, picture in cameras.render().items()}
    if wanted != have:
        msg = f"the policy {welcome.bundle_name!r} wants the views {wanted}; the tabletop has {have}"
        raise ObservationError(msg)
    if welcome.representation is not ActionRepresentation.EE_DELTA or welcome.action_dim != len(HOLD):
        msg = f"the tabletop takes 7 end-effector deltas; got {welcome.action_dim} of {welcome.representation.name}"
        raise ObservationError(msg)


def _observe(
    client: Client,
    world: Tabletop,
    pictures: Mapping[str, npt.NDArray[np.uint8]],
    *,
    instruction: str,
    capture_ns: int,
    seed: int,
) -> Observation:
    arm = world.robot_state
    state = RobotState(capture_ns, arm.joint_positions, arm.joint_velocities, arm.base_T_ee, arm.gripper_width_m)
    views = tuple(View.from_pixels(name, picture, capture_ns) for name, picture in pictures.items())
    sequence = client.next_sequence()
    return Observation(sequence, views, instruction, seed=seed, robot_state=state, wants_plans=True)


def _collect(client: Client, episode: Episode, player: Player, timeout_s: float = 0.0) -> None:
    for message in client.receive(timeout_s):
        now_ns = monotonic_ns()
        if isinstance(message, ActionChunk):
            episode.arrivals.append(Arrival(message, now_ns))
            player.take(message)
        elif isinstance(message, Plan):
            episode.plans.append((message, now_ns))
        elif isinstance(message, ErrorReply):
            episode.errors.append(message)


def _sleep_until(due_ns: int) -> None:
    left_ns = due_ns - monotonic_ns()
    if left_ns > 0:
        time.sleep(left_ns / NS_PER_S)
