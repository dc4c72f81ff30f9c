"""What stage 2 measures while it trains: held-out errors, grounding that is kept or lost, and how gradients agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tokenizers import Tokenizer

from st4vla.contracts.prompts import PromptSpec
from st4vla.training.actions.config import MeasuringConfig
from st4vla.training.actions.demonstrations import Demonstrations
from st4vla.training.actions.error import Floats, measure_action_error
from st4vla.training.evaluation.similarity import module_similarity
from st4vla.training.grounding.accuracy import Found, accuracy, ask_for_boxes
from st4vla.training.grounding.batches import GroundingSet
from st4vla.training.loop.trainer import Objective
from st4vla.training.policy import St4vlaPolicy

#: The gradients of one fixed step are compared, so that what changes between measurements is the policy.
PROBE_STEP = 0


class HeldOut:
    """Held-out demonstrations and boxes.

    Args:
        tokenizer: The policy's.
        prompt: How it is spoken to.
        config: How much is measured.
        demonstrations: Held-out moments, each set with the mean chunk of its training set.
        samples: Held-out boxes; None leaves grounding out.
        seed: Which moments and boxes, and the noise of sampled chunks.
        progress: Called with what is measured, how many are done, and of how many.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: PromptSpec,
        config: MeasuringConfig,
        *,
        demonstrations: Sequence[tuple[Demonstrations, Floats]],
        samples: GroundingSet | None,
        seed: int,
        progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> None:
        self._tokenizer, self._prompt, self._config = tokenizer, prompt, config
        self._demonstrations, self._samples, self._seed, self._progress = demonstrations, samples, seed, progress
        self.found: list[Found] = []

    def measure(self, policy: St4vlaPolicy) -> Mapping[str, float]:
        """Return a policy's figures as metrics name them; it is in evaluation mode afterwards.

        The boxes that were asked for are kept in `found`.
        """
        policy.eval()
        figures: dict[str, float] = {}
        if self._demonstrations:
            error = measure_action_error(
                policy,
                self._tokenizer,
                self._prompt,
                self._demonstrations,
                count=self._config.moments,
                seed=self._seed,
                progress=lambda done, total: self._progress("moments", done, total),
            )
            figures |= {
                "held_out_squared": error.squared,
                "held_out_absolute": error.absolute,
                "held_out_squared_ratio": error.squared_ratio,
                "held_out_absolute_ratio": error.absolute_ratio,
            }
        if self._samples is not None:
            self.found = ask_for_boxes(
                policy,
                self._tokenizer,
                self._samples,
                count=self._config.boxes,
                seed=self._seed,
                progress=lambda done, total: self._progress("boxes", done, total),
            )
            figures["held_out_boxes"] = accuracy(self.found)
        return figures


class GradientAgreement:
    """The projection-space similarity of the gradients of two objectives; see `module_similarity`.

    Args:
        policy: What both reach.
        actions: One objective; its `PROBE_STEP` is compared.
        grounding: The other.
        rank: Leading directions.
        weights: Ends of the names of weights; none is the query projection of the planner's last layer.
    """

    def __init__(
        self, policy: St4vlaPolicy, actions: Objective, grounding: Objective, *, rank: int, weights: Sequence[str]
    ) -> None:
        self._policy, self._objectives, self._rank = policy, (actions, grounding), rank
        last = policy.config.planner.depth - 1
        self._weights = tuple(weights) or (f"language_model.layers.{last}.self_attn.q_proj.weight",)

    def measure(self) -> Mapping[str, float]:
        """Return ``similarity``, its ``similarity_chance`` and the ``gradient_cosine``; nothing where one is zero."""
        # Without dropout: what is compared is the objectives, not their noise.
        self._policy.eval()
        losses = [sum(each.losses(PROBE_STEP).values()) for each in self._objectives]
        planner = self._policy.qwen_vl_interface.model
        found = module_similarity(
            planner, losses[0], losses[1], rank=self._rank, match=lambda name: name.endswith(self._weights)
        )
        names = {"mean": "similarity", "chance": "similarity_chance", "cosine": "gradient_cosine"}
        return {name: found[key] for key, name in names.items() if key in found}
