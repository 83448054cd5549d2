"""The vision tower: a Qwen2-VL ViT whose parameters carry the published names.

Own code rather than the transformers module, for three reasons: patches go through one matrix product (a 3-D
convolution over non-overlapping patches computes the same, many times slower in bfloat16), images of equal
size are attended in one batch, and nothing is read back from the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from .config import VisionConfig

ROTARY_THETA = 10000.0  # of Qwen2-VL's vision tower, not configurable there
NORM_EPS = 1e-6
Grid = tuple[int, int, int]


class PatchEmbed(nn.Module):
    """Map each flattened patch to an embedding."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        kernel = (config.temporal_patch_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(config.in_channels, config.embed_dim, kernel, stride=kernel, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        """Embed patches (N, patch_width) as (N, embed_dim)."""
        return F.linear(patches, self.proj.weight.flatten(1))


class VisionAttention(nn.Module):
    """Self-attention among the patches of one frame."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.embed_dim, 3 * config.embed_dim)
        self.proj = nn.Linear(config.embed_dim, config.embed_dim)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, frames: Sequence[int]) -> Tensor:
        """Attend within each frame.

        :param x: (N, embed_dim).
        :param cos: (N, 1, head_dim) float32, as `sin`.
        :param frames: patches per frame, summing to N.
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).unbind(1)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        if len(set(frames)) == 1:
            mixed = _attend(*(t.unflatten(0, (len(frames), frames[0])) for t in (q, k, v))).flatten(0, 1)
        else:
            split = zip(*(t.split(list(frames)) for t in (q, k, v)), strict=True)
            mixed = torch.cat([_attend(*(t[None] for t in frame))[0] for frame in split])
        return self.proj(mixed.flatten(1))


class VisionMlp(nn.Module):
    """The feed-forward half of a block."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        inner = int(config.embed_dim * config.mlp_ratio)
        self.fc1 = nn.Linear(config.embed_dim, inner)
        self.act = ACT2FN[config.hidden_act]
        self.fc2 = nn.Linear(inner, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each patch by itself."""
        return self.fc2(self.act(self.fc1(x)))


class VisionBlock(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=NORM_EPS)
        self.attn = VisionAttention(config)
        self.mlp = VisionMlp(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, frames: Sequence[int]) -> Tensor:
        """Apply attention, then the feed-forward half."""
        x = x + self.attn(self.norm1(x), cos, sin, frames)
        return x + self.mlp(self.norm2(x))


class PatchMerger(nn.Module):
    """Join each square of neighbouring patches into one token."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.merged = config.embed_dim * config.patches_per_token
        self.ln_q = nn.LayerNorm(config.embed_dim, eps=NORM_EPS)
        self.mlp = nn.Sequential(
            nn.Linear(self.merged, self.merged), nn.GELU(), nn.Linear(self.merged, config.hidden_size)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Merge (N, embed_dim) into (N / patches_per_token, hidden_size)."""
        return self.mlp(self.ln_q(x).view(-1, self.merged))


class VisionTower(nn.Module):
    """Encode image patches as tokens."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.depth))
        self.merger = PatchMerger(config)

    def forward(
        self, pixel_values: Tensor, grids: Sequence[Grid], tables: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Encode all images at once.

        :param pixel_values: (patches, patch_width), the images one after the other.
        :param grids: frames, rows and columns of patches of each image.
        :param tables: what `tables` returns for these grids; computed if None.
        :returns: (patches / patches_per_token, hidden_size).
        """
        x = self.patch_embed(pixel_values.to(self.patch_embed.proj.weight.dtype))
        cos, sin = self.tables(grids, x.device) if tables is None else tables
        frames = [rows * columns for count, rows, columns in grids for _ in range(count)]
        for block in self.blocks:
            x = block(x, cos, sin, frames)
        return self.merger(x)

    def tables(self, grids: Sequence[Grid], device: torch.device) -> tuple[Tensor, Tensor]:
        """Compute the rotary cosines and sines of images, each (patches, 1, head_dim) float32."""
        angles = torch.cat([self._angles(grid, device) for grid in grids])
        return angles.cos()[:, None], angles.sin()[:, None]

    def _angles(self, grid: Grid, device: torch.device) -> Tensor:
        """Return each patch's rotary angles (patches, head_dim): rows first, then columns, then both again.

        Patches come square by square, as the merger joins them.
        """
        count, rows, columns = grid
        merge = self.config.spatial_merge_size
        quarter = self.config.head_dim // 4
        row = torch.arange(rows, device=device)[:, None].expand(rows, columns)
        column = torch.arange(columns, device=device)[None, :].expand(rows, columns)
        places = torch.stack([row, column], dim=-1)
        places = places.unflatten(1, (-1, merge)).unflatten(0, (-1, merge)).transpose(1, 2).reshape(-1, 2)
        exponents = torch.arange(quarter, device=device, dtype=torch.float32) / quarter
        angles = (places[..., None] * ROTARY_THETA**-exponents).flatten(1)
        return torch.cat([angles, angles], dim=-1).repeat(count, 1)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend over axis 1 of (frames, patches, heads, head_dim)."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate in float32, whatever the dtype, as the published tower does."""
    first, second = x.float().chunk(2, dim=-1)
    return (x.float() * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)
