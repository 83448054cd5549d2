"""Read checkpoint folders: base or fine-tuned Dream-VLA, and Dream-VL.

Weights are mapped from disk and moved tensor by tensor, so that a 16 GB checkpoint never exists twice. No
code of a folder is ever run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .action_heads import HEAD_PREFIX, ActionHead, TokenProjector
from .config import DreamConfig, read_json
from .errors import CheckpointError
from .objective import Objective
from .statistics import DatasetStatistics

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
STATISTICS = "dataset_statistics.json"
ADAPTER = "lora_adapter"
COMPONENTS = ("action_head", "noisy_action_projector", "proprio_projector")
HEADS = "heads.safetensors"
"""The components once more without pickle, read where their .pt files are not. The published code looks for
names with a component and ``checkpoint`` in them, transformers for ``model*.safetensors``."""
DISTRIBUTED_PREFIX = "module."
OUTPUT_WEIGHT, EMBEDDING_WEIGHT = "lm_head.weight", "model.embed_tokens.weight"
Module = TypeVar("Module", bound=nn.Module)
_CPU = torch.device("cpu")
SHOWN_NAMES = 5  # tensors named in one message; a wrong config misses hundreds


def open_folder(folder: str | Path) -> Path:
    """Return an existing checkpoint folder.

    :raises CheckpointError: if it is no folder (nothing is ever downloaded).
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise CheckpointError(f"{path} is no folder; download the checkpoint and give its local folder")
    return path


def load_backbone(model: nn.Module, folder: Path, dtype: torch.dtype, device: torch.device) -> None:
    """Fill a model that was built on the meta device with a folder's safetensors.

    :param dtype: type to convert the weights to.
    :raises CheckpointError: naming the tensor that is missing, unexpected or of the wrong shape, or the file
        that is missing or damaged.
    """
    wanted = dict(model.named_parameters(remove_duplicate=False))
    tied = OUTPUT_WEIGHT in wanted and wanted[OUTPUT_WEIGHT] is wanted[EMBEDDING_WEIGHT]
    loaded: dict[str, Tensor] = {}
    unexpected: list[str] = []
    for file, names in _weight_files(folder):
        for name, tensor in _read_tensors(file, names, device):
            if name not in wanted:
                if not name.endswith(".inv_freq"):  # rotary tables that old exports carry along
                    unexpected.append(name)
                continue
            if tensor.shape != wanted[name].shape:
                raise CheckpointError(
                    f"{file}: {name} is {tuple(tensor.shape)}, but config.json makes it "
                    f"{tuple(wanted[name].shape)}"
                )
            loaded[name] = tensor.to(dtype)
    if tied:  # a tied checkpoint may hold either of the two
        shared = loaded.get(EMBEDDING_WEIGHT, loaded.get(OUTPUT_WEIGHT))
        if shared is not None:
            loaded[EMBEDDING_WEIGHT] = loaded[OUTPUT_WEIGHT] = shared
    missing = [name for name in wanted if name not in loaded]
    if missing:
        raise CheckpointError(f"{folder}: the safetensors lack {_some(missing)}")
    if unexpected:
        raise CheckpointError(
            f"{folder}: the safetensors hold {_some(unexpected)}, which config.json does not describe"
        )
    model.load_state_dict(loaded, assign=True)
    if tied:
        model.get_submodule("lm_head").weight = model.get_parameter(EMBEDDING_WEIGHT)


def load_statistics(folder: Path, config: DreamConfig) -> DatasetStatistics:
    """Read `dataset_statistics.json`; without it, what `config.json` carries (nothing, perhaps)."""
    path = folder / STATISTICS
    if path.exists():
        return DatasetStatistics(read_json(path), str(path))
    return DatasetStatistics(config.norm_stats, str(folder / "config.json"))


