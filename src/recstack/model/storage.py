"""Model folders: `model.json` beside `weights.safetensors`, or shards and their index past 4 GB.

Weights are memory-mapped on load: nothing is read before it is used, and processes share pages.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from recstack.errors import ModelError, ModelFileError
from recstack.model.description import parse_description
from recstack.model.json_text import description_text, read_json
from recstack.model.mapped import MappedWeights
from recstack.model.model import Model, build
from recstack.model.requantise import requantised_weights
from recstack.model.safetensors import Tensor, read_safetensors, write_safetensors
from recstack.rows import RowFormat

SHARD_BYTES = 4 << 30
INDEX_NAME = "weights.safetensors.index.json"


def load(folder: str | Path) -> Model:
    """The model in `folder`, its weights memory-mapped.

    Raises ModelFileError naming file and place when a file is missing, truncated or malformed.
    """
    root = Path(folder)
    data = read_json(root / "model.json")
    try:
        description = parse_description(data)
        return build(description, _load_weights(root))
    except ModelFileError:
        raise
    except ModelError as error:
        raise ModelFileError(str(error), str(root)) from None


def save(
    model: Model, folder: Path, table_formats: Mapping[str, RowFormat], *, greedy: bool = True
) -> None:
    """Write `model` into `folder`, with these tables in these formats (`Model.save`).

    What stood there before stays until all is written.
    """
    description, weights = requantised_weights(model, table_formats, greedy=greedy)
    folder = folder.resolve()
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        (partial / "model.json").write_text(description_text(description), encoding="utf-8")
        _save_weights(partial, weights)
        replace_model(partial, folder)
    except OSError as error:
        raise ModelFileError(f"cannot write the model: {error.strerror}", str(folder)) from error
    except ValueError as error:
        raise ModelFileError(f"cannot write the description: {error}", str(folder)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_model(partial: Path, folder: Path) -> None:
    """Move `partial` to `folder`, replacing a model there but no other folder.

    Raises ModelFileError for another folder, OSError when the disk refuses.
    """
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "model.json").exists():
            raise ModelFileError("expected a model folder or none, got another folder", str(folder))
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        folder.rename(old)
        try:
            partial.rename(folder)
        except OSError:
            old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        partial.rename(folder)


def _load_weights(root: Path) -> MappedWeights:
    index = root / INDEX_NAME
    if not index.exists():
        return read_safetensors(root / "weights.safetensors")
    listing = read_json(index)
    names = listing.get("weight_map") if isinstance(listing, dict) else None
    if not isinstance(names, dict) or not all(isinstance(f, str) for f in names.values()):
        raise ModelFileError("expected an object `weight_map` of file names", str(index))
    weights = MappedWeights({})
    for file in sorted(set(names.values())):
        if Path(file).name != file or file in ("", ".."):
            raise ModelFileError(f"expected a plain file name, got {file!r}", str(index))
        shard = read_safetensors(root / file)
        for name in shard:
            if names.get(name) != file:
                where = f"{root / file}: {name!r}"
                raise ModelFileError(f"expected a weight that {INDEX_NAME} places here", where)
        weights = weights.merged(shard)
    if missing := sorted(set(names) - set(weights)):
        raise ModelFileError(f"expected weight {missing[0]!r} in its shard, got none", str(index))
    return weights


def _save_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    shards: list[list[str]] = [[]]
    size = 0
    for name, array in weights.items():
        if shards[-1] and size + array.nbytes > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += array.nbytes
    if len(shards) == 1:
        write_safetensors(folder / "weights.safetensors", weights)
        return
    files = {}
    for i, names in enumerate(shards, start=1):
        file = f"weights-{i:05d}-of-{len(shards):05d}.safetensors"
        write_safetensors(folder / file, {name: weights[name] for name in names})
        files.update(dict.fromkeys(names, file))
    total = sum(array.nbytes for array in weights.values())
    listing = {"metadata": {"total_size": total}, "weight_map": files}
    (folder / INDEX_NAME).write_text(json.dumps(listing, indent=1), encoding="utf-8")
