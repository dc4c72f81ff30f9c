"""The tabletop's cameras in a process of their own, looking at the virtual Franka's arm.

`python -m st4vla.benchmarks.whole_way.camera FOLDER` prints the address that wants the arm's poses, then leaves
pictures in the folder's memories until it is ended. Each picture's capture time is that of the pose it shows. Objects
lie where the seed puts them, and stay.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.world import Tabletop
from st4vla.benchmarks.virtual_franka.poses import PoseReceiver
from st4vla.benchmarks.whole_way.frame_memory import FrameMemory
from st4vla.contracts.errors import TransportError

#: How long it waits for a pose before it looks up.
WAIT_S = 0.2


def memory_path(folder: Path, camera: str) -> Path:
    """Return where a camera's pictures lie."""
    return folder / f"{camera}.frames"


def draw(folder: Path, seed: int, rate_hz: float) -> None:
    """Draw until the process is told to end.

    Args:
        folder: For the memories, one a camera.
        seed: Where the objects lie.
        rate_hz: Pictures a second of each camera.
    """
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: ended.append(number))
    with ExitStack() as stack:
        world = stack.enter_context(Tabletop(seed=seed))
        cameras = stack.enter_context(Cameras(world))
        poses = stack.enter_context(PoseReceiver())
        first = cameras.render()
        memories = {
            name: stack.enter_context(FrameMemory(memory_path(folder, name), *picture.shape[:2]))
            for name, picture in first.items()
        }
        sys.stdout.write(f"{poses.address}\n")
        sys.stdout.flush()
        due_s = time.monotonic()
        while not ended:
            try:
                pose = poses.newest(WAIT_S)
            except TransportError:
                # The arm is not there yet, or not any more.
                continue
            world.show(pose.q, pose.width)
            for name, picture in cameras.render().items():
                memories[name].write(picture, pose.monotonic_ns)
            due_s = max(due_s + 1 / rate_hz, time.monotonic() - 1 / rate_hz)
            time.sleep(max(due_s - time.monotonic(), 0.0))


def main() -> None:
    """Draw until ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=20.0)
    options = parser.parse_args()
    draw(options.folder, options.seed, options.rate)


if __name__ == "__main__":
    main()
