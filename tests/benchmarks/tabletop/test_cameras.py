import os
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from st4vla.benchmarks.tabletop import gl_backend
from st4vla.benchmarks.tabletop.assets import CAMERAS, OBJECTS
from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.world import Tabletop


@pytest.fixture(scope="module")
def world() -> Iterator[Tabletop]:
    with Tabletop(seed=1) as tabletop:
        yield tabletop


@pytest.fixture(scope="module")
def cameras(world: Tabletop) -> Iterator[Cameras]:
    with Cameras(world) as views:
        yield views


def test_both_cameras_give_colour_images_that_show_something(cameras: Cameras) -> None:
    images = cameras.render()
    assert tuple(images) == CAMERAS
    for image in images.values():
        assert image.shape == (224, 224, 3)
        assert image.dtype == np.uint8
        assert image.std() > 10
        assert image.flags.c_contiguous
    assert not np.array_equal(images["agentview"], images["wrist"])


def test_another_size_gives_another_shape(world: Tabletop) -> None:
    with Cameras(world, height=60, width=80) as views:
        assert {image.shape for image in views.render().values()} == {(60, 80, 3)}
        views.close()


def test_an_empty_image_is_refused(world: Tabletop) -> None:
    with pytest.raises(ValueError, match="positive height and width, not 0 x 224"):
        Cameras(world, height=0)


def test_images_follow_the_arm_and_do_not_change_the_world(world: Tabletop, cameras: Cameras) -> None:
    world.reset(1)
    before = world.data.qpos.copy()
    first, again = cameras.render(), cameras.render()
    np.testing.assert_array_equal(world.data.qpos, before)
    for name in CAMERAS:
        np.testing.assert_array_equal(first[name], again[name])
    for _ in range(5):
        world.step([0.02, 0, 0, 0, 0, 0, 1])
    moved = cameras.render()
    assert all(not np.array_equal(first[name], moved[name]) for name in CAMERAS)


def test_boxes_contain_the_projected_centres_of_the_objects(world: Tabletop, cameras: Cameras) -> None:
    for seed in range(6):
        world.reset(seed)
        found = cameras.boxes()
        assert set(found["agentview"]) == set(OBJECTS)
        for camera, boxes in found.items():
            for name, (x1, y1, x2, y2) in boxes.items():
                assert 0 <= x1 < x2 <= 224
                assert 0 <= y1 < y2 <= 224
                column, row = projected(world, camera, name)
                if camera == "wrist" and min(x1, y1, 224 - x2, 224 - y2) == 0:
                    continue  # cut by the image's edge: the centre may lie outside
                assert x1 <= column <= x2, (seed, camera, name)
                assert y1 <= row <= y2, (seed, camera, name)


def test_boxes_hold_the_colour_of_their_object(world: Tabletop, cameras: Cameras) -> None:
    world.reset(2)
    image, boxes = cameras.render()["agentview"], cameras.boxes()["agentview"]
    for channel, name in enumerate(OBJECTS):
        x1, y1, x2, y2 = boxes[name]
        mean = image[y1:y2, x1:x2].reshape(-1, 3).mean(axis=0)
        assert int(mean.argmax()) == channel


def projected(world: Tabletop, camera: str, name: str) -> tuple[float, float]:
    view, number = world.data.camera(camera), world.model.camera(camera).id
    local = view.xmat.reshape(3, 3).T @ (world.data.body(name).xpos - view.xpos)
    focal = 112 / np.tan(np.deg2rad(world.model.cam_fovy[number]) / 2)
    return 112 + focal * local[0] / -local[2], 112 - focal * local[1] / -local[2]


def test_a_back_end_that_the_user_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert gl_backend.choose_gl_backend() == "osmesa"


@pytest.mark.parametrize(("works", "expected"), [(True, "egl"), (False, "osmesa")])
def test_egl_is_taken_only_when_it_really_works(monkeypatch: pytest.MonkeyPatch, works: bool, expected: str) -> None:
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr(gl_backend, "egl_works", lambda: works)
    assert gl_backend.choose_gl_backend() == expected
    assert os.environ["MUJOCO_GL"] == expected


def test_a_back_end_that_cannot_render_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    with pytest.raises(ValueError, match="MUJOCO_GL is 'disabled'; cameras need one of egl, osmesa, glfw"):
        gl_backend.make_gl_context(8, 8)


def test_a_probe_that_cannot_start_counts_as_no_egl(monkeypatch: pytest.MonkeyPatch) -> None:
    gl_backend.egl_works.cache_clear()
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert gl_backend.egl_works() is False
    gl_backend.egl_works.cache_clear()
