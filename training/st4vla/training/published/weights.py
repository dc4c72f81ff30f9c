"""Look into published weights without reading them, and take out one tensor at a time.

Three forms are known: a `.pt` that `torch.save` wrote, with nothing but a flat table of tensors in it; a `.safetensors`
file; and shards of the latter, as a folder or its `*.safetensors.index.json`. All are mapped into memory: a tensor
costs none until its values are used, and the file has to stay as it is while one of its tensors lives.
"""

import json
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from st4vla.contracts.errors import FileMissingError, ManifestError

PICKLED_SUFFIXES = (".pt", ".pth", ".bin")
INDEX_SUFFIX = ".safetensors.index.json"
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class WeightInfo(NamedTuple):
    """What is known of a stored tensor before it is read."""

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class WeightStore:
    """Stored tensors by name.

    Attributes:
        path: The file or folder.
        infos: Shape and dtype of each.
        read: Returns the tensor of a name, mapped from its file.
    """

    path: Path
    infos: Mapping[str, WeightInfo]
    read: Callable[[str], Tensor]


def open_weights(path: Path) -> WeightStore:
    """Return the weights in a file or a folder; nothing but tables of contents is read.

    Raises:
        FileMissingError: The file, or a shard that an index names, is not there.
        ManifestError: Not weights in a known form, cut short, or a pickle with more than tensors in it.
    """
    if not path.exists():
        raise FileMissingError(
            f"{path} is not there; name a .pt or .safetensors file, or a folder with *{INDEX_SUFFIX} and its shards"
        )
    if path.is_dir():
        return _open_folder(path)
    if path.name.endswith(INDEX_SUFFIX):
        return _open_index(path)
    if path.suffix == ".safetensors":
        return _open_shards(path, [path])
    if path.suffix in PICKLED_SUFFIXES:
        return _open_pickled(path)
    raise ManifestError(
        f"{path} is not a checkpoint by its name; known are {', '.join(PICKLED_SUFFIXES)}, .safetensors and "
        f"*{INDEX_SUFFIX}"
    )


def _open_pickled(path: Path) -> WeightStore:
    # Anything but the archives of torch.save would go to Python's own unpickler.
    if not zipfile.is_zipfile(path):
        raise ManifestError(
            f"{path} is not an archive of torch.save, or it was cut short; copy it again, or save it again with a "
            "PyTorch of 1.6 or newer"
        )
    try:
        table = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)", str(error))
        if name is None:
            raise ManifestError(f"{path} is corrupt: {_first_line(error)}; copy it again") from error
        raise ManifestError(
            f"{path} holds code ({name[1]}) and is not loaded: unpickling would run it; ask for a file with nothing "
            "but tensors in it, best of all .safetensors"
        ) from error
    except (RuntimeError, ValueError, EOFError, KeyError, OSError) as error:
        raise ManifestError(f"{path} is corrupt: {_first_line(error)}; copy it again") from error
    foreign = _foreign(table)
    if foreign:
        raise ManifestError(f"{path} is not a flat table of tensors: {foreign}; save the model's state_dict() alone")
    infos = {name: WeightInfo(tuple(tensor.shape), tensor.dtype) for name, tensor in table.items()}
    return WeightStore(path, infos, table.__getitem__)


def _open_folder(folder: Path) -> WeightStore:
    indexes = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    if len(indexes) == 1:
        return _open_index(indexes[0])
    if indexes:
        raise ManifestError(f"{folder} has several indexes: {', '.join(i.name for i in indexes)}; name one of them")
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise ManifestError(f"{folder} is not a checkpoint: it has neither *.safetensors nor *{INDEX_SUFFIX}")
    return _open_shards(folder, shards)


def _open_index(path: Path) -> WeightStore:
    try:
        index = json.loads(path.read_bytes())
        table: dict[str, str] = dict(index["weight_map"])
        names = sorted({str(name) for name in table.values()})
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ManifestError(f"{path} is not an index of shards, which has a 'weight_map': {error!r}") from error
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise ManifestError(f"{path} names {', '.join(outside)}, which is not beside it; shards are files beside it")
    absent = [name for name in names if not (path.parent / name).is_file()]
    if absent:
        raise FileMissingError(f"{path} names the shards {', '.join(absent)}, which are not there; copy them beside it")
    store = _open_shards(path, [path.parent / name for name in names])
    lost = [name for name in table if name not in store.infos]
    if lost:
        raise ManifestError(f"{path} names {len(lost)} tensors that no shard holds: {', '.join(lost[:20])}")
    return store


def _open_shards(path: Path, shards: list[Path]) -> WeightStore:
    infos: dict[str, WeightInfo] = {}
    owners: dict[str, Any] = {}
    files: dict[str, Path] = {}
    for shard in shards:
        try:
            handle: Any = safe_open(shard, framework="pt", device="cpu")
        except (SafetensorError, OSError) as error:
            raise ManifestError(f"{shard} is not a safetensors file, or corrupt: {error}; copy it again") from error
        for name in handle.keys():  # noqa: SIM118 - not a mapping
            if name in files:
                raise ManifestError(f"{name} is both in {files[name]} and in {shard}; leave one of them out")
            view = handle.get_slice(name)
            if view.get_dtype() not in _DTYPES:
                known = ", ".join(_DTYPES)
                raise ManifestError(f"{shard}: {name} is of dtype {view.get_dtype()}; known are {known}")
            infos[name] = WeightInfo(tuple(view.get_shape()), _DTYPES[view.get_dtype()])
            owners[name], files[name] = handle, shard

    def read(name: str) -> Tensor:
        return owners[name].get_tensor(name)

    return WeightStore(path, infos, read)


def _foreign(table: object) -> str | None:
    """Say what keeps an unpickled object from being a flat table of tensors."""
    if not isinstance(table, Mapping):
        return f"it is a {type(table).__name__}"
    others = [f"{name!r} is a {type(value).__name__}" for name, value in table.items() if not isinstance(value, Tensor)]
    return ", ".join(others[:4]) or None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
