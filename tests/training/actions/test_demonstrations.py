from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from st4vla.contracts.action import ActionNormalizer, ActionSpec, NormalizationMode
from st4vla.contracts.errors import DatasetError
from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import ActionRepresentation
from st4vla.runtime.framing import fit
from st4vla.training.actions.demonstrations import Demonstrations
from st4vla.training.actions.lerobot import open_lerobot
from st4vla.training.actions.video_frames import VideoFrames

Actions = tuple[np.ndarray, np.ndarray]
SPEC = ActionSpec(
    names=("x", "y", "gripper"),
    modes=(NormalizationMode.QUANTILE, NormalizationMode.QUANTILE, NormalizationMode.BINARY),
    gripper_index=2,
    representation=ActionRepresentation.EE_DELTA,
    horizon=4,
    period_ns=100_000_000,
)


def views(folder: Path, side: int = 32) -> list[ViewSpec]:
    return [ViewSpec(next(iter(open_lerobot(folder).episodes[0].videos)), side, side)]


def test_a_moment_is_its_pictures_instruction_and_the_normalised_chunk_that_follows(
    dataset_folder: Path, expected_actions: Actions
) -> None:
    found = Demonstrations(dataset_folder, "train", SPEC, views(dataset_folder))
    assert len(found) == 12
    moment = found[2]
    assert moment.instruction == "lift the cube"
    assert moment.views.shape == (1, 32, 32, 3)
    assert moment.views.dtype == torch.uint8
    assert abs(float(moment.views.float().mean()) - 16) < 3
    wanted = ActionNormalizer(SPEC, found.statistics).normalize(expected_actions[0])[2:6]
    np.testing.assert_allclose(moment.actions.numpy(), wanted, atol=1e-6)
    assert moment.mask.all()


def test_a_chunk_past_the_end_is_masked(dataset_folder: Path) -> None:
    moment = Demonstrations(dataset_folder, "train", SPEC, views(dataset_folder))[10]
    assert moment.mask.tolist() == [True, True, False, False]
    assert torch.equal(moment.actions[2], moment.actions[1])


def test_held_out_actions_are_scaled_by_what_was_seen_in_training(dataset_folder: Path) -> None:
    learnt, held_out = (
        Demonstrations(dataset_folder, split, SPEC, views(dataset_folder)) for split in ("train", "val")
    )
    assert learnt.statistics == held_out.statistics
    # The other episode's actions all lie above the first one's.
    assert (held_out[0].actions[:, :2] == 1).all()


def test_pictures_are_resized_to_the_policys(dataset_folder: Path) -> None:
    whole = Demonstrations(dataset_folder, "train", SPEC, views(dataset_folder))
    found = Demonstrations(dataset_folder, "train", SPEC, views(dataset_folder, 16))
    assert whole[0].views.shape == (1, 32, 32, 3)
    assert found[0].views.shape == (1, 16, 16, 3)


def test_pictures_are_resized_as_the_runtime_does(dataset_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (160, 60, 3), np.uint8)
    monkeypatch.setattr(VideoFrames, "read", lambda self, span, frame: picture)
    found = Demonstrations(dataset_folder, "train", SPEC, views(dataset_folder, 16))
    np.testing.assert_array_equal(found[0].views[0].numpy(), fit(picture, 16, 16))


def test_every_nth_moment_and_moments_without_pauses(dataset_folder: Path) -> None:
    assert len(Demonstrations(dataset_folder, "train", SPEC, views(dataset_folder), every=5)) == 3
    assert len(Demonstrations(dataset_folder, "train", SPEC, views(dataset_folder), drop_pauses=True)) == 12


def test_cameras_can_have_another_name_in_the_data_set(dataset_folder: Path) -> None:
    theirs = views(dataset_folder)[0].name
    found = Demonstrations(dataset_folder, "train", SPEC, [ViewSpec("ours", 32, 32)], cameras={"ours": theirs})
    assert found[0].views.shape == (1, 32, 32, 3)
    with pytest.raises(DatasetError, match=f"has the cameras {theirs}, and not ours"):
        Demonstrations(dataset_folder, "train", SPEC, [ViewSpec("ours", 32, 32)])


def test_what_does_not_fit_the_policy_is_refused_with_the_remedy(dataset_folder: Path) -> None:
    faster = msgspec.structs.replace(SPEC, period_ns=50_000_000)
    with pytest.raises(DatasetError, match=r"has 10 actions a second, the policy plays 20; .*any_rate"):
        Demonstrations(dataset_folder, "train", faster, views(dataset_folder))
    assert len(Demonstrations(dataset_folder, "train", faster, views(dataset_folder), any_rate=True)) == 12
    narrow = msgspec.structs.replace(SPEC, names=("x", "y"), modes=SPEC.modes[:2], gripper_index=None)
    with pytest.raises(DatasetError, match="has 3 entries; the action has 2 dimensions; name the parts"):
        Demonstrations(dataset_folder, "train", narrow, views(dataset_folder))
    with pytest.raises(DatasetError, match="has no action parts wings; it has"):
        Demonstrations(dataset_folder, "train", SPEC, views(dataset_folder), parts=("wings",))
    with pytest.raises(DatasetError, match="not 'test'"):
        Demonstrations(dataset_folder, "test", SPEC, views(dataset_folder))


def test_parts_choose_columns(dataset_folder: Path) -> None:
    narrow = msgspec.structs.replace(SPEC, names=("x", "y"), modes=SPEC.modes[:2], gripper_index=None)
    parts = {"position": slice(0, 2), "gripper": slice(2, 3)}
    if set(open_lerobot(dataset_folder).action_parts) != set(parts):
        with pytest.raises(DatasetError, match="no action parts position; it has action"):
            Demonstrations(dataset_folder, "train", narrow, views(dataset_folder), parts=("position",))
        return
    whole = Demonstrations(dataset_folder, "train", SPEC, views(dataset_folder))[3].actions
    found = Demonstrations(dataset_folder, "train", narrow, views(dataset_folder), parts=("position",))
    assert torch.equal(found[3].actions, whole[:, :2])
    turned = msgspec.structs.replace(SPEC, modes=SPEC.modes[::-1], gripper_index=0)
    found = Demonstrations(dataset_folder, "train", turned, views(dataset_folder), parts=("gripper", "position"))
    assert torch.equal(found[3].actions, whole[:, [2, 0, 1]])
