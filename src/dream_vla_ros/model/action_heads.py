"""Small networks around the backbone: hidden states to actions, and actions or state to tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy.typing as npt
import torch
from torch import Tensor, nn

from .errors import ModelInputError

HEAD_PREFIX = {
    "flow_matching": "flow_predictor.mlp_resnet.",
    "diffusion": "noise_predictor.mlp_resnet.",
    "l1_regression": "model.",
}
"""Where the published action head of each continuous objective keeps its network."""


class ResidualBlock(nn.Module):
    """Pre-norm linear layer with a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Add the transformed input to itself."""
        return x + self.ffn(x)


class ActionHead(nn.Module):
    """Map the hidden states of one action's dimensions, side by side, to that action.

    The same network for every continuous objective: it gives the velocity, the noise or the action itself.
    """

    def __init__(self, input_width: int, width: int, action_dim: int, num_blocks: int = 2) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(input_width)
        self.fc1 = nn.Linear(input_width, width)
        self.mlp_resnet_blocks = nn.ModuleList(ResidualBlock(width) for _ in range(num_blocks))
        self.layer_norm2 = nn.LayerNorm(width)
        self.fc2 = nn.Linear(width, action_dim)

    @property
    def action_dim(self) -> int:
        """Numbers in one action."""
        return self.fc2.out_features

    def forward(self, hidden: Tensor) -> Tensor:
        """Predict from (batch, chunk x action_dim, hidden_size): (batch, chunk, action_dim)."""
        x = hidden.unflatten(1, (-1, self.action_dim)).flatten(2)
        x = torch.relu(self.fc1(self.layer_norm1(x)))
        for block in self.mlp_resnet_blocks:
            x = block(x)
        return self.fc2(self.layer_norm2(x))

    @classmethod
    def shaped_like(cls, weights: Mapping[str, Tensor]) -> ActionHead:
        """Build a head with the sizes of saved weights.

        :raises KeyError: if a tensor that says the sizes is missing.
        """
        blocks = {name.split(".")[1] for name in weights if name.startswith("mlp_resnet_blocks.")}
        width, input_width = weights["fc1.weight"].shape
        return cls(input_width, width, weights["fc2.weight"].shape[0], len(blocks))


class TokenProjector(nn.Module):
    """Two linear layers that make one token of a few numbers: a robot's state, or one noisy action value."""

    def __init__(self, input_width: int, hidden_size: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(input_width, hidden_size)
        self.fc2 = nn.Linear(hidden_size, hidden_size)

    @property
    def input_width(self) -> int:
        """How many numbers make one token."""
        return self.fc1.in_features

    def forward(self, x: Tensor) -> Tensor:
        """Project the last axis (input_width) to hidden_size."""
        return self.fc2(nn.functional.gelu(self.fc1(x)))

    def read_states(self, states: npt.ArrayLike | Tensor) -> Tensor:
        """Check normalised states (batch, input_width), and bring them to this module's device, in float32.

        :raises ModelInputError: if they have another length or are not finite.
        """
        read = torch.as_tensor(states, dtype=torch.float32)
        if read.dim() != 2 or read.shape[1] != self.input_width:
            raise ModelInputError(
                f"proprio is {tuple(read.shape)}, but the checkpoint takes {self.input_width} numbers"
            )
        if not bool(read.isfinite().all()):
            raise ModelInputError("proprio holds numbers that are not finite")
        return read.to(self.fc1.weight.device)


def time_embedding(time: Tensor, width: int) -> Tensor:
    """Encode diffusion or flow times as sines and cosines, in float32.

    :param time: (batch,).
    :param width: hidden size, even and at least 4.
    :returns: (batch, width).
    """
    half = width // 2
    frequencies = torch.exp(torch.arange(half, device=time.device) * -math.log(10000) / (half - 1))
    angles = time.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
