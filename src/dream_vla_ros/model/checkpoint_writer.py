"""Write checkpoint folders in the published layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .action_heads import HEAD_PREFIX
from .checkpoint import (
    COMPONENTS,
    DISTRIBUTED_PREFIX,
    EMBEDDING_WEIGHT,
    HEADS,
    OUTPUT_WEIGHT,
    STATISTICS,
    WEIGHTS,
    WEIGHTS_INDEX,
)
from .dream_vla import DreamVLAForActionPrediction

SHARD_BYTES = 5_000_000_000  # as large as the published shards
BESIDE_WEIGHTS = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
    "preprocessor_config.json",
)
"""Files that go from checkpoint to checkpoint unchanged."""


def save_checkpoint(
    model: DreamVLAForActionPrediction,
    folder: str | Path,
    *,
    like: str | Path,
    step: str = "latest",
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Write a whole fine-tuned checkpoint: config, weights, heads, statistics, tokenizer.

    Heads are written twice: as the published code reads them, and as safetensors.

    :param like: the folder whose `config.json` and tokenizer files are taken along; code is not.
    :param step: what the heads' file names carry.
    :param shard_bytes: largest safetensors file.
    :returns: the folder.
    """
    folder, like = Path(folder), Path(like)
    folder.mkdir(parents=True, exist_ok=True)
    config = {key: value for key, value in model.config.raw.items() if key != "auto_map"}
    config["chunk_size"] = model.chunk_size
    write_json(folder / "config.json", config)
    write_json(folder / STATISTICS, model.statistics.data)
    for name in BESIDE_WEIGHTS:
        if (like / name).exists() and like.resolve() != folder.resolve():
            shutil.copyfile(like / name, folder / name)
    beside = tuple(f"{name}." for name in COMPONENTS)
    weights = {name: t.detach() for name, t in model.state_dict().items() if not name.startswith(beside)}
    if model.config.tie_word_embeddings:
        weights.pop(OUTPUT_WEIGHT, None)
        assert EMBEDDING_WEIGHT in weights
    save_weights(weights, folder, shard_bytes)
    heads: dict[str, Tensor] = {}
    (folder / HEADS).unlink(missing_ok=True)
    for name in COMPONENTS:
        if isinstance(part := getattr(model, name), nn.Module):
            prefix = HEAD_PREFIX[model.objective.value] if name == "action_head" else ""
            state = {f"{DISTRIBUTED_PREFIX}{prefix}{key}": t.detach() for key, t in part.state_dict().items()}
            torch.save(state, folder / f"{name}--{step}_checkpoint.pt")
            heads |= {f"{name}.{key.removeprefix(DISTRIBUTED_PREFIX)}": t for key, t in state.items()}
    if heads:
        _save_readable({key: tensor.contiguous() for key, tensor in heads.items()}, folder / HEADS)
    return folder


def save_weights(weights: Mapping[str, Tensor], folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write safetensors, in several files with an index if they are larger than one may be."""
    shards: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, tensor in weights.items():
        if shards[-1] and used + tensor.nbytes > shard_bytes:
            shards.append({})
            used = 0
        shards[-1][name] = tensor.contiguous()
        used += tensor.nbytes
    for stale in (*folder.glob("model-*-of-*.safetensors"), folder / WEIGHTS, folder / WEIGHTS_INDEX):
        stale.unlink(missing_ok=True)
    if len(shards) == 1:
        _save_readable(shards[0], folder / WEIGHTS)
        return
    weight_map: dict[str, str] = {}
    for index, shard in enumerate(shards, start=1):
        file = f"model-{index:05d}-of-{len(shards):05d}.safetensors"
        _save_readable(shard, folder / file)
        weight_map |= dict.fromkeys(shard, file)
    total = sum(tensor.nbytes for tensor in weights.values())
    write_json(folder / WEIGHTS_INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write one JSON object for people to read."""
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _save_readable(tensors: dict[str, Tensor], path: Path) -> None:
    """Write one file that others may read, too; the library leaves it to its owner alone."""
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)
