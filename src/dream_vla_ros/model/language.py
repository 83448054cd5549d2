"""The masked-diffusion language backbone: a Qwen2-like transformer that attends in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from .config import DreamConfig

Read = slice | Tensor
"""Places whose result is wanted: a slice of the sequence, or indices (batch, places)."""


@dataclass
class PrefixCache:
    """One layer's keys and values of the first `length` places, while only what follows them is run again.

    Exact only as long as nothing changes behind the prefix, since it attends there, too.
    """

    length: int
    kept: tuple[Tensor, Tensor] | None = None

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the prefix of a whole pass; put the kept one in front of a partial pass."""
        if self.kept is None:
            self.kept = k[:, :, : self.length], v[:, :, : self.length]
            return k, v
        return torch.cat([self.kept[0], k], dim=2), torch.cat([self.kept[1], v], dim=2)


def rotary_tables(
    positions: Tensor, config: DreamConfig, dtype: torch.dtype, sections: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the rotary cosines and sines that all layers share.

    :param positions: (batch, length), or (3, batch, length) with `sections`.
    :param sections: how many frequencies follow each of the three axes (time, row, column) in turn.
    :returns: cosines and sines, each (batch, 1, length, head_dim).
    """
    half = config.head_dim // 2
    exponents = torch.arange(half, device=positions.device, dtype=torch.float32) / half
    angles = positions[..., None].float() * config.rope_theta**-exponents
    if sections is not None:
        parts = angles.split(list(sections), dim=-1)
        angles = torch.cat([part[axis % 3] for axis, part in enumerate(parts)], dim=-1)
    angles = torch.cat([angles, angles], dim=-1)[:, None]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def take(x: Tensor, read: Read | None) -> Tensor:
    """Return x (batch, length, width) at the places to read; everything if `read` is None."""
    if read is None:
        return x
    if isinstance(read, slice):
        return x[:, read]
    return x.gather(1, read[..., None].expand(-1, -1, x.shape[-1]))


class Attention(nn.Module):
    """Grouped-query self-attention without a causal mask."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.grouped = config.num_key_value_heads != config.num_attention_heads
        width = config.num_key_value_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, width)
        self.v_proj = nn.Linear(config.hidden_size, width)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        key_mask: Tensor | None,
        read: Read | None,
        cache: PrefixCache | None,
    ) -> Tensor:
        """Attend from the places in `read` to every place.

        :param x: (batch, length, hidden_size).
        :param key_mask: (batch, 1, 1, length), False where nothing may be attended to; None if nowhere.
        """
        cos, sin = rotary
        k = _rotate(self._heads(self.k_proj(x)), cos, sin)
        v = self._heads(self.v_proj(x))
        if cache is not None:
            k, v = cache.extend(k, v)
        if read is not None:
            cos, sin = (take(t.expand(x.shape[0], -1, -1, -1)[:, 0], read)[:, None] for t in (cos, sin))
        q = _rotate(self._heads(self.q_proj(take(x, read))), cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask, enable_gqa=self.grouped)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class GatedMlp(nn.Module):
    """The gated feed-forward half of a layer."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """Transform each place by itself."""
        return self.down_proj(self.act(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = GatedMlp(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        key_mask: Tensor | None = None,
        read: Read | None = None,
        cache: PrefixCache | None = None,
    ) -> Tensor:
        """Return the layer's output at the places in `read` (all, if None)."""
        x = take(x, read) + self.self_attn(self.input_layernorm(x), rotary, key_mask, read, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class LanguageModel(nn.Module):
    """Embedding table, layers and final norm."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.running: tuple[nn.Module, ...] = ()
        """Layers that are run in place of `layers`, over the same weights; none if empty."""

    def forward(
        self,
        embeds: Tensor,
        rotary: tuple[Tensor, Tensor],
        key_mask: Tensor | None = None,
        read: Read | None = None,
        caches: Sequence[PrefixCache] | None = None,
    ) -> Tensor:
        """Compute hidden states; the last layer works only where they are read.

        :param embeds: (batch, length, hidden_size).
        :param key_mask: (batch, 1, 1, length) bool, False at padding; None if there is none.
        :param caches: one per layer; once filled, `embeds` and `rotary` are those behind the prefix alone.
        :returns: (batch, places, hidden_size).
        """
        layers = self.running or tuple(self.layers)
        each: Sequence[PrefixCache | None] = [None] * len(layers) if caches is None else caches
        for layer, cache in zip(layers[:-1], each[:-1], strict=True):
            embeds = layer(embeds, rotary, key_mask, None, cache)
        return self.norm(layers[-1](embeds, rotary, key_mask, read, each[-1]))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
