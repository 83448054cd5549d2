"""Decoder layers for inference: fewer, larger matrix products over the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .language import DecoderLayer, LanguageModel, PrefixCache, Read, take
from .packed_linear import Pack


class FusedLayer(nn.Module):
    """One layer with query, key and value in one product, and gate and up in one.

    The last layer keeps its query apart, for it works at the places that are read alone.

    :param pack: what to make of each linear layer; the given layer holds no weights afterwards, so that they
        are not stored twice.
    """

    def __init__(self, layer: DecoderLayer, last: bool, pack: Pack | None = None) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        run_as = pack or (lambda linear: linear)
        self.head_dim = attention.head_dim
        self.key_heads = attention.k_proj.out_features // self.head_dim
        self.query_heads = attention.q_proj.out_features // self.head_dim
        self.last = last
        if last:
            self.q = run_as(attention.q_proj)
            self.kv = run_as(join([attention.k_proj, attention.v_proj]))
        else:
            self.qkv = run_as(join([attention.q_proj, attention.k_proj, attention.v_proj]))
        self.out = run_as(attention.o_proj)
        self.gate_up = run_as(join([mlp.gate_proj, mlp.up_proj]))
        self.down = run_as(mlp.down_proj)
        self.act = mlp.act
        self.attention_norm = layer.input_layernorm
        self.mlp_norm = layer.post_attention_layernorm
        if pack is not None:
            for module in (*attention.modules(), *mlp.modules()):
                if isinstance(module, nn.Linear):
                    module.weight.data = module.weight.data.new_empty(0)

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        key_mask: Tensor | None = None,
        read: Read | None = None,
        cache: PrefixCache | None = None,
    ) -> Tensor:
        """Return what `DecoderLayer.forward` returns."""
        y = self.attention_norm(x)
        cos, sin = rotary
        if self.last:
            k, v = self._heads(self.kv(y)).split([self.key_heads, self.key_heads], dim=1)
            k = rotate(k, cos, sin)
            x, y = take(x, read), take(y, read)
            if read is not None:
                cos, sin = (take(t.expand(len(x), -1, -1, -1)[:, 0], read)[:, None] for t in (cos, sin))
            q = rotate(self._heads(self.q(y)), cos, sin)
        else:
            turned, v = self._heads(self.qkv(y)).split(
                [self.query_heads + self.key_heads, self.key_heads], dim=1
            )
            q, k = rotate(turned, cos, sin).split([self.query_heads, self.key_heads], dim=1)
        if cache is not None:
            k, v = cache.extend(k, v)
        mixed = attend(q, k, v, key_mask)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        gate = self.act(gate)
        return x + self.down(gate * up if gate.requires_grad else gate.mul_(up))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn heads (batch, heads, length, head_dim) to their positions.

    :param cos: (batch or 1, 1, length, head_dim), as `sin`.
    """
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def attend(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None) -> Tensor:
    """Attend with grouped heads by a kernel that needs no scores in memory.

    Of the CUDA kernels, the one that takes a mask takes no groups, so keys and values are repeated for it.
    """
    grouped = q.shape[1] != k.shape[1]
    if grouped and key_mask is not None and q.is_cuda:
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], dim=1) for t in (k, v))
        grouped = False
    if key_mask is not None:
        key_mask = key_mask.expand(-1, -1, q.shape[2], -1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask, enable_gqa=grouped)


@torch.no_grad()
def join(layers: Sequence[nn.Linear]) -> nn.Linear:
    """Make one linear layer of several with the same input.

    The layers given become views of it, so nothing is stored twice and they go on working.
    """
    first = layers[0]
    biased = first.bias is not None
    width = sum(layer.out_features for layer in layers)
    joined = nn.Linear(first.in_features, width, bias=biased, device="meta")
    joined.weight = nn.Parameter(torch.cat([layer.weight for layer in layers]), requires_grad=False)
    if biased:
        joined.bias = nn.Parameter(torch.cat([layer.bias for layer in layers]), requires_grad=False)
    start = 0
    for layer in layers:
        rows = slice(start, start + layer.out_features)
        layer.weight.data = joined.weight.data[rows]
        if biased:
            layer.bias.data = joined.bias.data[rows]
        start = rows.stop
    return joined


def can_fuse(language: LanguageModel) -> bool:
    """Return whether the layers are as they were read: plain, on one device, not visited by hooks."""
    plain = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
    return all(
        type(getattr(part, name)) is nn.Linear
        for layer in language.layers
        if isinstance(layer, DecoderLayer)
        for part, names in zip((layer.self_attn, layer.mlp), plain, strict=True)
        for name in names
    ) and not any(layer._forward_pre_hooks for layer in language.layers)


def fuse(language: LanguageModel, pack: Pack | None = None) -> None:
    """Let a language model run on fused layers from now on; move it to its device before.

    :param pack: what to make of each linear layer, such as a quantised one.
    """
    count = len(language.layers)
    language.running = tuple(
        FusedLayer(cast(DecoderLayer, layer), index == count - 1, pack)
        for index, layer in enumerate(language.layers)
    )
