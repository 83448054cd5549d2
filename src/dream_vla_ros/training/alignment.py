"""Alignment of words with what they name: before acting, the model learns where each named block is.

At the place of each colour word in the question, the state of the network must tell where the block of that
colour is from the gripper. The labels are simulator poses; answers to questions about the scene would play
the same part. What is learned is read one layer before the last, so that the last one can carry it to the
action places. The head that reads it is needed in training only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.model.processor import DreamVLAProcessor
from dream_vla_ros.training.errors import TrainingError

# A decimetre counts as much as a radian of a block's turn, so that both are learned together.
_UNIT_M = 0.1
_PLACE_NUMBERS = 3


class PlaceHead(nn.Module):
    """Reads where a named thing is from the network's state at its word.

    :param width: Hidden size of the language model.
    :param numbers: What is told of each thing: its place (3), then anything of order one.
    """

    def __init__(self, width: int, numbers: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, numbers)

    def forward(self, hidden: Tensor) -> Tensor:
        """Tell the numbers of states (words, width)."""
        return self.out(F.gelu(self.hidden(self.norm(hidden))))


class SceneHead(nn.Module):
    """Reads from each image token where all named things are.

    A token that shows a thing can tell where it is, and to do so it must know its own place in the image: the
    network has no other source of absolute places. Tokens that do not show it learn its mean.

    :param width: Width of image tokens.
    :param state: Numbers of the robot's state.
    :param names: How many things have names.
    :param numbers: What is told of each.
    """

    def __init__(self, width: int, state: int, names: int, numbers: int) -> None:
        super().__init__()
        self._shape = (names, numbers)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width + state, width)
        self.out = nn.Linear(width, names * numbers)

    def forward(self, tokens: Tensor, state: Tensor) -> Tensor:
        """Tell the numbers (batch, tokens, names, numbers) of tokens (batch, tokens, width)."""
        states = state[:, None].expand(-1, tokens.shape[1], -1).to(tokens.dtype)
        mixed = self.hidden(torch.cat([self.norm(tokens), states], dim=-1))
        return self.out(F.gelu(mixed)).unflatten(-1, self._shape)

    def loss(self, tokens: Tensor, state: Tensor, labels: Tensor) -> Tensor:
        """Return the mean squared error.

        :param labels: (batch, names, numbers), NaN where there is no such thing.
        """
        wanted = scaled(labels.to(tokens.device))[:, None]
        known = wanted.isfinite().expand(-1, tokens.shape[1], -1, -1)
        told = self(tokens, state).float()
        return F.mse_loss(told[known], wanted.expand_as(told)[known])


class NamedPlaces:
    """Finds the words for things in prompts, and compares what the network knows at them with labels.

    :param processor: Its tokenizer must give each word a last token of its own.
    :param names: Words, in the order of the labels' second axis.
    """

    def __init__(self, processor: DreamVLAProcessor, names: Sequence[str]) -> None:
        self._ids: dict[int, int] = {}
        for at, name in enumerate(names):
            last = processor.tokenizer.encode(f" {name}", add_special_tokens=False)[-1]
            if last in self._ids:
                raise TrainingError(f"'{name}' and '{names[self._ids[last]]}' end in the same token")
            self._ids[last] = at

    def find(self, input_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the words.

        :param input_ids: (batch, length).
        :returns: Row, place and name of each word, each (words,).
        """
        name_of = torch.full_like(input_ids, -1)
        for token, name in self._ids.items():
            name_of[input_ids == token] = name
        rows, places = (name_of >= 0).nonzero(as_tuple=True)
        return rows, places, name_of[rows, places]

    def loss(
        self, head: PlaceHead, states: Tensor, input_ids: Tensor, labels: Tensor
    ) -> tuple[Tensor, float]:
        """Compare.

        :param states: (batch, length, width) network states, at least as long as ``input_ids``; states of
            tokens put in front come first.
        :param input_ids: (batch, length).
        :param labels: (batch, names, numbers), NaN where there is no such thing.
        :returns: Mean squared error, and the median distance between told and true places [m].
        """
        rows, places, names = self.find(input_ids)
        wanted = labels.to(states.device)[rows, names]
        known = wanted.isfinite().all(1)
        in_front = states.shape[1] - input_ids.shape[1]
        read = states[rows[known], places[known] + in_front]
        told, wanted = head(read).float(), wanted[known]
        offset = told - scaled(wanted)
        error_m = float((offset[:, :_PLACE_NUMBERS].detach() * _UNIT_M).norm(dim=1).median())
        return offset.pow(2).mean(), error_m


def scaled(labels: Tensor) -> Tensor:
    """Return labels in the units of the loss."""
    scale = torch.ones(labels.shape[-1], device=labels.device)
    scale[:_PLACE_NUMBERS] = 1.0 / _UNIT_M
    return labels * scale


@contextmanager
def states_before_last_layer(model: DreamVLAForActionPrediction) -> Iterator[list[Tensor]]:
    """Collect the states that go into the last layer while the model runs.

    :returns: A list that gets one tensor (batch, length, width) per run.
    """
    seen: list[Tensor] = []
    handle = model.model.layers[-1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def image_tokens(model: DreamVLAForActionPrediction) -> Iterator[list[Tensor]]:
    """Collect the image tokens (all images' tokens, width) that go into the language model while it runs."""
    seen: list[Tensor] = []
    handle = model.projector.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


def question_about(names: Sequence[str], known: NDArray[np.bool_], rng: np.random.Generator) -> str:
    """Return an instruction that names everything there is, in random order.

    :param names: All words.
    :param known: Which of them are on the table.
    """
    order = rng.permutation(np.flatnonzero(known))
    return "find " + ", ".join(f"the {names[at]} block" for at in order)
