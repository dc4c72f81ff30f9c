"""How one of several training processes ends."""

import os
import sys

from torch import distributed


def leave_together(status: int) -> None:
    """End this process, if it is one of several, once all of them are done; return if it is alone.

    Nobody leaves while another still talks to it, and none runs destructors: torch's threads of a group may still be
    running then, which ends a process with SIGABRT after all its work.
    """
    if distributed.is_initialized():
        distributed.barrier()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
