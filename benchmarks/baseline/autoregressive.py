"""The usual way of vision-language-action models: one action token after the other, with a cache.

Runs on the weights of a Dream-VLA model with causal attention, as the same backbone would before it was made
a diffusion model: what is decoded means nothing, what it costs does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dream_vla_ros.model import DreamVLAForActionPrediction
from dream_vla_ros.model.language import rotary_tables


class Autoregressive:
    """Decode a chunk of action tokens one by one."""

    def __init__(self, model: DreamVLAForActionPrediction) -> None:
        self.model = model
        self.config = model.config

    @torch.no_grad()
    def predict_actions(
        self, input_ids: Tensor, pixel_values: Tensor, image_grid_thw: Tensor, proprio: Tensor | None = None
    ) -> Tensor:
        """Return normalised actions (chunk, dim), each token the best of the action tokens."""
        model = self.model
        ids, patches, grids = model.read_prompt(input_ids, pixel_values, image_grid_thw)
        embeds = model.embed(ids, patches, grids)
        if proprio is not None:
            state = model.read_proprio(proprio.reshape(1, -1)).to(model.dtype)
            embeds = torch.cat([model.proprio_projector(state)[:, None], embeds], dim=1)
        start, count = embeds.shape[1], model.action_places
        positions = torch.arange(1, start + count + 1, device=model.device)[None]
        cos, sin = rotary_tables(positions, self.config, model.dtype)
        shape = (1, self.config.num_key_value_heads, start + count, self.config.head_dim)
        kept = [(embeds.new_empty(shape), embeds.new_empty(shape)) for _ in model.model.layers]
        candidates = torch.tensor(model.action_tokens.ids, device=model.device)
        weight = model.lm_head.weight[candidates]
        chosen, at, x = [], 0, embeds
        for _ in range(count):
            end = at + x.shape[1]
            hidden = self._run(x, (cos[:, :, at:end], sin[:, :, at:end]), kept, at)
            token = candidates[F.linear(hidden, weight)[0].argmax(-1)]
            chosen.append(token)
            x, at = model.model.embed_tokens(token)[None], end
        tokens = torch.cat(chosen).cpu().numpy()
        return torch.from_numpy(model.action_tokens.decode(tokens)).view(model.chunk_size, model.action_dim)

    def _run(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], kept: Sequence[tuple[Tensor, Tensor]], at: int
    ) -> Tensor:
        """Run new places behind what is kept; return the last one's hidden state (1, 1, hidden_size)."""
        cos, sin = rotary
        end = at + x.shape[1]
        for layer, (keys, values) in zip(self.model.model.layers, kept, strict=True):
            attention, y = layer.self_attn, layer.input_layernorm(x)
            q, k, v = (
                projection(y).unflatten(-1, (-1, self.config.head_dim)).transpose(1, 2)
                for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            keys[:, :, at:end] = _rotate(k, cos, sin)
            values[:, :, at:end] = v
            mixed = F.scaled_dot_product_attention(
                _rotate(q, cos, sin),
                keys[:, :, :end],
                values[:, :, :end],
                is_causal=x.shape[1] > 1,
                enable_gqa=attention.grouped,
            )
            x = x + attention.o_proj(mixed.transpose(1, 2).flatten(2))
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return self.model.model.norm(x[:, -1:])


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
