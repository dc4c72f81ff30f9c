"""`python -m st4vla.training …` is `st4vla train …`, as a module that `accelerate launch -m` or `torchrun -m` starts.

Of several processes, only the first writes to standard output, so that the command still ends with one JSON line.
"""

import os
import sys

from st4vla.contracts.command_line import main


def run() -> int:
    """Run ``st4vla train`` with this process's arguments and return the exit status."""
    if int(os.environ.get("RANK", "0")):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    status = main(["train", *sys.argv[1:]])
    if "torch" in sys.modules and status == 0:
        from st4vla.training.loop.leaving import leave_together  # noqa: PLC0415 - torch is not loaded for its own sake

        leave_together(status)
    return status


if __name__ == "__main__":
    sys.exit(run())
