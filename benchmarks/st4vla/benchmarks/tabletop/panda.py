"""The Panda with its gripper as an MjSpec, from the files in robosuite's wheel, coarse enough to draw fast."""

import functools
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from st4vla.benchmarks.tabletop.decimate import decimate

ROBOT_XML = "robots/panda/robot.xml"
GRIPPER_XML = "grippers/panda_gripper.xml"
HAND_BODY = "right_hand"
EE_SITE = "ee"
EE_OFFSET_M = 0.097
"""From the hand to the point between the fingertips, along the approach axis."""

COLOURS = {
    "light": (0.94, 0.95, 0.96, 1.0),
    "dark": (0.22, 0.22, 0.24, 1.0),
    "blue": (0.04, 0.54, 0.78, 1.0),
}
ARM_CELL_M = 0.010
HAND_CELL_M = 0.005
"""The wrist camera sees the hand and the fingers from near by."""
MIN_FACES = 4
MAX_HULL_VERTICES = 32


class VisualMesh(NamedTuple):
    """Everything of one colour that one body shows: vertices [v, 3] in the body's frame, metres; faces [f, 3]."""

    body: str
    colour: str
    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]


def find_assets() -> Path:
    """Find robosuite's folder of models without importing robosuite.

    Raises:
        FileNotFoundError: robosuite is not installed, or holds no Panda.
    """
    spec = importlib.util.find_spec("robosuite")
    for location in (spec.submodule_search_locations or []) if spec else []:
        assets = Path(location) / "models" / "assets"
        if (assets / ROBOT_XML).is_file() and (assets / GRIPPER_XML).is_file():
            return assets
    raise FileNotFoundError(
        "robosuite's assets were not found; install them with: pip install --no-deps robosuite==1.5.2"
    )


def panda_spec() -> Any:
    """Build the arm and its gripper: collision shapes in group 0, coarse visual meshes in group 1, gravity cancelled.

    The site `ee` lies between the fingertips in Franka's convention: z along the approach, y along the fingers' way.

    Raises:
        FileNotFoundError: robosuite's assets are missing.
    """
    assets = find_assets()
    robot = _without_visuals(_detailed_spec(assets))
    for mesh in robot.meshes:
        mesh.maxhullvert = MAX_HULL_VERTICES
    for body in robot.bodies:
        body.gravcomp = 1.0
    for visual in visual_meshes(assets):
        name = f"{visual.body}_{visual.colour}"
        robot.add_mesh(
            name=name,
            uservert=visual.vertices.astype(np.float32).ravel(),
            userface=visual.faces.astype(np.int32).ravel(),
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
        )
        robot.body(visual.body).add_geom(
            name=name,
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=name,
            rgba=COLOURS[visual.colour],
            group=1,
            contype=0,
            conaffinity=0,
            mass=0.0,
        )
    robot.body(HAND_BODY).add_site(name=EE_SITE, pos=[0.0, 0.0, EE_OFFSET_M], group=5)
    return robot


@functools.cache
def visual_meshes(assets: Path) -> tuple[VisualMesh, ...]:
    """Join what each body shows by colour and decimate it.

    The wheel's arm has 130 000 triangles in 47 meshes, most of them too small for a pixel.
    """
    model = _detailed_spec(assets).compile()
    parts: dict[tuple[str, str], list[tuple[NDArray[np.float64], NDArray[np.int64]]]] = {}
    for geom in range(model.ngeom):
        colour = _colour_of(model, geom)
        if model.geom_group[geom] != 1 or model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_MESH or colour is None:
            continue
        body = mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_BODY, int(model.geom_bodyid[geom]))
        mesh = int(model.geom_dataid[geom])
        start, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
        first, faces = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
        vertices = model.mesh_vert[start : start + count] @ rotation.reshape(3, 3).T + model.geom_pos[geom]
        parts.setdefault((body, colour), []).append((vertices, model.mesh_face[first : first + faces].astype(np.int64)))
    joined = [_joined(body, colour, pieces) for (body, colour), pieces in parts.items()]
    return tuple(mesh for mesh in joined if len(mesh.faces) >= MIN_FACES)


def _joined(body: str, colour: str, pieces: list[tuple[NDArray[np.float64], NDArray[np.int64]]]) -> VisualMesh:
    """Join the pieces of one body and colour and decimate them together."""
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in pieces])
    vertices = np.concatenate([vertices for vertices, _ in pieces])
    faces = np.concatenate([faces + start for (_, faces), start in zip(pieces, starts[:-1], strict=True)])
    cell_m = ARM_CELL_M if body.startswith("link") else HAND_CELL_M
    return VisualMesh(body, colour, *decimate(vertices, faces, cell_m))


def _colour_of(model: Any, geom: int) -> str | None:
    """Name the nearest of our three colours; the status lights' red and green are left out."""
    material = int(model.geom_matid[geom])
    red, green, blue = (model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom])[:3]
    if blue > 0.7:
        return "light" if red > 0.7 else "blue"
    return "dark" if max(red, green, blue) < 0.6 else None


def _detailed_spec(assets: Path) -> Any:
    """Read the arm, put the gripper on its hand, and drop the camera, the drawn axes and the force sensors."""
    robot = mujoco.MjSpec.from_file(str(assets / ROBOT_XML))
    gripper = mujoco.MjSpec.from_file(str(assets / GRIPPER_XML))
    for unused in [*robot.cameras, *robot.sites, *gripper.sensors, *gripper.sites]:
        (gripper if unused in [*gripper.sensors, *gripper.sites] else robot).delete(unused)
    robot.attach(gripper, prefix="", frame=robot.body(HAND_BODY).add_frame())
    return robot


def _without_visuals(robot: Any) -> Any:
    """Delete the visual geoms with their meshes and materials, so that compiling never reads them."""
    visible = [geom for geom in robot.geoms if geom.group == 1]
    kept = {geom.meshname for geom in robot.geoms if geom.group != 1}
    for geom in visible:
        robot.delete(geom)
    for mesh in [mesh for mesh in robot.meshes if mesh.name not in kept]:
        robot.delete(mesh)
    for material in list(robot.materials):
        robot.delete(material)
    return robot