def load_parts(
    path: Path, objective: Objective, config: DreamConfig, statistics: DatasetStatistics
) -> dict[str, nn.Module]:
    """Read what stands beside the backbone; before its far larger weights, so that mistakes show at once.

    :returns: the model's attributes by name; `proprio_projector` only if the folder has one.
    :raises CheckpointError: naming the file that is missing, doubled, damaged or of another objective.
    """
    parts: dict[str, nn.Module] = {}
    width = config.hidden_size
    if objective.continuous:
        head = load_action_head(path, objective.value, width)
        parts["action_head"] = head
        if not statistics.keys:
            raise CheckpointError(f"{path / STATISTICS} is missing: without it actions have no units")
        if all(entry.dim != head.action_dim for entry in statistics.action.values()):
            raise CheckpointError(
                f"{statistics.source} has no dataset of {head.action_dim} action dimensions, which the "
                "head predicts"
            )
    else:
        _ = statistics.action_dim  # the datasets must agree where no head says it
    if objective.denoises:
        file = find_component(path, "noisy_action_projector")
        if file is None:
            raise CheckpointError(
                f"{path} has no noisy_action_projector--*_checkpoint.pt, which objective "
                f"{objective.value!r} needs"
            )
        parts["noisy_action_projector"] = load_token_projector(file, width, 1, name="noisy_action_projector")
    if find_component(path, "proprio_projector") is not None:
        parts["proprio_projector"] = load_proprio_projector(path, config)
    return parts


def load_proprio_projector(path: Path, config: DreamConfig) -> TokenProjector:
    """Read the one `proprio_projector--*_checkpoint.pt` of a folder.

    :raises CheckpointError: if it is missing, doubled, damaged or belongs to another model.
    """
    file = find_component(path, "proprio_projector")
    if file is None:
        raise CheckpointError(f"{path} has no proprio_projector--*_checkpoint.pt to read states by")
    return load_token_projector(file, config.hidden_size, name="proprio_projector")


def load_action_head(folder: Path, objective: str, hidden_size: int) -> ActionHead:
    """Read the one `action_head--*_checkpoint.pt` as the head of a continuous objective.

    :raises CheckpointError: if it is missing, there are several, or it belongs to another objective or model.
    """
    file = find_component(folder, "action_head")
    if file is None:
        raise CheckpointError(
            f"{folder} has no action_head--*_checkpoint.pt, which objective {objective!r} needs: it is a "
            "base checkpoint (only the objectives discrete and discrete_diffusion run from it), or the "
            "fine-tuned head was not copied along"
        )
    tensors = _read_component(file, "action_head")
    prefix = HEAD_PREFIX[objective]
    weights = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    if not weights:
        other = next((o for o, p in HEAD_PREFIX.items() if any(name.startswith(p) for name in tensors)), None)
        found = (
            f"it was trained with objective {other!r}" if other else "its tensors are those of no known head"
        )
        raise CheckpointError(f"{file} does not fit objective {objective!r}: {found}")
    if strange := [name for name in tensors if not name.startswith(prefix)]:
        raise CheckpointError(f"{file} holds {_some(strange)}, which no {objective} head has")
    head = _fill(lambda: ActionHead.shaped_like(weights), weights, file)
    input_width = head.fc1.in_features
    if input_width != hidden_size * head.action_dim:
        raise CheckpointError(
            f"{file}: {prefix}fc1.weight takes {input_width} numbers, but {head.action_dim} action "
            f"dimensions of hidden size {hidden_size} are {hidden_size * head.action_dim}; it belongs to "
            "another model"
        )
    return head


def load_token_projector(
    file: Path, hidden_size: int, input_width: int | None = None, *, name: str = ""
) -> TokenProjector:
    """Read a `noisy_action_projector--*` or `proprio_projector--*` file, or one of them from `HEADS`.

    :param input_width: numbers that make one token, if known; else as the file has it.
    :param name: which of the components; needed for `HEADS` only.
    :raises CheckpointError: if it is damaged or belongs to another model.
    """
    weights = _read_component(file, name)
    projector = _fill(
        lambda: TokenProjector(weights["fc1.weight"].shape[1], weights["fc1.weight"].shape[0]), weights, file
    )
    expected = (hidden_size, input_width or projector.input_width)
    if tuple(weights["fc1.weight"].shape) != expected:
        raise CheckpointError(
            f"{file}: fc1.weight is {tuple(weights['fc1.weight'].shape)}, but this model needs {expected}"
        )
    return projector


