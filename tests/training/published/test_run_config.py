"""Tests of the configuration of a published run."""

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from st4vla.contracts.errors import FileMissingError, ManifestError
from st4vla.training.published.run_config import RunConfig, read_run_config


@pytest.fixture
def document(config_text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(config_text))


def read(folder: Path, document: object) -> RunConfig:
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return read_run_config(folder)


def test_the_fields_that_weights_do_not_tell_are_read(
    tmp_path: Path, document: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert read(tmp_path, document) == RunConfig(36, 37, "grounding", 224, 0.5, 8, None)
    assert not caplog.records


def test_absent_fields_have_the_defaults_of_the_reference(tmp_path: Path, document: dict[str, Any]) -> None:
    document["framework"]["dino"] = {"dino_backbone": "dinov2_vitl14"}
    del document["datasets"], document["framework"]["action_model"]
    del document["framework"]["layer_qformer"]["grad_scale"]
    assert read(tmp_path, document) == RunConfig(36, 37, "none", 224, 0.5, None, "dinov2_vitl14")


def test_a_prompt_of_one_s_own_and_an_image_size_are_taken_over(tmp_path: Path, document: dict[str, Any]) -> None:
    document["datasets"]["vla_data"] |= {"CoT_prompt": "Do {instruction}!", "image_size": [252, 252]}
    config = read(tmp_path, document)
    assert (config.template, config.image_size) == ("Do {instruction}!", 252)


def test_stale_and_unknown_fields_are_named_in_one_warning(
    tmp_path: Path, document: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    document["framework"]["fm_head_config"] = {"hidden": 3, "layers": 4}
    document["framework"]["action_model"] |= {"use_ema": False, "repeated_diffusion_steps": 8}
    document["datasets"]["vla_data"]["CoT_answer"] = "none"
    document["novelty"] = 1
    read(tmp_path, document)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    for name in (
        "framework.fm_head_config,",
        "framework.action_model.use_ema",
        "framework.action_model.repeated_diffusion_steps",
        "datasets.vla_data.CoT_answer",
        "novelty",
    ):
        assert name in caplog.text
    assert "trainer" not in caplog.text


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("framework.layer_qformer.qformer_start_layer", None, "is missing, and weights do not tell it"),
        ("framework.layer_qformer.qformer_end_layer", "last", "must be an integer"),
        ("framework.layer_qformer.grad_scale", 2, "a number from 0 to 1"),
        ("framework.action_model.past_action_window_size", 1, "past actions cannot be loaded"),
        ("datasets.vla_data.CoT_prompt", "Do it.", r"a text with \{instruction\} in it"),
        ("datasets.vla_data.image_size", [224, 280], "must be square"),
        ("datasets.vla_data.image_size", "large", "a side in pixels"),
    ],
)
def test_values_that_a_field_may_not_have_are_refused(
    tmp_path: Path, document: dict[str, Any], path: str, value: object, problem: str
) -> None:
    *sections, field = path.split(".")
    section = document
    for name in sections:
        section = section[name]
    section[field] = value
    with pytest.raises(ManifestError, match=rf"{field}.*{problem}"):
        read(tmp_path, document)


def test_a_missing_or_unreadable_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match=r"holds config\.yaml with framework\.layer_qformer"):
        read_run_config(tmp_path)
    for text, problem in (("a: [", "not YAML"), ("- 1", "a list"), ("!!python/object:os.x {}", "not YAML")):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(ManifestError, match=problem):
            read_run_config(tmp_path)
