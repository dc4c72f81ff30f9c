from pathlib import Path

import numpy as np
import pytest

from st4vla.contracts.errors import DatasetError
from st4vla.export.quantization.frames import load_frames
from st4vla.training.checkpoint import Checkpoint


def test_frames_are_moments_of_their_split_drawn_without_repetition(
    checkpoint: Checkpoint, demonstrations: Path
) -> None:
    frames = load_frames(checkpoint, demonstrations, "train", count=100, seed=0)
    assert len(frames) == 12
    assert {frame.instruction for frame in frames} == {"lift the cube", "open the drawer"}
    assert len({frame.views.tobytes() for frame in frames}) == 12
    assert len({frame.noise.tobytes() for frame in frames}) == 12
    source = checkpoint.manifest
    for frame in frames:
        assert frame.views.shape == (2, source.views[0].height, source.views[0].width, 3)
        assert frame.views.dtype == np.uint8
        assert frame.noise.shape == (1, source.action.horizon, source.action.dim)
        assert checkpoint.tokenizer.decode(frame.token_ids[0].tolist()).count(frame.instruction) == 1


def test_a_seed_chooses_which_and_says_it_again(checkpoint: Checkpoint, demonstrations: Path) -> None:
    first, again, other = (load_frames(checkpoint, demonstrations, "train", count=4, seed=seed) for seed in (0, 0, 1))
    for ours, theirs in zip(first, again, strict=True):
        assert ours.views.tobytes() == theirs.views.tobytes()
        assert ours.noise.tobytes() == theirs.noise.tobytes()
    assert [frame.views.tobytes() for frame in first] != [frame.views.tobytes() for frame in other]


def test_a_split_that_is_not_there_is_named(checkpoint: Checkpoint, demonstrations: Path) -> None:
    with pytest.raises(DatasetError, match="test"):
        load_frames(checkpoint, demonstrations, "test", count=4, seed=0)
