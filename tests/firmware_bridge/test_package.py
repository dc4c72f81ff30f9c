"""The installed package as a stranger has it: the prefix, the examples, and nothing else of this project."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., Any]


def call(*command: object, **environment: str) -> str:
    texts = [str(word) for word in command]
    environment = os.environ | environment
    ended = subprocess.run(texts, capture_output=True, check=False, text=True, env=environment, timeout=120)
    assert ended.returncode == 0, f"{' '.join(texts)}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def prefix(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefix")
    call("cmake", "--install", library.parents[1], "--prefix", folder)
    return folder


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy, so that nothing beside it can be found."""
    return Path(shutil.copytree(ROOT / "firmware_bridge" / "examples", tmp_path / "examples"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        pixels = np.full((28, 28, 3), 80 * index, np.uint8)
        (folder / f"{index}.jpg").write_bytes(simplejpeg.encode_jpeg(pixels))
    return folder


def test_the_example_in_c_is_short() -> None:
    assert len((ROOT / "firmware_bridge" / "examples" / "stream_folder.c").read_text().splitlines()) < 60


def test_examples_build_with_find_package_and_run(
    prefix: Path, examples: Path, photos: Path, serve: Run, tmp_path: Path
) -> None:
    build = tmp_path / "build"
    call("cmake", "-S", examples, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    call("cmake", "--build", build)
    server = serve()
    out = call(build / "stream_pattern", server.endpoint, 3)
    assert [line.split(" of ")[1] for line in out.splitlines()] == ["16 x 7"] * 3


def test_the_example_in_c_builds_with_pkg_config_and_prints_setpoints(
    prefix: Path, examples: Path, photos: Path, serve: Run, tmp_path: Path
) -> None:
    packages = {"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}
    flags = call("pkg-config", "--cflags", "--libs", "st4vla_bridge", **packages).split()
    program = tmp_path / "stream_folder"
    warnings = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
    call("cc", *warnings, examples / "stream_folder.c", "-o", program, *flags, f"-Wl,-rpath,{prefix}/lib")
    server = serve()
    lines = call(program, server.endpoint, photos, 500).splitlines()
    assert len(lines) == 500
    places, chunks = zip(*(line.split(": ")[1].split(", by chunk ") for line in lines), strict=True)
    assert places[0] == "x 0.500000 y 0.000000 z 0.300000 m"
    assert chunks[0] == "0"
    assert int(chunks[-1]) > 0
    assert places[-1] != places[0]


def test_the_installed_program_finds_its_library(prefix: Path) -> None:
    assert call(prefix / "bin" / "st4vla-bridge", "--help").startswith("usage: st4vla-bridge")


def test_the_header_for_cpp_compiles_with_every_warning(prefix: Path, tmp_path: Path) -> None:
    source = tmp_path / "all.cpp"
    source.write_text("#include <st4vla/bridge.hpp>\nint main() { return st4vla_abi_version() == 0; }\n")
    warnings = ("-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
    call("c++", *warnings, f"-I{prefix}/include", source, "-o", tmp_path / "all", f"-L{prefix}/lib", "-lst4vla_bridge")
