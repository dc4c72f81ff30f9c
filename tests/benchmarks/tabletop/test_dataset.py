import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.recording import record_pick
from st4vla.benchmarks.tabletop.world import Tabletop
from st4vla.contracts.command_line import main
from st4vla.training.actions.lerobot import open_lerobot
from st4vla.training.actions.video_frames import VideoFrames

EPISODES, SCENES = 3, 2


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "tabletop"
    arguments = ["--episodes", EPISODES, "--scenes", SCENES, "--held-out", 0.5, "--workers", 1, "--seed", 7]
    assert main(["record", "--out", str(folder), *map(str, arguments)]) == 0
    return folder


def test_the_things_are_picked_in_turn(dataset: Path) -> None:
    tasks = {line["task"] for line in lines(dataset / "meta/tasks.jsonl")}
    assert tasks == {"pick up the blue ball", "pick up the green cylinder", "pick up the red cube"}
    assert {line["tasks"][0] for line in lines(dataset / "meta/episodes.jsonl")} == tasks


def test_tables_videos_and_meta_agree(dataset: Path) -> None:
    info = json.loads((dataset / "meta/info.json").read_text())
    episodes = lines(dataset / "meta/episodes.jsonl")
    assert (info["codebase_version"], info["total_episodes"], info["fps"]) == ("v2.1", EPISODES, 20)
    assert info["splits"] == {"train": "0:1", "val": "1:3"}
    first = 0
    for episode, stats in zip(episodes, lines(dataset / "meta/episodes_stats.jsonl"), strict=True):
        index = episode["episode_index"]
        table = pq.read_table(dataset / info["data_path"].format(episode_chunk=0, episode_index=index))
        assert table.num_rows == episode["length"]
        assert table["index"].to_pylist() == list(range(first, first + table.num_rows))
        first += table.num_rows
        assert set(table.column_names) == {name for name, f in info["features"].items() if f["dtype"] != "video"}
        actions = np.array(table["action"].to_pylist())
        assert actions.shape[1:] == tuple(info["features"]["action"]["shape"])
        np.testing.assert_allclose(stats["stats"]["action"]["max"], actions.max(0), rtol=1e-6)
        assert actions[0, 6] == 1
        assert actions[-1, 6] == 0
        for key in ("observation.images.agentview", "observation.images.wrist"):
            video = dataset / info["video_path"].format(episode_chunk=0, episode_index=index, video_key=key)
            with av.open(str(video)) as container:
                assert sum(1 for _ in container.decode(video=0)) == episode["length"]
    assert first == info["total_frames"]


def test_modality_names_parts_that_are_there(dataset: Path) -> None:
    info = json.loads((dataset / "meta/info.json").read_text())
    modality = json.loads((dataset / "meta/modality.json").read_text())
    for part, feature in (("state", "observation.state"), ("action", "action")):
        spans = sorted((span["start"], span["end"]) for span in modality[part].values())
        assert spans[0][0] == 0
        assert all(before[1] == after[0] for before, after in pairwise(spans))
        assert spans[-1][1] == info["features"][feature]["shape"][0]
    assert all(view["original_key"] in info["features"] for view in modality["video"].values())


def test_training_reads_what_was_recorded(dataset: Path) -> None:
    index = open_lerobot(dataset)
    assert [episode.index for episode in index.split("train")] == [0]
    assert dict(index.action_parts) == {"position": (0, 3), "rotation": (3, 6), "gripper": (6, 7)}
    episode = index.episodes[1]
    assert index.column(episode, "action").shape == (episode.length, 7)
    with VideoFrames(index.rate_hz) as frames:
        last = frames.read(episode.videos["wrist"], episode.length - 1)
    assert last.shape == (224, 224, 3)


def test_true_boxes_hold_their_things(dataset: Path) -> None:
    annotations = lines(dataset / "annotations/boxes.jsonl")
    scenes = [line for line in annotations if line["episode_index"] is None]
    assert [line["split"] for line in scenes] == ["train", "train", "val", "val"]
    seen = 0
    for line in annotations:
        pixels = np.asarray(Image.open(dataset / line["image"]).convert("RGB")).astype(int)
        assert pixels.shape == (line["height"], line["width"], 3)
        for name, (left, top, right, bottom) in line["boxes"].items():
            channel = {"red": 0, "green": 1, "blue": 2}[name.split()[0]]
            part = pixels[top:bottom, left:right]
            coloured = part[..., channel] > 2 * np.delete(part, channel, axis=-1).max(-1)
            assert coloured.mean() > 0.3, (line["image"], name)
            seen += 1
    assert seen > 20


def test_a_seed_gives_the_same_episode_again() -> None:
    with Tabletop() as world, Cameras(world) as cameras:
        first, again, other = (record_pick(world, cameras, seed, box_every=50) for seed in (4, 4, 7))
    np.testing.assert_array_equal(first.actions, again.actions)
    np.testing.assert_array_equal(first.states, again.states)
    np.testing.assert_array_equal(first.pictures[5]["wrist"], again.pictures[5]["wrist"])
    assert not np.array_equal(first.states[0], other.states[0])
    assert first.lifted


@pytest.mark.parametrize(
    ("options", "match"),
    [(["--episodes", "0"], "--episodes 0"), (["--held-out", "1"], "--held-out 1"), (["--scenes", "-1"], "--scenes -1")],
)
def test_impossible_data_sets_are_refused(
    tmp_path: Path, options: list[str], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["record", "--out", str(tmp_path / "out"), *options]) == 2
    assert match in capsys.readouterr().err


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    assert main(["record", "--out", str(tmp_path), "--episodes", "1"]) == 2
    assert "holds something other than a data set" in capsys.readouterr().err
