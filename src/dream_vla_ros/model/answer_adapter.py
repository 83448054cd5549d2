"""What a Dream-VLA checkpoint changes of its network to answer questions, in a file beside the weights.

Low-rank matrices that are added to linear layers, and whole tensors in place of others, for words. Acting
never reads the file, so learning to answer cannot change an action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .errors import CheckpointError

FILE_NAME = "answer_adapter.safetensors"
DOWN, UP = ".lora_A.weight", ".lora_B.weight"
"""What follows a linear layer's name in the names of its two matrices, (rank, in) and (out, rank)."""
MARK = ".base"
"""What follows a layer's name in the name of the first numbers of the weight it was trained on."""
_SCALE, _READS_STATE = "scale", "reads_state"
_MARKED = 8
# Weights may be read in bfloat16, which keeps eight bits; those of another training differ by far more.
_RELATIVE, _ABSOLUTE = 2e-2, 1e-3


@dataclass(frozen=True, eq=False)
class AnswerAdapter:
    """What an adapter's file holds.

    :param scale: The products of the matrices are multiplied by it.
    :param tensors: By name.
    :param reads_state: Whether a token of the robot's state stands in front of the questions.
    """

    scale: float
    tensors: Mapping[str, Tensor]
    reads_state: bool = False


def save_answer_adapter(
    folder: Path,
    layers: Mapping[str, tuple[Tensor, Tensor]],
    whole: Mapping[str, Tensor],
    base: Mapping[str, Tensor],
    scale: float,
    dtype: torch.dtype = torch.float16,
    *,
    reads_state: bool = False,
) -> Path:
    """Write an adapter into a checkpoint folder.

    :param layers: The two matrices of each adapted linear layer by its name.
    :param whole: Tensors that replace those of the checkpoint, by their names.
    :param base: Weights of the adapted layers as they are in the checkpoint, by the layers' names.
    :param scale: The product of the matrices is multiplied by it.
    :param dtype: On disk.
    :param reads_state: Whether a token of the robot's state stood in front of the questions.
    :returns: The file.
    """
    tensors: dict[str, Tensor] = {name: tensor.to(dtype) for name, tensor in whole.items()}
    for name, (down, up) in layers.items():
        tensors |= {name + DOWN: down.to(dtype), name + UP: up.to(dtype), name + MARK: _mark(base[name])}
    path = folder / FILE_NAME
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(kept, path, metadata={_SCALE: repr(float(scale)), _READS_STATE: str(int(reads_state))})
    path.chmod(0o644)
    return path


@torch.no_grad()
def apply_answer_adapter(model: nn.Module, folder: Path) -> AnswerAdapter | None:
    """Add a folder's adapter to the weights of a model that was read from it.

    :returns: What it is; None if there is none.
    :raises CheckpointError: If it is damaged, or was trained on other weights.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    adapter = read_answer_adapter(path)
    scale, tensors = adapter.scale, adapter.tensors
    weights = dict(model.named_parameters())
    layers = {name.removesuffix(DOWN) for name in tensors if name.endswith(DOWN)}
    partners = {layer + end for layer in layers for end in (DOWN, UP, MARK)}
    if missing := sorted(partners - tensors.keys()):
        raise CheckpointError(f"{path} lacks {missing[0]}")
    for name in sorted(tensors.keys() - partners):
        weight = _weight(weights, name, path)
        _check_shape(path, name, tensors[name].shape, weight.shape)
        weight.copy_(tensors[name])
    for layer in sorted(layers):
        weight = _weight(weights, f"{layer}.weight", path)
        down, up = tensors[layer + DOWN].float(), tensors[layer + UP].float()
        if down.dim() != 2 or up.dim() != 2 or down.shape[0] != up.shape[1]:
            raise CheckpointError(f"{path}: the matrices of {layer} do not fit each other")
        _check_shape(path, layer, torch.Size((up.shape[0], down.shape[1])), weight.shape)
        if not torch.allclose(_mark(weight).cpu(), tensors[layer + MARK], _RELATIVE, _ABSOLUTE):
            raise CheckpointError(
                f"{path} was trained on other weights than those beside it: train it anew, or remove it "
                "to go without answers"
            )
        weight += (up @ down * scale).to(weight)
    return adapter


def read_answer_adapter(path: Path) -> AnswerAdapter:
    """Read a file as it is, whatever weights it belongs to.

    :raises CheckpointError: If it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
            return AnswerAdapter(float(about[_SCALE]), tensors, about.get(_READS_STATE) == "1")
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or no answer adapter: {error!r}") from error


def _weight(weights: Mapping[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in weights:
        raise CheckpointError(f"{path} changes {name}, which the checkpoint has not")
    return weights[name]


def _check_shape(path: Path, name: str, found: torch.Size, wanted: torch.Size) -> None:
    if found != wanted:
        raise CheckpointError(f"{path}: {name} is {tuple(found)}, not {tuple(wanted)}")


def _mark(weight: Tensor) -> Tensor:
    return weight.detach().flatten()[:_MARKED].float()
