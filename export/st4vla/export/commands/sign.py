"""`st4vla sign BUNDLE --key FILE`: release a bundle for devices; `--verify` says whether one is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command, require_positive
from st4vla.contracts.errors import UsageError
from st4vla.contracts.release import RELEASE_FILE, LatencyBudget, Release, Requirements, TrustList
from st4vla.export.signing import Terms, sign_bundle
from st4vla.runtime.signing import read_trust, verify_bundle
from st4vla.runtime.signing.secret_keys import read_secret_key


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of a bundle")
    parser.add_argument(
        "--key",
        type=Path,
        action="append",
        metavar="FILE",
        help="secret key to sign with, NAME.secret.pem; given twice, with the old and the new one, to change keys",
    )
    parser.add_argument("--trust", type=Path, metavar="FILE", help="list of trusted keys that devices have")
    parser.add_argument("--verify", action="store_true", help="sign nothing; check signature and files by --trust")
    parser.add_argument(
        "--counter", type=int, metavar="N", help="number of the release; devices take none lower (default: UTC seconds)"
    )
    for option, text in (
        ("machine", "instruction set it is for, such as aarch64"),
        ("jetpack", "beginning of the L4T releases it is for, such as 36.4"),
        ("backend", "engine library it is for, such as tensorrt"),
        ("power-mode", "nvpmodel's mode it is for, such as MAXN"),
    ):
        parser.add_argument(f"--{option}", action="append", default=[], help=f"{text}; may be given again")
    parser.add_argument("--memory-gb", type=float, metavar="GB", help="least memory of a device, in 10^9 bytes")
    parser.add_argument("--system1-ms", type=float, metavar="MS", help="most that views to a chunk may take there")
    parser.add_argument("--system2-ms", type=float, metavar="MS", help="most that the planner may take there")
    parser.add_argument("--note", default="", help="what is new, for people")
    parser.epilog = "Keys are made with st4vla keys signing, lists with st4vla keys trust; docs/signing.md."


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    trust = read_trust(options.trust) if options.trust else None
    if options.verify:
        return _verify(options, trust)
    if not options.key:
        msg = "name a secret key with --key; make one with `st4vla keys signing NAME --out FOLDER`"
        raise UsageError(msg)
    require_positive(options, "memory_gb", "system1_ms", "system2_ms")
    if options.counter is not None and not 0 < options.counter < 2**63:
        msg = f"--counter {options.counter}: must be at least 1 and below 2**63"
        raise UsageError(msg)
    terms = Terms(
        Requirements(
            tuple(options.machine),
            tuple(options.jetpack),
            tuple(options.backend),
            tuple(options.power_mode),
            round((options.memory_gb or 0) * 1e9),
        ),
        LatencyBudget(options.system1_ms, options.system2_ms),
        options.note,
    )
    keys = [read_secret_key(path) for path in options.key]
    release = sign_bundle(options.bundle, keys, terms, counter=options.counter, trust=trust)
    print(f"{options.bundle / RELEASE_FILE}: release {release.counter} of {release.bundle_name!r}")
    for path, key in zip(options.key, keys, strict=True):
        print(f"signed with {path}, key id {key.key_id}")
    if trust is None:
        print("whether devices trust that was not checked; name their list with --trust")
    return {**_answer(release), "key_ids": [key.key_id for key in keys]}


def _verify(options: argparse.Namespace, trust: TrustList | None) -> Mapping[str, Any]:
    if trust is None or options.key:
        msg = "--verify needs the list of trusted keys, --trust FILE, and no --key"
        raise UsageError(msg)
    bundle, release, key_id = verify_bundle(options.bundle, trust)
    print(f"{options.bundle}: {len(bundle.manifest.files)} files are those of {release.bundle_name!r}")
    print(f"release {release.counter}, signed {release.signed_at} by {trust.keys[key_id].name!r}, key id {key_id}")
    return {**_answer(release), "key_ids": [key_id]}


def _answer(release: Release) -> dict[str, Any]:
    return {"bundle": release.bundle_name, "digest": release.manifest_sha256, "counter": release.counter}


COMMAND = Command("Sign a bundle for devices, or check that it is.", _configure, _run)
