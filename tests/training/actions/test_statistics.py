import json
from pathlib import Path

import numpy as np
import pytest

from st4vla.contracts.errors import DatasetError
from st4vla.training.actions import statistics
from st4vla.training.actions.lerobot import open_lerobot
from st4vla.training.actions.statistics import FILE, compute_statistics, load_statistics, widened


def test_statistics_are_those_of_the_actions() -> None:
    actions = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    found = compute_statistics(actions)
    np.testing.assert_allclose(found.q01, np.quantile(actions, 0.01, axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.std, actions.std(0), rtol=1e-5)
    assert found.max == tuple(map(float, actions.max(0)))


def test_they_are_computed_once_and_again_when_the_episodes_change(
    dataset_folder: Path, expected_actions: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_lerobot(dataset_folder)
    first = load_statistics(dataset, dataset.episodes)
    np.testing.assert_allclose(first.mean, np.concatenate(expected_actions).mean(0), rtol=1e-6)
    assert json.loads((dataset_folder / FILE).read_text())["frames"] == 19
    counted = []
    monkeypatch.setattr(
        statistics, "compute_statistics", lambda rows: counted.append(len(rows)) or compute_statistics(rows)
    )
    assert load_statistics(dataset, dataset.episodes) == first
    assert counted == []
    train = load_statistics(dataset, dataset.split("train"))
    assert counted == [12]
    np.testing.assert_allclose(train.min, expected_actions[0].min(0), rtol=1e-6)


def test_a_broken_file_of_statistics_is_made_anew(dataset_folder: Path) -> None:
    (dataset_folder / FILE).write_text("{")
    dataset = open_lerobot(dataset_folder)
    load_statistics(dataset, dataset.episodes)
    assert json.loads((dataset_folder / FILE).read_text())["frames"] == 19


def test_statistics_of_nothing_are_refused() -> None:
    with pytest.raises(DatasetError, match="holds no episodes"):
        compute_statistics(np.empty((0, 3), np.float32))


def test_narrow_ranges_are_widened_about_their_middle_and_wide_ones_kept() -> None:
    found = compute_statistics(np.array([[0.0, 4.0, 7.0], [1.0, 4.1, 7.0]], np.float32))
    wide = widened(found, 0.5)
    kept = (found.q01[0], found.q99[0], 0, 1)
    assert (wide.q01[0], wide.q99[0], wide.min[0], wide.max[0]) == pytest.approx(kept)
    assert (wide.min[1], wide.max[1]) == pytest.approx((3.8, 4.3))
    assert (wide.q01[2], wide.q99[2]) == pytest.approx((6.75, 7.25))
    assert wide.mean == found.mean
    assert wide.std == pytest.approx((0.5, 0.5 / 12**0.5, 0.5 / 12**0.5))
