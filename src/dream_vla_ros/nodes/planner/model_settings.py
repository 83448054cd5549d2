"""Which Dream-VL checkpoint answers and plans, and how: parameters, apart from torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dream_vla_ros.parameters import param
from dream_vla_ros.policy.settings import PlacementSettings


class Weights(str, Enum):
    """How the weights of the language model's layers are kept."""

    FULL = "full"
    INT8 = "int8"
    INT4 = "int4"

    @property
    def bits(self) -> int:
        """Bits of a weight; 0 leaves them as they are."""
        return {"full": 0, "int8": 8, "int4": 4}[self.value]


class Algorithm(str, Enum):
    """Which places of an answer are unmasked first; the names are those of the model's sampling."""

    MASKGIT_PLUS = "maskgit_plus"
    TOPK_MARGIN = "topk_margin"
    ENTROPY = "entropy"
    ORIGIN = "origin"


@dataclass(frozen=True)
class DreamVlSettings(PlacementSettings):
    """Which checkpoint answers and plans; a change takes effect when the node is configured again."""

    checkpoint: str = param(
        "",
        "Folder of a Dream-VL checkpoint, or of a Dream-VLA one trained to answer, too.",
        read_only=False,
    )
    weights: Weights = param(
        Weights.FULL,
        "Keep the layers' weights as they are or in 8 or 4 bits, which is smaller, less exact and slower.",
        read_only=False,
    )
    host_layers: bool = param(
        False,
        "Keep the layers in the host's memory and bring each to the device when it is run: slow, small.",
        read_only=False,
    )
    constrained: bool = param(
        True, "Let the model write nothing but plans over the objects that are there.", read_only=False
    )
    max_new_tokens: int = param(256, "Longest plan [tokens].", minimum=16, maximum=4096, read_only=False)
    steps: int = param(
        64,
        "Forward passes in which a plan is written; fewer are faster and worse.",
        minimum=1,
        maximum=4096,
        read_only=False,
    )
    algorithm: Algorithm = param(
        Algorithm.MASKGIT_PLUS, "Which places of a plan are unmasked first.", read_only=False
    )
    temperature: float = param(
        0.0,
        "0 writes the best token at each place, above that tokens are drawn.",
        minimum=0.0,
        maximum=10.0,
        read_only=False,
    )
    seed: int = param(0, "Seed of what is drawn.", minimum=0, maximum=2**31 - 1, read_only=False)
