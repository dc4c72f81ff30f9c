"""A runtime that stands still for a while: frames do not pile up, and service comes back by itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PEER = Path(__file__).resolve().parents[1] / "runtime" / "faults" / "peer.py"
Run = Callable[..., Any]


@pytest.mark.slow
def test_frames_are_replaced_while_the_runtime_stands_still_and_served_after_it(start: Run) -> None:
    with subprocess.Popen(
        [sys.executable, str(PEER), "server", "tcp://127.0.0.1:*"], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        endpoint = server.stdout.readline().strip()
        # Raw pictures, which fill the buffers of both kernels soon.
        options = ("--pattern=", "--pattern=", "--size", "240x320", "--rate", "30")
        running = start("stream", "--endpoint", endpoint, *options)
        time.sleep(2.0)
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(3.0)
        os.kill(server.pid, signal.SIGCONT)
        time.sleep(3.0)
        ended = running.end()
        server.terminate()
    frames = ended.count("frames_sent")
    assert ended.count("frames_superseded") >= 10
    assert ended.count("frames_busy") == 0
    # What was sent before is not sent again, and what stood still in buffers is not much.
    assert frames + ended.count("frames_superseded") <= 30 * ended.line["seconds"] + 5
    # Both before and after: pictures of another size than the bundle's are refused, but answered.
    rates = [float(line.split("frames")[1].split("/s")[0]) for line in ended.out.splitlines() if "frames " in line]
    assert min(rates) < 15
    assert rates[-1] > 20
    assert ended.count("chunks_received") + ended.count("errors_received") >= 60
