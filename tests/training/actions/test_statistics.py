import json
from pathlib import Path

import numpy as np
import pytest

from st4vla.contracts.errors import DatasetError
from st4vla.training.actions import statistics
from st4vla.training.actions.lerobot import open_lerobot
from st4vla.training.actions.statistics import FILE, compute_statistics, load_statistics


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
