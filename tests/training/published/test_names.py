"""Tests of the names of published parameters."""

from collections.abc import Callable
from typing import Any

import pytest

from st4vla.contracts.errors import ManifestError
from st4vla.training.published.names import map_names, our_name

Q = "qwen_vl_interface.model."


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("visual.blocks.3.norm1.weight", "model.visual.blocks.3.norm1.weight"),
        ("model.embed_tokens.weight", "model.language_model.embed_tokens.weight"),
        ("model.layers.7.mlp.up_proj.weight", "model.language_model.layers.7.mlp.up_proj.weight"),
        ("model.norm.weight", "model.language_model.norm.weight"),
        ("model.visual.merger.mlp.2.bias", "model.visual.merger.mlp.2.bias"),
        ("model.language_model.norm.weight", "model.language_model.norm.weight"),
    ],
)
def test_both_namings_of_qwen_become_ours(published: str, ours: str) -> None:
    assert our_name(Q + published) == Q + ours


def test_the_language_head_is_dropped_and_other_names_stay() -> None:
    assert our_name(f"{Q}lm_head.weight") is None
    assert our_name("layer_qformer.query_tokens") == "layer_qformer.query_tokens"
    assert our_name("model.norm.weight") == "model.norm.weight"


def test_old_and_new_names_of_a_whole_checkpoint_are_the_same(
    shapes_of: Callable[..., dict[str, Any]], published_widths: Any
) -> None:
    old, new = (map_names(shapes_of(published_widths, old_names=old_names)) for old_names in (True, False))
    assert old.keys() == new.keys()
    assert list(new.values()) == list(new)
    assert sum(old[name] != name for name in old) == 824


def test_two_names_of_one_parameter_are_both_named() -> None:
    names = [f"{Q}model.norm.weight", f"{Q}model.language_model.norm.weight"]
    with pytest.raises(ManifestError, match=rf"1 parameters .*{names[0]} and {names[1]}"):
        map_names(names)