def find_component(folder: Path, name: str) -> Path | None:
    """Return the one `<name>--*.pt` of a folder, else `HEADS` if it holds that component; None if neither.

    :raises CheckpointError: if there are several.
    """
    files = sorted(folder.glob(f"{name}--*.pt"))
    if len(files) > 1:
        raise CheckpointError(
            f"{folder} has {len(files)} files {name}--*.pt ({', '.join(f.name for f in files)}): keep the "
            "one to use"
        )
    if files:
        return files[0]
    heads = folder / HEADS
    held = heads.exists() and any(key.startswith(f"{name}.") for key, _ in _read_tensors(heads, None, _CPU))
    return heads if held else None


def _weight_files(folder: Path) -> Iterator[tuple[Path, list[str] | None]]:
    """Yield each safetensors file and the tensors to read from it (None: all)."""
    single, index = folder / WEIGHTS, folder / WEIGHTS_INDEX
    if single.exists() and index.exists():
        raise CheckpointError(
            f"{folder} has both {WEIGHTS} and {WEIGHTS_INDEX}: remove the one that is out of date"
        )
    if single.exists():
        yield single, None
        return
    if not index.exists():
        raise CheckpointError(f"{folder} has neither {WEIGHTS} nor {WEIGHTS_INDEX}{_unmerged(folder)}")
    shards: dict[str, list[str]] = {}
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map")
    for name, shard in weight_map.items():
        if Path(str(shard)).name != shard:
            raise CheckpointError(f"{index}: {name} lies in {shard!r}, which is no plain file name")
        shards.setdefault(shard, []).append(name)
    if absent := [shard for shard in shards if not (folder / shard).exists()]:
        raise CheckpointError(
            f"{folder} lacks {_some(absent)}, named in {index.name}: the download is incomplete"
        )
    for shard, names in shards.items():
        yield folder / shard, names


def _unmerged(folder: Path) -> str:
    if (folder / ADAPTER).is_dir() or (folder / "adapter_config.json").exists():
        return (
            ", only a LoRA adapter: its weights are not merged yet. Run `dream_vla merge` with the base "
            "checkpoint it was trained from"
        )
    return ""


def _read_tensors(file: Path, names: list[str] | None, device: torch.device) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(file, framework="pt", device=str(device)) as tensors:
            held = set(tensors.keys())
            for name in sorted(held) if names is None else names:
                if name not in held:
                    raise CheckpointError(f"{file} lacks {name}, which {WEIGHTS_INDEX} places there")
                yield name, tensors.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is damaged or no safetensors file: {error}") from error


def _read_component(file: Path, name: str) -> dict[str, Tensor]:
    """Read a dict of tensors, without the prefix that distributed training leaves."""
    if file.name == HEADS:
        start = f"{name}."
        tensors = _read_tensors(file, None, _CPU)
        return {key.removeprefix(start): tensor for key, tensor in tensors if key.startswith(start)}
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling damaged files raises almost anything
        raise CheckpointError(f"{file} is damaged or holds more than tensors: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(t, Tensor) for t in content.values()):
        raise CheckpointError(f"{file} must hold a dict of tensors")
    return {str(name).removeprefix(DISTRIBUTED_PREFIX): tensor for name, tensor in content.items()}


def _fill(build: Callable[[], Module], weights: dict[str, Tensor], file: Path) -> Module:
    try:
        with torch.device("meta"):
            module = build()
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(f"{file} lacks {error} or has it in another shape") from error
    wanted = dict(module.named_parameters())
    if missing := [name for name in wanted if name not in weights]:
        raise CheckpointError(f"{file} lacks {_some(missing)}")
    if unexpected := [name for name in weights if name not in wanted]:
        raise CheckpointError(f"{file} holds {_some(unexpected)}, which this module does not have")
    for name, parameter in wanted.items():
        if weights[name].shape != parameter.shape:
            raise CheckpointError(
                f"{file}: {name} is {tuple(weights[name].shape)}, not {tuple(parameter.shape)}"
            )
    module.load_state_dict(weights, assign=True)
    return module


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - SHOWN_NAMES} more" if len(listed) > SHOWN_NAMES else ""
    return ", ".join(listed[:SHOWN_NAMES]) + more
