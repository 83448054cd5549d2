"""The published way to predict actions, step for step: a baseline that shares only the weights with ours.

Per forward pass, the vision tower runs again at every integration step, with a dense block mask over all
images; the language model gets a dense all-ones mask and repeated key/value heads, every layer works on every
place, and the output layer scores the whole vocabulary everywhere, read or not. Everything is eager.

Each of these can be mended by itself, so that its price shows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from dream_vla_ros.model import DreamVLAForActionPrediction, Objective


class PublishedAlgorithm:
    """Predict with a model's weights, but none of its code.

    :param vision_once: encode images once per prediction instead of at each step.
    :param scored_where_read: run the output layer only for tokens that are chosen.
    :param without_masks: attend without masks of ones and without repeated heads.
    """

    def __init__(
        self,
        model: DreamVLAForActionPrediction,
        *,
        vision_once: bool = False,
        scored_where_read: bool = False,
        without_masks: bool = False,
    ) -> None:
        self.model = model
        self.vision_once = vision_once
        self.scored_where_read = scored_where_read
        self.without_masks = without_masks
        self._seen: Tensor | None = None
        self.config = model.config
        self.tensors = dict(model.state_dict())

    @torch.no_grad()
    def predict_actions(
        self,
        input_ids: Tensor,
        pixel_values: Tensor,
        image_grid_thw: Tensor,
        proprio: Tensor | None = None,
        noise: Tensor | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """Return normalised actions (chunk, dim), chosen from the whole vocabulary if discrete."""
        model, ids = self.model, self.config.tokens
        self._seen = None
        count = model.action_places
        steps = steps or model.objective.default_steps
        device, dtype = model.device, model.dtype
        prompt = input_ids.reshape(1, -1).to(device)
        closing = torch.tensor([ids.closing], device=device)
        places = torch.full((1, count), model.action_tokens.first_id, device=device)
        vision = (pixel_values.to(device, dtype), image_grid_thw)
        state = None if proprio is None else proprio.reshape(1, -1).to(device, dtype)
        start = prompt.shape[1] - 1
        if model.objective is Objective.DISCRETE_DIFFUSION:
            return self._unmask(prompt, vision, state, steps)
        tokens = torch.cat([prompt, places, closing], dim=1)
        zeros = torch.zeros((1, count, self.config.hidden_size), device=device, dtype=dtype)
        if model.objective is Objective.DISCRETE:
            read = slice(start, start + count)
            _, logits = self._forward(tokens, vision, state, zeros, None, read)
            logits = logits if self.scored_where_read else logits[:, read]
            return self._decode(logits[0].argmax(-1))
        if model.objective is Objective.L1_REGRESSION:
            hidden, _ = self._forward(tokens, vision, state, zeros, None)
            return self._head(hidden[:, start : start + count])[0]
        x = (torch.randn(1, model.chunk_size, model.action_dim) if noise is None else noise).to(device)
        x = x.reshape(1, model.chunk_size, model.action_dim).float()
        flow = model.objective is Objective.FLOW_MATCHING
        for time in [i / steps for i in range(steps)] if flow else model.ddim.timesteps(steps):
            features = self._mlp("noisy_action_projector", x.reshape(1, -1, 1).to(dtype))
            hidden, _ = self._forward(tokens, vision, state, features, float(time))
            output = self._head(hidden[:, start : start + count])
            x = x + output / steps if flow else model.ddim.step(x, output, int(time), steps)
        return x[0]

    def _unmask(
        self, prompt: Tensor, vision: tuple[Tensor, Tensor], state: Tensor | None, steps: int
    ) -> Tensor:
        """Unmask by highest confidence; images are embedded at the first step only, as published."""
        ids = self.config.tokens
        count = self.model.action_places + len(ids.closing)
        row = F.pad(prompt, (0, count), value=ids.mask)
        embeds = self._embed(row, vision)
        times = torch.linspace(1, 1e-3, steps + 1)
        for step in range(steps):
            masked = row == ids.mask
            if self.scored_where_read:
                hidden, _ = self._run(embeds, state, None)
                logits = self._score(torch.cat([hidden[:, :1], hidden[:, :-1]], dim=1)[masked]).float()
            else:
                _, logits = self._run(embeds, state, None, slice(None))
                logits = torch.cat([logits[:, :1], logits[:, :-1]], dim=1)[masked].float()
            least = torch.topk(logits, 50).values[:, -1:]
            confidence, best = logits.masked_fill(logits < least, -1e38).softmax(-1).max(-1)
            number = int(masked.sum())
            if step < steps - 1:
                number = int(number * (1 - times[step + 1] / times[step]))
            chosen = torch.topk(confidence, number).indices
            filled = torch.full_like(best, ids.mask)
            filled[chosen] = best[chosen]
            row[masked] = filled
            embeds[masked] = F.embedding(row[masked], self.tensors["model.embed_tokens.weight"])
        return self._decode(row[0, prompt.shape[1] : prompt.shape[1] + self.model.action_places])

    def _decode(self, tokens: Tensor) -> Tensor:
        actions = torch.from_numpy(self.model.action_tokens.decode(tokens.cpu().numpy()))
        return actions.reshape(self.model.chunk_size, self.model.action_dim)

    def _forward(
        self,
        tokens: Tensor,
        vision: tuple[Tensor, Tensor],
        state: Tensor | None,
        features: Tensor,
        time: float | None,
        scored: slice | None = None,
    ) -> tuple[Tensor, Tensor]:
        embeds = self._embed(tokens, vision)
        first = tokens.shape[1] - len(self.config.tokens.closing) - features.shape[1]
        embeds[:, first : first + features.shape[1]] = features
        return self._run(embeds, state, time, scored)

    def _embed(self, tokens: Tensor, vision: tuple[Tensor, Tensor]) -> Tensor:
        embeds = F.embedding(tokens, self.tensors["model.embed_tokens.weight"])
        if self._seen is None or not self.vision_once:
            self._seen = self._linear(
                "projector.linear_2", F.gelu(self._linear("projector.linear_1", self._see(*vision)))
            )
        return embeds.masked_scatter((tokens == self.config.tokens.image)[..., None], self._seen)

    def _run(
        self, embeds: Tensor, state: Tensor | None, time: float | None, scored: slice | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return hidden states and logits of every place but those put in front.

        :param scored: the places whose logits are read.
        """
        config = self.config
        front = []
        if state is not None:
            front.append(self._mlp("proprio_projector", state))
        if time is not None:
            half = config.hidden_size // 2
            rates = torch.exp(torch.arange(half, device=embeds.device) * -math.log(10000) / (half - 1))
            front.append(torch.cat([(time * rates).sin(), (time * rates).cos()])[None].to(embeds.dtype))
        x = torch.cat([*(token[:, None] for token in front), embeds], dim=1)
        length = x.shape[1]
        mask = torch.ones((1, 1, length, length), dtype=torch.bool, device=x.device)
        positions = mask[0, 0, 0].cumsum(0)
        rates = config.rope_theta ** -(torch.arange(0, config.head_dim, 2, device=x.device) / config.head_dim)
        angles = (positions[:, None] * rates).repeat(1, 2)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        repeats = config.num_attention_heads // config.num_key_value_heads
        for index in range(config.num_hidden_layers):
            name = f"model.layers.{index}"
            y = self._rms_norm(f"{name}.input_layernorm", x)
            q, k, v = (
                self._linear(f"{name}.self_attn.{part}_proj", y)
                .view(1, length, -1, config.head_dim)
                .transpose(1, 2)
                for part in "qkv"
            )
            q, k = (t * cos + _half_turn(t) * sin for t in (q, k))
            if self.without_masks:
                y = F.scaled_dot_product_attention(q, k, v, enable_gqa=repeats > 1)
            else:
                k, v = (t.repeat_interleave(repeats, dim=1).contiguous() for t in (k, v))
                y = F.scaled_dot_product_attention(q.contiguous(), k, v, attn_mask=mask)
            x = x + self._linear(f"{name}.self_attn.o_proj", y.transpose(1, 2).reshape(1, length, -1))
            y = self._rms_norm(f"{name}.post_attention_layernorm", x)
            gate = F.silu(self._linear(f"{name}.mlp.gate_proj", y))
            x = x + self._linear(f"{name}.mlp.down_proj", gate * self._linear(f"{name}.mlp.up_proj", y))
        hidden = self._rms_norm("model.norm", x)[:, len(front) :]
        if not self.scored_where_read:
            return hidden, self._score(hidden)
        return hidden, self._score(hidden[:, :0] if scored is None else hidden[:, scored])

    def _score(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.tensors["lm_head.weight"])

    def _see(self, patches: Tensor, grids: Tensor) -> Tensor:
        """Run the vision tower with one dense mask over the patches of all images."""
        vision = self.config.vision
        kernel = (vision.temporal_patch_size, vision.patch_size, vision.patch_size)
        volumes = patches.view(-1, vision.in_channels, *kernel)
        weight = self.tensors["visual.patch_embed.proj.weight"]
        x = F.conv3d(volumes, weight, stride=kernel).flatten(1)
        rows, columns, owner = [], [], []
        for image, (frames, height, width) in enumerate(grids.tolist()):
            row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            for coordinate, into in ((row, rows), (column, columns)):
                m = vision.spatial_merge_size
                squares = coordinate.reshape(height // m, m, width // m, m).permute(0, 2, 1, 3)
                into.append(squares.flatten().repeat(frames))
            owner += [(image, frame) for frame in range(frames) for _ in range(height * width)]
        dim = vision.head_dim // 2
        rates = 10000.0 ** -(torch.arange(0, dim, 2, dtype=torch.float) / dim)
        angles = torch.cat([torch.cat(rows)[:, None] * rates, torch.cat(columns)[:, None] * rates], -1)
        angles = angles.repeat(1, 2).to(x.device)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(owner))}
        frame_of = torch.tensor([numbers[key] for key in owner], device=x.device)
        mask = (frame_of[:, None] == frame_of)[None]
        sizes_of_frames = [owner.count(key) for key in numbers]
        for index in range(vision.depth):
            name = f"visual.blocks.{index}"
            y = self._layer_norm(f"{name}.norm1", x, 1e-6)
            q, k, v = self._linear(f"{name}.attn.qkv", y).view(len(x), 3, vision.num_heads, -1).unbind(1)
            q, k = ((t.float() * cos + _half_turn(t.float()) * sin).to(x.dtype) for t in (q, k))
            q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
            if self.without_masks:
                sizes = [int(size) for size in sizes_of_frames]
                frames = zip(*(t.split(sizes, dim=2) for t in (q, k, v)), strict=True)
                y = torch.cat([F.scaled_dot_product_attention(*frame) for frame in frames], dim=2)
            else:
                y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            y = y[0].transpose(0, 1).flatten(1)
            x = x + self._linear(f"{name}.attn.proj", y)
            y = self._linear(f"{name}.mlp.fc1", self._layer_norm(f"{name}.norm2", x, 1e-6))
            x = x + self._linear(f"{name}.mlp.fc2", y * torch.sigmoid(1.702 * y))
        x = self._layer_norm("visual.merger.ln_q", x, 1e-6).view(
            -1, vision.embed_dim * vision.patches_per_token
        )
        return self._linear("visual.merger.mlp.2", F.gelu(self._linear("visual.merger.mlp.0", x)))

    def _head(self, hidden: Tensor) -> Tensor:
        x = hidden.reshape(1, self.model.chunk_size, -1)
        x = F.relu(self._linear("action_head.fc1", self._layer_norm("action_head.layer_norm1", x)))
        for index in range(2):
            name = f"action_head.mlp_resnet_blocks.{index}.ffn"
            x = x + F.relu(self._linear(f"{name}.1", self._layer_norm(f"{name}.0", x)))
        return self._linear("action_head.fc2", self._layer_norm("action_head.layer_norm2", x)).float()

    def _mlp(self, name: str, x: Tensor) -> Tensor:
        return self._linear(f"{name}.fc2", F.gelu(self._linear(f"{name}.fc1", x)))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))

    def _layer_norm(self, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    def _rms_norm(self, name: str, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps)
        return self.tensors[f"{name}.weight"] * wide.to(x.dtype)


def _half_turn(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)
