"""Sizes and token ids of a Dream-VL or Dream-VLA network, read from `config.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from transformers.activations import ACT2FN

from .errors import CheckpointError

REQUIRED_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)


@dataclass(frozen=True)
class VisionConfig:
    """Shape of the vision tower.

    The defaults are the published 7B's: a saved `vision_config` leaves out what equals them.
    """

    depth: int = 32
    embed_dim: int = 1280
    num_heads: int = 16
    mlp_ratio: float = 4
    hidden_size: int = 3584
    hidden_act: str = "quick_gelu"
    in_channels: int = 3
    patch_size: int = 14
    spatial_merge_size: int = 2
    temporal_patch_size: int = 2

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.embed_dim // self.num_heads

    @property
    def patch_width(self) -> int:
        """Numbers in one flattened patch: channels x frames x height x width."""
        return self.in_channels * self.temporal_patch_size * self.patch_size**2

    @property
    def patches_per_token(self) -> int:
        """Patches that the merger joins into one token."""
        return self.spatial_merge_size**2


@dataclass(frozen=True)
class TokenIds:
    """Ids the model itself needs; the defaults are the published tokenizer's, for folders without one.

    `tokenizer_length` counts every token of the tokenizer, the action tokens (its last ones) included.
    """

    image: int = 151655
    video: int = 151656
    vision_start: int = 151652
    vision_end: int = 151653
    mask: int = 151666
    pad: int = 151643
    eos: int = 151643
    im_end: int = 151645
    newline: int = 198
    tokenizer_length: int = 151923

    @property
    def closing(self) -> tuple[int, int]:
        """The two tokens that end the assistant's turn."""
        return self.im_end, self.newline


@dataclass(frozen=True)
class DreamConfig:
    """Shape of a whole network, and the ids a folder without tokenizer falls back to."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    rope_theta: float
    rms_norm_eps: float = 1e-6
    hidden_act: str = "silu"
    projector_hidden_act: str = "gelu"
    tie_word_embeddings: bool = False
    mrope_section: tuple[int, ...] = (16, 24, 24)
    n_action_bins: int = 256
    chunk_size: int | None = None
    num_diffusion_steps_train: int = 50
    initializer_range: float = 0.02
    model_type: str = "dream-vla"
    norm_stats: Mapping[str, Any] = field(default_factory=dict)
    vision: VisionConfig = field(default_factory=VisionConfig)
    tokens: TokenIds = field(default_factory=TokenIds)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def head_dim(self) -> int:
        """Width of one attention head of the language model."""
        return self.hidden_size // self.num_attention_heads

    @classmethod
    def from_folder(cls, folder: str | Path) -> DreamConfig:
        """Read `config.json` of a checkpoint folder.

        :raises CheckpointError: if the file is missing, is not JSON, or describes no network of this family.
        """
        return cls.from_dict(read_json(Path(folder) / "config.json"), str(Path(folder) / "config.json"))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str = "config") -> DreamConfig:
        """Build from the mapping that `config.json` holds; `auto_map` and other unknown keys are ignored.

        :param source: where the mapping comes from, for error messages.
        """
        missing = [key for key in REQUIRED_SIZES if data.get(key) is None]
        if missing:
            raise CheckpointError(
                f"{source} lacks {', '.join(missing)}: it is not a Dream-VL or Dream-VLA config"
            )
        _refuse_unsupported(data, source)
        known = {f.name for f in fields(cls)} - {"vision", "tokens", "raw", "rope_theta", "norm_stats"}
        values = {key: data[key] for key in known if data.get(key) is not None}
        values.setdefault("num_key_value_heads", data["num_attention_heads"])
        if "mrope_section" in values:
            values["mrope_section"] = tuple(values["mrope_section"])
        vision_data = data.get("vision_config") or {}
        vision_known = {f.name for f in fields(VisionConfig)}
        vision = VisionConfig(**{k: v for k, v in vision_data.items() if k in vision_known and v is not None})
        config = cls(
            **values,
            rope_theta=_rope_theta(data, source),
            norm_stats=data.get("norm_stats") or {},
            vision=vision,
            tokens=_token_ids(data, values.get("n_action_bins", cls.n_action_bins)),
            raw=dict(data),
        )
        config._validate(source)
        return config

    def with_tokens(self, tokens: TokenIds) -> DreamConfig:
        """Return a copy that uses other token ids."""
        return replace(self, tokens=tokens)

    def _validate(self, source: str) -> None:
        vision = self.vision
        sizes = {name: getattr(self, name) for name in (*REQUIRED_SIZES, "num_key_value_heads")}
        sizes |= {
            f"vision_config.{f.name}": getattr(vision, f.name)
            for f in fields(vision)
            if f.name != "hidden_act"
        }
        for name, value in sizes.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                raise CheckpointError(f"{source}: {name} must be a positive number, not {value!r}")
        rules = {
            "hidden_size must be a multiple of num_attention_heads": self.hidden_size
            % self.num_attention_heads,
            "num_attention_heads must be a multiple of num_key_value_heads": self.num_attention_heads
            % self.num_key_value_heads,
            "hidden_size / num_attention_heads must be even, for rotary positions": self.head_dim % 2,
            "vision_config.embed_dim must be a multiple of vision_config.num_heads": vision.embed_dim
            % vision.num_heads,
            "vision_config.embed_dim / num_heads must be a multiple of 4, for two-axis rotary positions": (
                vision.head_dim % 4
            ),
        }
        for rule, remainder in rules.items():
            if remainder:
                raise CheckpointError(f"{source}: {rule}")
        activations = (self.hidden_act, self.projector_hidden_act, vision.hidden_act)
        if unknown := [name for name in activations if name not in ACT2FN]:
            raise CheckpointError(f"{source}: activation {unknown[0]!r} is not known")
        if self.n_action_bins < 2:
            raise CheckpointError(f"{source}: n_action_bins must be at least 2, not {self.n_action_bins}")


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    :raises CheckpointError: if the file is missing or holds anything else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not {type(data).__name__}")
    return data


def _rope_theta(data: Mapping[str, Any], source: str) -> float:
    theta = data.get("rope_theta") or (data.get("rope_parameters") or {}).get("rope_theta")
    if theta is None:
        raise CheckpointError(f"{source} lacks rope_theta")
    return float(theta)


def _refuse_unsupported(data: Mapping[str, Any], source: str) -> None:
    scaling = data.get("rope_scaling") or data.get("rope_parameters") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind != "default":
        raise CheckpointError(f"{source}: rope scaling {kind!r} is not supported, published models use none")
    if data.get("use_sliding_window"):
        raise CheckpointError(f"{source}: use_sliding_window is not supported, Dream attends to everything")


def _token_ids(data: Mapping[str, Any], n_action_bins: int) -> TokenIds:
    """Take the ids that the config names; the action tokens follow the mask token."""
    named = {
        f.name: data[key]
        for f in fields(TokenIds)
        if f.name != "tokenizer_length" and isinstance(data.get(key := f"{f.name}_token_id"), int)
    }
    tokens = TokenIds(**named)
    length = data.get("tokenizer_length", tokens.mask + 1 + n_action_bins)
    return replace(tokens, tokenizer_length=length)
