"""Render both cameras offscreen, fast enough on a processor to sit in a 20 Hz loop beside a policy.

The GL back end is chosen by `gl_backend`. A GL context belongs to the thread that made it, so make and use a `Cameras`
in one thread.
"""

from types import TracebackType
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from st4vla.benchmarks.tabletop.assets import CAMERAS, OBJECTS
from st4vla.benchmarks.tabletop.gl_backend import make_gl_context
from st4vla.benchmarks.tabletop.world import Tabletop

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]

VISIBLE_GROUP = 1
MAX_GEOMS = 100


class Cameras:
    """Both views of one tabletop, from one GL context and one scene.

    Shadows, reflections, haze, sky and multisampling are off; colours are flat; the arm's meshes are decimated. What
    remains costs 2 to 3 ms a view on one processor core with software GL.
    """

    def __init__(self, world: Tabletop, *, height: int = 224, width: int = 224) -> None:
        """Make the GL context.

        Args:
            world: What to look at.
            height: Rows of each image.
            width: Columns of each image.

        Raises:
            ValueError: The size is not positive.
        """
        if height <= 0 or width <= 0:
            raise ValueError(f"an image needs a positive height and width, not {height} x {width}")
        self.height, self.width = height, width
        self._world = world
        self._context: Any = make_gl_context(width, height)
        self._context.make_current()
        self._renderer: Any = mujoco.MjrContext(world.model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_resizeOffscreen(width, height, self._renderer)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._renderer)
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._scene: Any = mujoco.MjvScene(world.model, MAX_GEOMS)
        self._scene.flags[:] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = 1
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = 0
        self._options.geomgroup[VISIBLE_GROUP] = 1
        self._options.sitegroup[:] = 0
        self._views = {name: _fixed_camera(world.model, name) for name in CAMERAS}
        self._objects = {int(world.model.geom(name).id): name for name in OBJECTS}
        self._pixels = np.zeros((height, width, 3), np.uint8)

    def render(self) -> dict[str, Image]:
        """Render what the cameras see now: uint8 [height, width, 3], RGB, top row first, by camera name."""
        self._context.make_current()
        return {name: self._draw(view, first=index == 0) for index, (name, view) in enumerate(self._views.items())}

    def boxes(self) -> dict[str, dict[str, Box]]:
        """Find the true bounding box of what each camera sees of each object, from a segmentation.

        Returns:
            By camera, then by object: x1, y1, x2, y2 in pixels from the image's top left, the far edges exclusive. An
            object that a camera does not see is left out.
        """
        self._context.make_current()
        flags = self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 1
        try:
            colours = {
                name: self._draw(view, first=index == 0) for index, (name, view) in enumerate(self._views.items())
            }
        finally:
            flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 0
        drawn = {
            self._objects[geom.objid]: geom.segid + 1
            for geom in self._scene.geoms[: self._scene.ngeom]
            if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM and geom.objid in self._objects
        }
        found: dict[str, dict[str, Box]] = {}
        for camera, colour in colours.items():
            identity = colour.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)
            found[camera] = {name: _box(identity == drawn[name]) for name in drawn if (identity == drawn[name]).any()}
        return found

    def close(self) -> None:
        """Free the renderer and the GL context; calling it again does nothing."""
        if self._renderer is not None:
            self._context.make_current()
            self._renderer.free()
            self._context.free()
            self._renderer = None

    def __enter__(self) -> "Cameras":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _draw(self, view: Any, *, first: bool) -> Image:
        """Draw one view; the scene's shapes are brought up to date with the first, only the camera with the next."""
        model, data = self._world.model, self._world.data
        if first:
            mujoco.mjv_updateScene(
                model, data, self._options, None, view, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
            )
        else:
            mujoco.mjv_updateCamera(model, data, view, self._scene)
        mujoco.mjr_render(self._viewport, self._scene, self._renderer)
        mujoco.mjr_readPixels(self._pixels, None, self._viewport, self._renderer)
        return np.ascontiguousarray(self._pixels[::-1])


def _fixed_camera(model: Any, name: str) -> Any:
    """Make a handle on a camera of the model."""
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = int(model.camera(name).id)
    return camera


def _box(mask: NDArray[np.bool_]) -> Box:
    """Bound the true pixels of a mask [height, width] that has some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
