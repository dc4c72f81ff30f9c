"""Read what shapes cannot tell from the `config.yaml` of a published run.

Published configurations carry fields that the released code never reads, and differ between versions; those that mean
nothing to us are named in one warning and otherwise left alone.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml  # type: ignore[import-untyped]

from st4vla.contracts.errors import FileMissingError, ManifestError
from st4vla.contracts.prompts import PLACEHOLDER, SPATIAL_PROMPTS

CONFIG_FILE = "config.yaml"
DEFAULT_IMAGE_SIZE = 224
LOG = logging.getLogger(__name__)

_START = "framework.layer_qformer.qformer_start_layer"
_END = "framework.layer_qformer.qformer_end_layer"
_GRADIENT = "framework.layer_qformer.grad_scale"
_BACKBONE = "framework.dino.dino_backbone"
_FUTURE = "framework.action_model.future_action_window_size"
_PAST = "framework.action_model.past_action_window_size"
_PROMPT = "datasets.vla_data.CoT_prompt"
_IMAGE = "datasets.vla_data.image_size"
_USED = {_START, _END, _GRADIENT, _BACKBONE, _FUTURE, _PAST, _PROMPT, _IMAGE}
# Sizes that the weights themselves tell, and how a run was trained: neither stale nor of use here.
_SILENT = {
    "framework.framework_py",
    "framework.qwenvl",
    "framework.layer_qformer.num_query_tokens",
    "framework.layer_qformer.input_dim",
    "framework.layer_qformer.ouptput_dim",  # so spelt in the published files
    "framework.action_model.action_model_type",
    "framework.action_model.action_hidden_dim",
    "framework.action_model.action_dim",
    "datasets.vlm_data",
    "datasets.vla_data.dataset_py",
    "datasets.vla_data.data_root_dir",
    "datasets.vla_data.data_mix",
    "datasets.vla_data.per_device_batch_size",
    "trainer",
    "run_id",
    "run_root_dir",
    "output_dir",
    "seed",
    "is_debug",
    "wandb_entity",
    "wandb_project",
}


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of a run's configuration that is used.

    Attributes:
        start_layer: First hidden state that the bridge reads.
        end_layer: The one after the last.
        template: For `PromptSpec`: a name in `SPATIAL_PROMPTS` or a text with ``{instruction}`` in it.
        image_size: Side of a view in pixels.
        gradient_decay: The reference reads `grad_scale` and never applies it; we do, as its paper says.
        horizon: T by the configuration, or None where it does not say; the weights decide.
        dino_backbone: DINOv2's name by the configuration, or None likewise.
    """

    start_layer: int
    end_layer: int
    template: str = "none"
    image_size: int = DEFAULT_IMAGE_SIZE
    gradient_decay: float = 0.5
    horizon: int | None = None
    dino_backbone: str | None = None


def read_run_config(folder: Path) -> RunConfig:
    """Return the configuration of a run's folder, and warn once of all fields that are stale or unknown.

    Raises:
        FileMissingError: No `config.yaml`.
        ManifestError: Not YAML, a needed field is missing, or a value that a field may not have.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileMissingError(
            f"{path} is not there; a run's folder holds {CONFIG_FILE} with {_START} and {_END}, which weights do not "
            "tell"
        )
    try:
        document = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, Mapping):
        raise ManifestError(f"{path} holds a {type(document).__name__}; it must be a table with 'framework' in it")
    fields = dict(_fields(document))
    unknown = sorted(name for name in fields if name not in _USED)
    if unknown:
        LOG.warning("%s: stale or unknown fields without effect: %s", path, ", ".join(unknown))
    if _integer(path, fields, _PAST, 0) != 0:
        raise ManifestError(f"{path}: {_PAST} is {fields[_PAST]}; a policy that reads past actions cannot be loaded")
    future = _integer(path, fields, _FUTURE, None)
    return RunConfig(
        start_layer=_required(path, fields, _START),
        end_layer=_required(path, fields, _END),
        template=_template(path, fields),
        image_size=_image_size(path, fields),
        gradient_decay=_gradient_decay(path, fields),
        horizon=None if future is None else future + 1,
        dino_backbone=None if fields.get(_BACKBONE) is None else str(fields[_BACKBONE]),
    )


def _fields(table: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield used fields, and others by the shortest name that covers no used or silent one."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if name in _SILENT:
            continue
        inner = any(other.startswith(f"{name}.") for other in _USED | _SILENT)
        if inner and isinstance(value, Mapping):
            yield from _fields(value, f"{name}.")
        elif name in _USED or value is not None:
            yield name, value


def _integer(path: Path, fields: Mapping[str, Any], name: str, default: int | None) -> int | None:
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ManifestError(f"{path}: {name} is {value!r}; it must be an integer of at least 0")
    return value


def _required(path: Path, fields: Mapping[str, Any], name: str) -> int:
    value = _integer(path, fields, name, None)
    if value is None:
        raise ManifestError(
            f"{path}: {name} is missing, and weights do not tell it; published runs have 36 for the start and 37 for "
            "the end"
        )
    return value


def _template(path: Path, fields: Mapping[str, Any]) -> str:
    prompt = fields.get(_PROMPT)
    if prompt is None or prompt == "":
        # The reference then passes the bare instruction.
        return "none"
    if not isinstance(prompt, str) or PLACEHOLDER not in prompt:
        raise ManifestError(f"{path}: {_PROMPT} is {prompt!r}; it must be a text with {PLACEHOLDER} in it")
    names = [name for name, text in SPATIAL_PROMPTS.items() if text == prompt]
    return names[0] if names else prompt


def _image_size(path: Path, fields: Mapping[str, Any]) -> int:
    value = fields.get(_IMAGE)
    if value is None:
        return DEFAULT_IMAGE_SIZE
    sides: list[Any] = value if isinstance(value, list) else [value]
    if not sides or any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
        raise ManifestError(f"{path}: {_IMAGE} is {value!r}; it must be a side in pixels, or two equal ones")
    if len(set(sides)) != 1:
        raise ManifestError(f"{path}: {_IMAGE} is {value!r}; views must be square")
    return int(sides[0])


def _gradient_decay(path: Path, fields: Mapping[str, Any]) -> float:
    value = fields.get(_GRADIENT)
    if value is None:
        return 0.5
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ManifestError(f"{path}: {_GRADIENT} is {value!r}; it must be a number from 0 to 1")
    return float(value)
