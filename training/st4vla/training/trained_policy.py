"""The policy that a run has trained, in one piece."""

from pathlib import Path

from st4vla.training.checkpoint import load_checkpoint
from st4vla.training.loop.states import load_trained
from st4vla.training.loop.world import World
from st4vla.training.policy import St4vlaPolicy


def whole_policy(start: Path, run: Path, policy: St4vlaPolicy, world: World) -> St4vlaPolicy:
    """Return the trained policy as it is, or where processes share it, from the last state.

    Args:
        start: Checkpoint that the run began with.
        run: Folder of the run.
        policy: What was trained, sharded perhaps.
        world: Where.

    Raises:
        TrainingError: The run has no state.
    """
    if world.processes.count == 1:
        return policy
    whole = load_checkpoint(start).policy
    whole.sampler = policy.sampler
    load_trained(run, whole)
    return whole
