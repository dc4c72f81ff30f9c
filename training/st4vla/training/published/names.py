"""Map the names of published parameters to those of our policy.

They are the same but for Qwen2.5-VL, whose parts transformers 4.52 gathered under `model`. A checkpoint has the names
of the version that trained it.
"""

from collections import defaultdict
from collections.abc import Iterable

from st4vla.contracts.errors import ManifestError
from st4vla.training.empty_policy import TIED

_PLANNER = "qwen_vl_interface.model."
_LANGUAGE_PARTS = ("embed_tokens.", "layers.", "norm.")


def our_name(published: str) -> str | None:
    """Return our name of a published parameter, or None for the language head, which is tied to the embedding."""
    if published == TIED:
        return None
    rest = published.removeprefix(_PLANNER)
    if rest == published:
        return published
    if rest.startswith("visual."):
        return f"{_PLANNER}model.{rest}"
    part = rest.removeprefix("model.")
    if part != rest and part.startswith(_LANGUAGE_PARTS):
        return f"{_PLANNER}model.language_model.{part}"
    return published


def map_names(published: Iterable[str]) -> dict[str, str]:
    """Return the published name of each of our names, in the published order.

    Raises:
        ManifestError: Two published names are one of ours.
    """
    sources: dict[str, list[str]] = defaultdict(list)
    for name in published:
        ours = our_name(name)
        if ours is not None:
            sources[ours].append(name)
    twice = [" and ".join(names) for names in sources.values() if len(names) > 1]
    if twice:
        raise ManifestError(
            f"{len(twice)} parameters are stored under two names, of which one must go: {'; '.join(twice[:20])}"
        )
    return {ours: names[0] for ours, names in sources.items()}
