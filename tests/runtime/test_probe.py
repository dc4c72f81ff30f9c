from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from st4vla.contracts.manifests import Bundle
from st4vla.runtime import probe as probing
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.compiling import compile_bundle
from st4vla.runtime.core import Core
from st4vla.runtime.curve import ServerKeys
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.catalogue import choose_backend
from st4vla.runtime.policy import Acted, PlanTensors, Views
from st4vla.runtime.probe import probe
from st4vla.runtime.server import Server


class Broken(BundlePolicy):
    """Answers with NaN."""

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        acted = super().act(views, plan, seed, splice)
        acted.actions[0, 0] = np.nan
        return acted


Serve = Callable[..., str]


@pytest.fixture
def serve(bundle: Bundle, tmp_path: Path) -> Iterator[Serve]:
    """Return what serves the bundle and says where."""
    backend, folder = choose_backend(None), tmp_path / "engines"
    engines = compile_bundle(bundle, backend, this_device().fingerprint(backend), folder)
    with ExitStack() as cleanup:

        def start(kind: type[BundlePolicy] = BundlePolicy, keys: ServerKeys | None = None) -> str:
            policy = cleanup.enter_context(kind(bundle, engines, folder, backend))
            server = Server(Core(policy), "tcp://127.0.0.1:*", keys)
            server.start()
            cleanup.callback(server.stop)
            return server.endpoint

        yield start


def test_the_golden_views_get_finite_chunks(bundle: Bundle, serve: Serve) -> None:
    report = probe(bundle, serve(), None)
    assert (report.text, report.chunks) == ("", probing.CHUNKS)
    assert report.system1_ms is not None
    assert report.system2_ms is not None


def test_a_server_with_keys_lets_its_own_probe_in_and_nobody_else_by_that(
    bundle: Bundle, serve: Serve, keyring: Any
) -> None:
    keyring.client("robot")
    keys = ServerKeys.load(keyring.server)
    before = dict(keys.clients.allowed)
    assert probe(bundle, serve(keys=keys), keys).text == ""
    assert dict(keys.clients.allowed) == before


def test_a_policy_that_answers_with_nan_is_told_of(bundle: Bundle, serve: Serve) -> None:
    assert "the golden views were refused (unsafe_output)" in probe(bundle, serve(Broken), None).text


def test_a_server_that_is_not_there_is_told_of(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "TIMEOUT_S", 0.3)
    assert "the golden views got 0 chunks within 0.3 s" in probe(bundle, "tcp://127.0.0.1:9", None).text
