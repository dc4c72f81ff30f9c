"""What `st4vla train actions` reads."""

from __future__ import annotations

from pathlib import Path

import msgspec

from st4vla.training.grounding.stage import SamplesConfig
from st4vla.training.loop.trainer import LoopConfig


class DemonstrationsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A LeRobot data set of the mixture; see `Demonstrations`.

    Attributes:
        folder: The data set.
        embodiment: Whose statistics its actions are normalised with, those of all its data sets together; at run time
            the robot is chosen by this name.
        weight: How often it is drawn, relative to the others.
        split: Episodes to learn from.
        held_out: Episodes that errors are measured on; none leaves this data set out of the measurement.
        parts: Parts of its action vector that are the policy's, in order.
        cameras: The policy's name of a camera to the data set's, where they differ.
        any_rate: Take it though its rate is not the policy's.
        drop_pauses: Leave out moments in which nothing moves.
    """

    folder: Path
    embodiment: str
    weight: float = 1.0
    split: str = "train"
    held_out: str | None = "val"
    parts: tuple[str, ...] = ()
    cameras: dict[str, str] = {}
    any_rate: bool = False
    drop_pauses: bool = False


class CoTrainingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Grounding data in every step beside the demonstrations.

    Attributes:
        data: The mixture.
        batch_size: Conversations in a step.
        weight: Factor on their loss (0.1 in the published configurations).
    """

    data: tuple[SamplesConfig, ...]
    batch_size: int = 16
    weight: float = 0.1


class MeasuringConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is measured while training, and after it.

    Attributes:
        every: Steps from one measurement to the next; 0 measures before and after only.
        moments: Held-out chunks that are sampled.
        boxes: Held-out boxes that are asked for; needs `samples`.
        samples: Held-out grounding samples; without them, grounding is not measured.
        similarity_every: Steps between measurements of the gradients' similarity; 0 for none. It needs the training
            samples of `co_training`, or `similarity_samples`.
        similarity_samples: Grounding samples whose gradient is compared, where a run does not learn from any.
        similarity_batch: Moments, and conversations, that a gradient is taken over; always the same ones.
        similarity_rank: Leading directions of each gradient that are compared.
        similarity_weights: Ends of the names of the planner's weights to compare; none is the query projection of its
            last layer, as in the paper.
    """

    every: int = 0
    moments: int = 256
    boxes: int = 100
    samples: SamplesConfig | None = None
    similarity_every: int = 0
    similarity_samples: SamplesConfig | None = None
    similarity_batch: int = 64
    similarity_rank: int = 8
    similarity_weights: tuple[str, ...] = ()


class ActionsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run of stage 2.

    Attributes:
        checkpoint: Where to begin.
        data: Demonstrations.
        loop: How long and how fast.
        prompt: Spatial prompt: a name such as ``generic``, or a text with ``{instruction}``; none keeps the
            checkpoint's. It goes into the checkpoint that is written.
        co_training: Grounding data beside them, in the same optimiser step; none for actions alone.
        measuring: What is measured.
        batch_size: Moments in a step.
        min_range: Smallest range of a dimension of the action, in the robot's units, that is stretched to the policy's
            -1 to 1; narrower ones are noise, see `widened`.
        noise_draws: Noises and timesteps for each moment.
        max_delay: Actions, at most, that are shown clean; see `ActionObjective`. Above 0, the checkpoint's sampler
            shows committed actions clean too.
        fresh_head: Begin with a new action head, see `DiffusionTransformer.begin_as_identity`, and not the
            checkpoint's: for one that has never learnt actions.
        weight: Factor on the action loss.
        min_snr: Bound of the timesteps' weights, see `ActionObjective`; with a small one (0.1) errors count as they are
            in the clean chunk. 0 weighs all alike, as the reference does.
        rate: Peak learning rate of what `rates` does not name.
        rates: Path of a module to its peak learning rate.
        frozen: Paths of modules that do not learn.
    """

    checkpoint: Path
    data: tuple[DemonstrationsConfig, ...]
    loop: LoopConfig
    prompt: str | None = None
    co_training: CoTrainingConfig | None = None
    measuring: MeasuringConfig = MeasuringConfig()
    batch_size: int = 16
    min_range: float = 0.0
    noise_draws: int = 4
    max_delay: int = 0
    fresh_head: bool = False
    weight: float = 1.0
    min_snr: float = 0.0
    rate: float = 1e-3
    rates: dict[str, float] = {}
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.min_range < 0 or self.min_snr < 0:
            msg = f"min_range {self.min_range:g} and min_snr {self.min_snr:g} must be 0, which is none, or positive"
            raise ValueError(msg)
