"""The policy of a bundle, run by its engines."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from typing_extensions import Self

from st4vla.contracts.action import ActionNormalizer
from st4vla.contracts.errors import PromptError
from st4vla.contracts.manifests import GRAPH_NAMES, Bundle, CpuSettings, EnginesManifest, degradation
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.engines.backend import Backend
from st4vla.runtime.engines.engine import Engine
from st4vla.runtime.golden import golden_part, load_golden, load_golden_chunk, measure_parity, require_parity
from st4vla.runtime.noise import seeded_noise
from st4vla.runtime.policy import Acted, PlanTensors, PolicyInfo, Views
from st4vla.runtime.sampler import Sampler

LOG = logging.getLogger(__name__)
NOT_SERVED = "it is not served; flash the bundle again"


class BundlePolicy:
    """Both systems of a bundle on this machine's engines, used as a context manager.

    Args:
        bundle: A verified bundle.
        engines: Manifest of its engines, as `open_engines` returned it.
        folder: Where the engines lie.
        backend: The back end that made them.
        system1_threads: CPU threads of the fast system's engines, without spinning; None for what was measured.
        system2_threads: The same for the slow one's.
    """

    def __init__(
        self,
        bundle: Bundle,
        engines: EnginesManifest,
        folder: Path,
        backend: Backend,
        *,
        system1_threads: int | None = None,
        system2_threads: int | None = None,
    ) -> None:
        manifest = bundle.manifest
        warning = degradation(manifest)
        if warning is not None:
            LOG.warning(warning)
        self.info = PolicyInfo(manifest.name, bytes.fromhex(bundle.digest), manifest.views, manifest.action)
        self._bundle = bundle
        self._prompt = manifest.prompt
        self._normalizer = ActionNormalizer(manifest.action, manifest.statistics)
        self._tokenizer: Any = Tokenizer.from_file(str(bundle.path(manifest.tokenizer)))
        self._cleanup = ExitStack()
        threads = {"planner": system2_threads, "bridge": system1_threads, "sampler": system1_threads}
        self._engines: dict[str, Engine] = {}
        for name in manifest.graphs:
            entry, given, urgent = engines.engines[name], threads[name], name != "planner"
            cpu = entry.cpu if given is None else CpuSettings(given)
            engine = backend.load(folder / entry.file, bundle.tensors(name), cpu=cpu, urgent=urgent)
            self._engines[name] = self._cleanup.enter_context(engine)
        self._sampler = Sampler(self._engines["sampler"], manifest.sampler.num_steps)
        shape = (1, manifest.action.horizon, manifest.action.dim)
        self._no_prefix = np.zeros(shape, np.float32)
        self._no_weights = np.zeros(shape[:2], np.float32)

    def warm_up(self) -> None:
        """Run every engine on the bundle's golden inputs."""
        for name, engine in self._engines.items():
            engine.warm_up(load_golden(self._bundle, name)[0])

    def require_parity(self) -> None:
        """Compare every engine as it was loaded here, and all of them together, with the bundle's golden numbers.

        Raises:
            ParityError: One of them differs too much.
        """
        known, golden = load_golden_chunk(self._bundle)
        for name in GRAPH_NAMES:
            engine = self._engines[name]
            inputs, outputs = load_golden(self._bundle, name)
            parity = measure_parity(outputs, engine.run(inputs))
            require_parity(self._bundle, name, parity, f"engine {name!r} as it was loaded", NOT_SERVED)
            known |= golden_part(self._bundle, engine, known)
        actions = measure_parity({"actions": golden}, known)
        require_parity(self._bundle, "actions", actions, "the chunk of all engines as they were loaded", NOT_SERVED)

    def plan(self, views: Views, instruction: str) -> PlanTensors:
        """Run System 2 on uint8 views [V, H, W, 3].

        Raises:
            PromptError: The instruction cannot become a prompt, or is too long.
            EngineError: The engine failed.
        """
        ids = self._tokenizer.encode(self._prompt.render(instruction), add_special_tokens=False).ids
        if len(ids) > self._prompt.max_tokens:
            limit = self._prompt.max_tokens
            msg = f"the instruction makes a prompt of {len(ids)} tokens; at most {limit} fit: shorten it"
            raise PromptError(msg)
        tensors = self._engines["planner"].run({"views": views, "token_ids": np.array([ids], np.int64)})
        return PlanTensors(tensors, len(ids))

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        """Run System 1 on uint8 views [V, H, W, 3], holding to what a splice says.

        Raises:
            EngineError: An engine failed.
        """
        bridged = self._engines["bridge"].run({"views": views, **plan.tensors})
        feeds = {
            "condition": bridged["condition"],
            "noise": seeded_noise(seed, self.info.action.horizon, self.info.action.dim),
            "prefix": self._no_prefix if splice.prefix is None else splice.prefix[None],
            "prefix_weights": self._no_weights if splice.weights is None else splice.weights[None],
        }
        return Acted(self._sampler.sample(feeds)[0], bridged["cells"][0] if "cells" in bridged else None)

    def unnormalize(self, actions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return actions [T, A] in the robot's units."""
        return self._normalizer.unnormalize(actions).astype(np.float32)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()
