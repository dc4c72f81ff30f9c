"""Turn the folder of a published run into a checkpoint of ours.

The folder holds `config.yaml`, `dataset_statistics.json` and `checkpoints/steps_N_pytorch_model.pt`. Weights stay in
the dtype in which they are stored and are mapped from their file, so that memory never holds them twice.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from st4vla.contracts.errors import FileMissingError, ManifestError
from st4vla.contracts.manifests import CHECKPOINT_FORMAT, CheckpointManifest, ViewSpec
from st4vla.contracts.model_config import ModelConfig, SamplerConfig
from st4vla.contracts.prompts import PromptSpec
from st4vla.training.checkpoint import Checkpoint
from st4vla.training.empty_policy import EMBEDDING, TIED, assign, build_empty_policy, find_misfits
from st4vla.training.model.dinov2 import DINOV2_SIZES
from st4vla.training.model.planner import SPECIAL_TOKENS, special_token_id
from st4vla.training.presets import get_preset
from st4vla.training.published.names import map_names
from st4vla.training.published.run_config import CONFIG_FILE, RunConfig, read_run_config
from st4vla.training.published.sizes import HeadCounts, Sizes, infer_sizes
from st4vla.training.published.statistics import action_spec, choose, read_statistics
from st4vla.training.published.weights import WeightStore, open_weights

DEFAULT_VIEWS = ("agentview", "wrist")
DEFAULT_ACTION_HZ = 20.0
MAX_TOKENS = 512
LOG = logging.getLogger(__name__)
_WEIGHTS = re.compile(r"steps_(\d+)_pytorch_model\.(pt|safetensors)")


def find_weights(folder: Path) -> Path:
    """Return a run's weights of the most steps, whatever their time stamps; .safetensors before .pt.

    Raises:
        FileMissingError: There are none.
    """
    files = (folder / "checkpoints").glob("steps_*_pytorch_model.*")
    matches = [(path, match) for path in files for match in (_WEIGHTS.fullmatch(path.name),) if match]
    if not matches:
        raise FileMissingError(
            f"no steps_*_pytorch_model.pt or .safetensors in {folder / 'checkpoints'}; is {folder} the folder of a "
            "run? Weights elsewhere are named with --weights"
        )
    return max(matches, key=lambda pair: (int(pair[1][1]), pair[1][2]))[0]


def load_published(
    folder: Path,
    *,
    tokenizer: Path,
    weights: Path | None = None,
    views: Sequence[str] = DEFAULT_VIEWS,
    embodiment: str | None = None,
    heads: HeadCounts | None = None,
    action_hz: float = DEFAULT_ACTION_HZ,
) -> Checkpoint:
    """Return a published policy in evaluation mode, its weights mapped from their file.

    Args:
        folder: Of the run.
        tokenizer: Qwen's `tokenizer.json`.
        weights: A `.pt`, a `.safetensors` or sharded ones; None takes the newest of the run.
        views: Names of the cameras in prompt order, which no published file tells.
        embodiment: Whose statistics to keep; None keeps all.
        heads: Attention heads, where widths are not published ones.
        action_hz: Actions per second, which no published file tells.

    Raises:
        FileMissingError: A file of the run is not there.
        ManifestError: Files that cannot be read, do not fit each other, or are not a whole policy.
        UsageError: An unknown embodiment, or embodiments that do not fit into one checkpoint.
    """
    config = read_run_config(folder)
    store = open_weights(weights or find_weights(folder))
    names = map_names(store.infos)
    infos = {ours: store.infos[published] for ours, published in names.items()}
    sizes = infer_sizes(
        {name: info.shape for name, info in infos.items()},
        config.start_layer,
        config.end_layer,
        heads=heads,
        gradient_decay=config.gradient_decay,
        image_size=config.image_size,
    )
    _cross_check(folder, config, sizes)
    manifest = _manifest(folder, config, sizes, views=views, embodiment=embodiment, action_hz=action_hz)
    text = _read_tokenizer(tokenizer, sizes.model.planner.vocabulary)
    try:
        policy = build_empty_policy(sizes.model, sizes.action_dim, sizes.horizon, manifest.sampler)
    except ValueError as error:
        raise ManifestError(f"{store.path} has widths that do not divide into heads: {error}") from error
    misfits = find_misfits(policy, infos)
    if misfits:
        raise ManifestError(f"{store.path} is not the policy that its sizes promise: {misfits}")
    _check_tie(store, names[EMBEDDING])
    assign(policy, lambda name: store.read(names[name]))
    return Checkpoint(manifest, policy, text)


def _manifest(
    folder: Path, config: RunConfig, sizes: Sizes, *, views: Sequence[str], embodiment: str | None, action_hz: float
) -> CheckpointManifest:
    model = sizes.model
    chosen = choose(read_statistics(folder, sizes.action_dim), embodiment)
    modes = next(iter(chosen.values())).modes
    return CheckpointManifest(
        format_version=CHECKPOINT_FORMAT,
        preset="base" if _same_networks(model, get_preset("base").model) else "published",
        seed=0,
        model=model,
        sampler=SamplerConfig(),
        views=tuple(ViewSpec(name, model.image_size, model.image_size) for name in views),
        action=action_spec(modes, sizes.horizon, action_hz),
        statistics={name: entry.statistics for name, entry in chosen.items()},
        # The reference lower-cases every instruction before its policy sees it.
        prompt=PromptSpec(config.template, len(views), model.tokens_per_view, MAX_TOKENS, lowercase=True),
        files={},
    )


def _same_networks(model: ModelConfig, other: ModelConfig) -> bool:
    return (model.planner, model.encoder, model.head) == (other.planner, other.encoder, other.head)


def _cross_check(folder: Path, config: RunConfig, sizes: Sizes) -> None:
    """Warn where the configuration contradicts the weights, which win."""
    path, encoder = folder / CONFIG_FILE, sizes.model.encoder
    unit = sizes.model.planner.vision.patch_size * sizes.model.planner.vision.merge_size
    if config.image_size % unit or config.image_size % encoder.patch_size:
        raise ManifestError(f"{path}: image_size {config.image_size} must be a multiple of {unit}")
    if config.horizon not in {None, sizes.horizon}:
        LOG.warning(
            "%s: future_action_window_size says chunks of %d actions, the weights are for %d; the weights win",
            path,
            config.horizon,
            sizes.horizon,
        )
    named = DINOV2_SIZES.get(config.dino_backbone or "", (None,))[0]
    if config.dino_backbone is not None and named != encoder.dim:
        actual = [name for name, (dim, _, _) in DINOV2_SIZES.items() if dim == encoder.dim]
        LOG.warning(
            "%s: dino_backbone says %s, the weights are %s; the weights win",
            path,
            config.dino_backbone,
            actual[0] if actual else f"of width {encoder.dim}",
        )


def _check_tie(store: WeightStore, embedding: str) -> None:
    """Warn of a language head that is not the embedding; only text needs it, and no action does."""
    if TIED in store.infos and not (
        store.infos[TIED] == store.infos[embedding] and torch.equal(store.read(TIED), store.read(embedding))
    ):
        LOG.warning("%s: %s is dropped, though it differs from %s: text will differ", store.path, TIED, embedding)


def _read_tokenizer(path: Path, vocabulary: int) -> Tokenizer:
    if not path.is_file():
        raise FileMissingError(f"{path} is not there; name the tokenizer.json of Qwen2.5-VL with --tokenizer")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise ManifestError(f"{path} is not a tokenizer.json: {error}") from error
    expected = {token: special_token_id(token, vocabulary) for token in SPECIAL_TOKENS}
    wrong = [f"{token} {tokenizer.token_to_id(token)} instead of {wanted}" for token, wanted in expected.items()
             if tokenizer.token_to_id(token) != wanted]  # fmt: skip
    if wrong:
        raise ManifestError(f"{path} is not the tokenizer of a vocabulary of {vocabulary}: {', '.join(wrong)}")
    return tokenizer
