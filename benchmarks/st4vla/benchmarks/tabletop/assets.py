"""Build the whole scene: floor, table, Panda, three coloured objects and two cameras."""

from typing import Any, NamedTuple

import mujoco

from st4vla.benchmarks.tabletop.panda import EE_SITE, HAND_BODY, find_assets, panda_spec

__all__ = [
    "ARM_JOINTS",
    "CAMERAS",
    "EE_SITE_NAME",
    "FINGER_JOINTS",
    "OBJECTS",
    "TIMESTEP_NS",
    "TableObject",
    "build_spec",
    "find_assets",
]

TIMESTEP_NS = 2_000_000
TABLE_HEIGHT_M = 0.8
TABLE_HALF_M = 0.4
BASE_X_M = -0.55
"""The robot stands behind the table; its base frame has the table's top at z = 0."""

PREFIX = "panda_"
ARM_JOINTS = tuple(f"{PREFIX}joint{number}" for number in range(1, 8))
ARM_MOTORS = tuple(f"{PREFIX}torq_j{number}" for number in range(1, 8))
FINGER_JOINTS = (f"{PREFIX}finger_joint1", f"{PREFIX}finger_joint2")
FINGER_MOTORS = (f"{PREFIX}gripper_finger_joint1", f"{PREFIX}gripper_finger_joint2")
EE_SITE_NAME = f"{PREFIX}{EE_SITE}"
CAMERAS = ("agentview", "wrist")

_CYLINDER = mujoco.mjtGeom.mjGEOM_CYLINDER
_BOX = mujoco.mjtGeom.mjGEOM_BOX
_SPHERE = mujoco.mjtGeom.mjGEOM_SPHERE


class TableObject(NamedTuple):
    """A thing to manipulate: MuJoCo's shape and size (half extents, metres), colour, mass, and height of its centre."""

    shape: Any
    size_m: tuple[float, float, float]
    rgba: tuple[float, float, float, float]
    mass_kg: float
    rest_height_m: float


OBJECTS = {
    "red cube": TableObject(_BOX, (0.022, 0.022, 0.022), (0.85, 0.10, 0.10, 1.0), 0.06, 0.022),
    "green cylinder": TableObject(_CYLINDER, (0.023, 0.030, 0.0), (0.10, 0.62, 0.20, 1.0), 0.06, 0.030),
    "blue ball": TableObject(_SPHERE, (0.026, 0.0, 0.0), (0.10, 0.25, 0.88, 1.0), 0.05, 0.026),
}
"""By the names that instructions use, as in "pick up the red cube"."""


def build_spec() -> Any:
    """Build the scene as an MjSpec whose world has x forward from the robot, z up, metres.

    Raises:
        FileNotFoundError: robosuite's assets are missing.
    """
    spec = mujoco.MjSpec()
    spec.modelname = "tabletop"
    _set_options(spec)
    _add_room(spec)
    _add_table(spec)
    base = spec.worldbody.add_frame(pos=[BASE_X_M, 0.0, TABLE_HEIGHT_M])
    spec.attach(panda_spec(), prefix=PREFIX, frame=base)
    for name, thing in OBJECTS.items():
        _add_object(spec, name, thing)
    _add_cameras(spec)
    return spec


def _set_options(spec: Any) -> None:
    """Set the solver for firm grasps, and the drawing for speed: flat colours, no shadow, no multisampling."""
    spec.option.timestep = TIMESTEP_NS * 1e-9
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    spec.visual.quality.offsamples = 0
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.numslices = 20
    spec.visual.quality.numstacks = 12
    spec.visual.headlight.ambient = [0.40, 0.40, 0.40]
    spec.visual.headlight.diffuse = [0.25, 0.25, 0.25]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.visual.map.znear = 0.01
    spec.visual.map.zfar = 10.0
    spec.stat.extent = 1.0
    spec.stat.center = [0.0, 0.0, TABLE_HEIGHT_M]


def _add_room(spec: Any) -> None:
    """Add the floor, one wall behind the robot and one light from above that casts no shadow."""
    world = spec.worldbody
    world.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[3.0, 3.0, 0.1], rgba=[0.62, 0.64, 0.66, 1.0], group=1
    )
    _add_visual_box(world, "wall", [-1.6, 0.0, 1.5], [0.02, 3.0, 1.5], [0.78, 0.81, 0.84, 1.0])
    world.add_light(
        name="lamp",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0.6, -0.8, 2.5],
        dir=[-0.35, 0.45, -1.0],
        diffuse=[0.55, 0.55, 0.53],
        specular=[0.15, 0.15, 0.15],
        castshadow=False,
    )


def _add_table(spec: Any) -> None:
    """Add the table's top and legs, and the dark pedestal under the robot's base."""
    table = spec.worldbody.add_body(name="table", pos=[0.0, 0.0, TABLE_HEIGHT_M])
    table.add_geom(
        name="table_top",
        type=_BOX,
        size=[TABLE_HALF_M, TABLE_HALF_M, 0.025],
        pos=[0.0, 0.0, -0.025],
        rgba=[0.80, 0.67, 0.50, 1.0],
        friction=[1.0, 0.005, 0.0001],
        group=1,
    )
    half_leg = TABLE_HEIGHT_M / 2 - 0.025
    for number, (x, y) in enumerate([(1, 1), (1, -1), (-1, 1), (-1, -1)]):
        where = [x * (TABLE_HALF_M - 0.04), y * (TABLE_HALF_M - 0.04), -0.05 - half_leg]
        _add_visual_box(table, f"table_leg_{number}", where, [0.025, 0.025, half_leg], [0.35, 0.36, 0.38, 1.0])
    pedestal_half = TABLE_HEIGHT_M / 2
    _add_visual_box(
        spec.worldbody,
        "pedestal",
        [BASE_X_M - 0.03, 0.0, pedestal_half - 0.002],
        [0.12, 0.14, pedestal_half],
        [0.30, 0.31, 0.33, 1.0],
    )


def _add_visual_box(body: Any, name: str, pos_m: list[float], half_m: list[float], rgba: list[float]) -> None:
    """Add a box that nothing collides with."""
    body.add_geom(name=name, type=_BOX, pos=pos_m, size=half_m, rgba=rgba, group=1, contype=0, conaffinity=0)


def _add_object(spec: Any, name: str, thing: TableObject) -> None:
    """Add one free object; friction against rolling lets the ball come to rest."""
    body = spec.worldbody.add_body(name=name, pos=[0.0, 0.0, TABLE_HEIGHT_M + thing.rest_height_m])
    body.add_freejoint(name=name)
    body.add_geom(
        name=name,
        type=thing.shape,
        size=list(thing.size_m),
        rgba=list(thing.rgba),
        mass=thing.mass_kg,
        condim=6,
        friction=[1.2, 0.01, 0.0015],
        solref=[0.01, 1.0],
        group=1,
    )


def _add_cameras(spec: Any) -> None:
    """Add the front view, and the view from the hand past the fingers (robosuite's `eye_in_hand`, moved)."""
    spec.worldbody.add_camera(
        name=CAMERAS[0], pos=[0.95, 0.0, 1.45], xyaxes=[0.0, 1.0, 0.0, -0.400, 0.0, 0.916], fovy=40.0
    )
    hand = spec.body(f"{PREFIX}{HAND_BODY}")
    hand.add_camera(name=CAMERAS[1], pos=[0.08, 0.0, 0.03], xyaxes=[0.0, 1.0, 0.0, 0.940, 0.0, 0.342], fovy=75.0)
