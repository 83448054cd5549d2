"""Which optimisations of inference are on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch

from .errors import ModelInputError

CUDA_BUCKET = 16  # a captured graph serves prompts of one bucket; 16 keeps rows aligned for every kernel
REMEMBERED_PROMPTS = 8  # a robot repeats one instruction, a planner goes through a few


class Quantization(str, Enum):
    """How the matrices of the layers are stored and multiplied."""

    NONE = "none"
    BF16 = "bf16"
    """Products in bfloat16, everything between them in the model's type: for processors that have them."""
    INT8 = "int8"
    """Weights per row and activations per place in 8 bits."""
    FP8 = "fp8"
    """The same in 8-bit floating point; needs a GPU that multiplies it (Ada, Hopper or newer)."""
    INT4 = "int4"
    """Weights in groups in 4 bits, activations as they are: a quarter of the memory."""


@dataclass(frozen=True)
class InferenceSettings:
    """Switches of inference; what is on by default changes no more than rounding.

    :param fused_weights: multiply query, key and value in one product, and gate and up in one.
    :param blocked_weights: lay weights out as a processor multiplies them; without effect on a GPU, in other
        types than float32 and bfloat16 and where layers are compiled. The model holds them in no other form
        afterwards.
    :param tables: keep rotary tables and time embeddings instead of computing them at each prediction.
    :param remembered_prompts: how many instructions' embeddings are kept.
    :param bucket: pad prompts to multiples of this many tokens, so that few shapes occur; 1 does not.
    :param cuda_graph: record each prediction once and replay it; without effect on a processor.
    :param compiled: compile the layers, which takes a minute at the first prediction.
    :param refresh_every: run the prompt at every so many steps only and reuse its keys and values in
        between. Approximate above 1, since the prompt attends to the actions, too.
    :param quantization: of the layers of language model and vision tower. Approximate.
    """

    fused_weights: bool = True
    blocked_weights: bool = True
    tables: bool = True
    remembered_prompts: int = REMEMBERED_PROMPTS
    bucket: int = 1
    cuda_graph: bool = True
    compiled: bool = False
    refresh_every: int = 1
    quantization: Quantization = Quantization.NONE

    def __post_init__(self) -> None:
        for name, least in (("bucket", 1), ("refresh_every", 1), ("remembered_prompts", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ModelInputError(f"{name} must be a whole number from {least}, not {value!r}")
        object.__setattr__(self, "quantization", Quantization(self.quantization))
        if self.quantization is not Quantization.NONE and not self.fused_weights:
            raise ModelInputError("quantization packs fused weights: leave fused_weights on")

    @property
    def exact(self) -> bool:
        """Whether predictions differ from the plain model's by rounding only."""
        return self.refresh_every == 1 and self.quantization is Quantization.NONE

    @classmethod
    def for_device(cls, device: torch.device | str) -> InferenceSettings:
        """Return the exact settings that suit a device."""
        return cls(bucket=CUDA_BUCKET if torch.device(device).type == "cuda" else 1)

    @classmethod
    def plain(cls) -> InferenceSettings:
        """Return settings with everything off."""
        return cls(
            fused_weights=False, blocked_weights=False, tables=False, remembered_prompts=0, cuda_graph=False
        )
