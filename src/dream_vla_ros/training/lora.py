"""LoRA through peft: which layers get it, what is trained, and folding it into the weights."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from dream_vla_ros.model.checkpoint import ADAPTER, COMPONENTS
from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.training.errors import TrainingError

ADAPTER_WEIGHTS = "adapter_model.safetensors"
_NAME = "default"


class Trained(str, Enum):
    """What of the network is trained; action head and projectors of numbers always are."""

    LORA = "lora"
    """LoRA on all linear layers: vision tower, projector and language model, as published."""

    LORA_LANGUAGE = "lora_language"
    """LoRA on the language model's linear layers."""

    PROJECTOR = "projector"
    """The image projector itself."""

    FULL = "full"
    """Every weight."""


_ADAPTED = {
    Trained.LORA: ("visual.", "projector.", "model."),
    Trained.LORA_LANGUAGE: ("model.",),
}


@dataclass(frozen=True)
class LoraSettings:
    """The published fine-tuning's.

    :param rank: Of the added matrices.
    :param alpha: The added product counts alpha / rank.
    """

    rank: int = 32
    alpha: int = 16
    dropout: float = 0.0


def prepare(
    model: DreamVLAForActionPrediction, trained: Trained, settings: LoraSettings | None = None
) -> DreamVLAForActionPrediction:
    """Make exactly that trainable which is to be trained; adapters begin by changing nothing.

    :param model: Changed in place.
    :returns: The same model.
    """
    settings = settings or LoraSettings()
    model.requires_grad_(False)
    if prefixes := _ADAPTED.get(trained):
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=linear_layers(model, prefixes),
            init_lora_weights="gaussian",
        )
        inject_adapter_in_model(config, model, adapter_name=_NAME)
    elif trained is Trained.FULL:
        model.requires_grad_(True)
        if model.objective.continuous:
            # No token is predicted, so nothing would ever reach it.
            model.lm_head.requires_grad_(model.config.tie_word_embeddings)
    elif trained is Trained.PROJECTOR:
        model.projector.requires_grad_(True)
    for name in COMPONENTS:
        if isinstance(part := getattr(model, name), nn.Module):
            part.requires_grad_(True)
    return model


def linear_layers(model: nn.Module, prefixes: tuple[str, ...]) -> list[str]:
    """Return the names of all linear layers of some parts."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(prefixes)
    ]


def compute_at_once(model: nn.Module) -> None:
    """Let adapters be added to their layers' weights before these meet the input, instead of after.

    The same up to rounding. One product over a long input is faster than three where layers are narrow: a
    training step on a processor took an eighth less.

    :param model: Changed in place. Its adapters have no dropout.
    """
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.forward = partial(_at_once, module)  # type: ignore[method-assign,assignment]


def _at_once(layer: Any, inputs: Tensor) -> Tensor:
    base = layer.get_base_layer()
    added = layer.lora_B[_NAME].weight @ layer.lora_A[_NAME].weight * layer.scaling[_NAME]
    return F.linear(inputs, base.weight + added, base.bias)


def has_adapters(model: nn.Module) -> bool:
    """Tell whether a model has adapters that are not folded in."""
    return any(isinstance(module, BaseTunerLayer) for module in model.modules())


def save_adapter(model: DreamVLAForActionPrediction, folder: Path, base: str) -> None:
    """Write the adapters as peft writes them.

    :param folder: Gets ``lora_adapter/``.
    :param base: The checkpoint they were trained from.
    """
    target = folder / ADAPTER
    target.mkdir(parents=True, exist_ok=True)
    config: LoraConfig = model.peft_config[_NAME]  # type: ignore[index,union-attr,assignment,operator]
    config.base_model_name_or_path = base
    config.inference_mode = True
    config.save_pretrained(str(target))
    # Names begin as they do in a PeftModel, which is what reads them elsewhere.
    # Without embeddings nothing is looked up about the base model, here or elsewhere.
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    weights = {f"base_model.model.{name}": tensor.contiguous() for name, tensor in own.items()}
    save_file(weights, target / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def load_adapter(model: DreamVLAForActionPrediction, folder: Path) -> None:
    """Put saved adapters onto the model they were trained from.

    :param folder: Holds ``lora_adapter/``, or is one.
    :raises TrainingError: If there is none, or it is of another model.
    """
    source = folder / ADAPTER if (folder / ADAPTER).is_dir() else folder
    if not (source / ADAPTER_WEIGHTS).is_file():
        raise TrainingError(f"{folder} has no {ADAPTER}/{ADAPTER_WEIGHTS}: it holds no LoRA adapter")
    weights = load_file(source / ADAPTER_WEIGHTS)
    config = LoraConfig.from_pretrained(str(source))
    trained = {name.removeprefix("base_model.model."): tensor for name, tensor in weights.items()}
    config.target_modules = sorted({name.rpartition(".lora_")[0] for name in trained})
    known = set(linear_layers(model, ("",)))
    if strange := [name for name in config.target_modules if name not in known]:
        raise TrainingError(f"{source} adapts {strange[0]}, which the base checkpoint has not")
    inject_adapter_in_model(config, model, adapter_name=_NAME)
    own = dict(model.named_parameters())
    for name, tensor in trained.items():
        parameter = own[name.replace(".weight", f".{_NAME}.weight")]
        if parameter.shape != tensor.shape:
            raise TrainingError(f"{source}: {name} is {tuple(tensor.shape)}, not {tuple(parameter.shape)}")
        parameter.data.copy_(tensor)


def fold(model: DreamVLAForActionPrediction) -> DreamVLAForActionPrediction:
    """Add the adapters to the weights and remove them.

    :param model: Changed in place.
    :returns: The same model, with its published parameter names again.
    """
    for name, module in [*model.named_modules()]:
        if isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
    return model
