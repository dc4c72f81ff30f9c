import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_runtime_loads_no_training_framework() -> None:
    program = (
        "import sys, pkgutil, importlib, st4vla.runtime as r\n"
        "for m in pkgutil.walk_packages(r.__path__, 'st4vla.runtime.'): importlib.import_module(m.name)\n"
        "print([m for m in ('torch', 'transformers', 'onnx', 'onnxruntime') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"


def test_the_namespace_has_no_init_file() -> None:
    rooms = sorted(path.parent.name for path in ROOT.glob("*/st4vla"))
    assert rooms == ["benchmarks", "contracts", "export", "runtime", "training"]
    assert not list(ROOT.glob("*/st4vla/__init__.py"))
