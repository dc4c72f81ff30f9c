"""An observation on its way through the runtime."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from msgspec.structs import replace

from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import Observation
from st4vla.runtime.policy import Views
from st4vla.runtime.views import check_views, stack_views


class Frame:
    """An observation, when it arrived, and its views, which are decoded when somebody first asks for them.

    Most frames of a fast camera are replaced by newer ones before anybody does.

    Attributes:
        observation: The message, without its views once these are decoded.
        capture_ns: When its oldest view was captured, on the client's clock.
        received_ns: When it arrived, on this machine's.

    Args:
        observation: A message whose views may be views into its bytes.
        received_ns: When it arrived, on this machine's clock.
        specs: The views that the policy takes.

    Raises:
        ObservationError: Views of other names, number or size than the policy's.
    """

    def __init__(self, observation: Observation, received_ns: int, specs: Sequence[ViewSpec]) -> None:
        check_views(observation, specs)
        self.observation = observation
        self.capture_ns = observation.capture_ns
        self.received_ns = received_ns
        self._specs = specs
        self._views: Views | None = None
        self._lock = threading.Lock()

    @property
    def view_count(self) -> int:
        """How many views it has."""
        return len(self._specs)

    @property
    def views(self) -> Views:
        """Views uint8 [V, H, W, 3] in the policy's order.

        Raises:
            ObservationError: A broken JPEG.
        """
        with self._lock:
            if self._views is None:
                self._views = stack_views(self.observation, self._specs)
                # The message's bytes may go.
                self.observation = replace(self.observation, views=())
            return self._views
