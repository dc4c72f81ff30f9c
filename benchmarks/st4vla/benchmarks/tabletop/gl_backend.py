"""Choose the GL back end to render with, and make its context.

mujoco itself reads MUJOCO_GL only once, while it is imported, and takes a windowed back end when nothing is set. Here
the choice is made when the first context is needed, so the order of imports does not matter.
"""

import functools
import importlib
import os
import subprocess
import sys
from typing import Any

PROBE = "import mujoco; context = mujoco.GLContext(8, 8); context.make_current(); context.free()"
PROBE_TIMEOUT_S = 20.0
BACKENDS = ("egl", "osmesa", "glfw")


def choose_gl_backend() -> str:
    """Set MUJOCO_GL, and the software rasteriser's thread count, unless they are set; call it before any GL is used.

    A MUJOCO_GL that is set is kept. Otherwise `egl` is taken when a child process can make a context with it (about
    0.25 s, once: the answer is handed on in the environment), and `osmesa` when it cannot.

    LP_NUM_THREADS=0 makes Mesa's llvmpipe rasterise in the calling thread. At 224 x 224 pixels that is as fast as
    with worker threads, and leaves the other cores to the policy. A real GPU ignores it.

    Returns:
        The back end in force, one of `BACKENDS`.

    Raises:
        ValueError: MUJOCO_GL is set to something that cannot render.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if not chosen:
        chosen = "egl" if egl_works() else "osmesa"
        os.environ["MUJOCO_GL"] = chosen
    if chosen not in BACKENDS:
        raise ValueError(f"MUJOCO_GL is {chosen!r}; cameras need one of {', '.join(BACKENDS)}, or leave it unset")
    return chosen


@functools.cache
def egl_works() -> bool:
    """Say whether a fresh process can make an EGL context, which is the only honest test of a driver."""
    environment = {**os.environ, "MUJOCO_GL": "egl"}
    try:
        finished = subprocess.run(  # noqa: S603 - our own interpreter and a constant program
            [sys.executable, "-c", PROBE], env=environment, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return finished.returncode == 0


def make_gl_context(width: int, height: int) -> Any:
    """Make an offscreen GL context with the chosen back end; it must be made current before each use."""
    module = importlib.import_module(f"mujoco.{choose_gl_backend()}")
    return module.GLContext(width, height)
