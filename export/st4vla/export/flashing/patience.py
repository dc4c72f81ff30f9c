"""How long, and how often, a device is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """How long, and how often, a device is waited for.

    Attributes:
        welcome_s: For its first word: `ssh` has connected, and its agent has started.
        probes: How often a device is tried before the first wave.
        answer_s: For the answer to a question.
        silence_s: While it is sent files: nothing has moved on the link.
        install_silence_s: While it installs: it has said nothing. It may have nothing to say while it compiles one
            graph. That the link is dead, `ssh` finds out sooner.
        retries: How often in a row the link may be opened again without getting any further.
        first_pause_s: Before the first of these; each later one is twice as long.
        longest_pause_s: No pause is longer.
        steady_s: A link on which a device talked for so long has got further, too.
        installs: How often a device may be asked to install, when it forgot that it was because it lost its power.
    """

    welcome_s: float = 60.0
    probes: int = 2
    answer_s: float = 60.0
    silence_s: float = 60.0
    install_silence_s: float = 600.0
    retries: int = 8
    first_pause_s: float = 1.0
    longest_pause_s: float = 15.0
    steady_s: float = 30.0
    installs: int = 2
