"""Processes that do not outlive the one that started them."""

import os
import threading
import time

CHECK_S = 0.5


def end_with_parent(parent: int) -> None:
    """End this process soon after its parent is gone, however that ended.

    A second try of the same command must not find the first one's runs still being written.

    Args:
        parent: The parent's process id, as the parent knows it.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(CHECK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
