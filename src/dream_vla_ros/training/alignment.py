"""Alignment of words with what they name: before acting, the model learns where each named block is.

At the place of each colour word in the question, the state of the network must tell where the block of that
colour is from the gripper. The labels are simulator poses; answers to questions about the scene would play
the same part. What is learned is read one layer before the last, so that the last one can carry it to the
action places; at the image tokens another layer before, so that it can be carried to the words. The heads
that read it are needed in training only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
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
_SIGHT_NUMBERS = 11
# One token in some dozens shows a thing.
_SHOWN_WEIGHT = 8.0


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


class SightHead(nn.Module):
    """Reads from each image token, as the vision tower gives it, whether it shows a thing's middle and where.

    What a camera sees at a place is learned in a few hundred steps. Where that was not taught, words had not
    begun to tell colours apart after sixteen thousand samples.

    :param width: Width of the language model.
    :param names: How many things have names.
    """

    def __init__(self, width: int, names: int) -> None:
        super().__init__()
        self._shape = (names, 1 + _SIGHT_NUMBERS)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, names * (1 + _SIGHT_NUMBERS))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tell scores and numbers (batch, tokens, names, 12): shown or not, then as of ``shown``."""
        return self.out(F.gelu(self.hidden(self.norm(tokens)))).unflatten(-1, self._shape)

    def loss(self, tokens: Tensor, sight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, and the share of things found at the token that shows them.

        :param tokens: (batch, tokens, width), camera after camera, each row by row.
        :param sight: (batch, cameras, names, 11), as of ``shown``.
        """
        told = self(tokens).float()
        mask, wanted = shown(sight.to(told.device), tokens.shape[1])
        scores = told[..., 0]
        weight = torch.full((), _SHOWN_WEIGHT, device=told.device)
        presence = F.binary_cross_entropy_with_logits(scores, mask.float(), pos_weight=weight)
        offset = F.mse_loss(told[..., 1:][mask], wanted[mask])
        best = scores.detach().argmax(1, keepdim=True)
        found = mask.gather(1, best).sum() / (mask.any(1).sum().clamp(min=1))
        return presence + offset, found.clamp(max=1.0)


def shown(sight: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Say which image token shows the middle of which thing.

    :param sight: (batch, cameras, names, 11) of each thing in each image: place of its middle, right and down
        as shares of the image, and depth [m]; then distances within the image as shares of it. NaN where
        there is none; places go beyond 0 to 1 outside the image.
    :param tokens: Image tokens of one sample; each camera has a square of them.
    :returns: (batch, tokens, names) bool, and (batch, tokens, names, 11) place from the middle of the token
        in tokens, right and down, the logarithm of the depth, and the distances in tokens.
    """
    batch, cameras, names, numbers = sight.shape
    side = math.isqrt(tokens // cameras)
    if cameras * side * side != tokens:
        raise TrainingError(f"{tokens} image tokens are no squares of {cameras} cameras")
    along = torch.arange(side, device=sight.device, dtype=sight.dtype) + 0.5
    rows, columns = torch.meshgrid(along, along, indexing="ij")
    middles = torch.stack([columns, rows], -1)[:, :, None]
    places = sight[:, :, None, None].expand(-1, -1, side, side, -1, -1)
    wanted = torch.cat(
        [places[..., :2] * side - middles, places[..., 2:3].log(), places[..., 3:] * side], dim=-1
    ).reshape(batch, tokens, names, numbers)
    mask = (wanted[..., :2].abs() <= 0.5).all(-1)  # false for NaN
    return mask, wanted


class SceneHead(nn.Module):
    """Reads from each image token which part of the images it shows and where the things that it shows are.

    A token that shows a thing can tell where it is only if it knows its own place: neither tower has absolute
    positions, so that is learned first, and everything else waits for it.

    :param width: Width of the language model.
    :param tokens: Image tokens of one sample.
    :param names: How many things have names.
    :param numbers: What is told of each.
    """

    def __init__(self, width: int, tokens: int, names: int, numbers: int) -> None:
        super().__init__()
        self._shape = (names, numbers)
        self.norm = nn.LayerNorm(width)
        self.own = nn.Linear(width, tokens)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, names * numbers)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Tell scores (batch, tokens, tokens) of own places and numbers (batch, tokens, names, numbers)."""
        normal = self.norm(states)
        return self.own(normal), self.out(F.gelu(self.hidden(normal))).unflatten(-1, self._shape)

    def loss(self, states: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of own places and the mean squared error of the things' numbers.

        :param states: (batch, tokens, width) of the image tokens, in order.
        :param labels: (batch, names, numbers), NaN where there is no such thing.
        :param mask: (batch, tokens, names) which token shows which thing.
        """
        scores, told = self(states)
        count = states.shape[1]
        own = torch.arange(count, device=states.device).expand(len(states), -1)
        wanted = scaled(labels.to(states.device))[:, None].expand_as(told)
        known = wanted.isfinite() & mask[..., None]
        place = F.cross_entropy(scores.float().flatten(0, 1), own.flatten())
        return place, F.mse_loss(told.float()[known], wanted[known])


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
def states_before(model: DreamVLAForActionPrediction, *layers: int) -> Iterator[dict[int, Tensor]]:
    """Collect the states that go into layers while the model runs.

    :param layers: Numbers of layers, counted from the end as -1, -2 and so on.
    :returns: Gets the newest states (batch, length, width) by layer.
    """
    seen: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda module, inputs: seen.update({layer: inputs[0]})

    handles = [model.model.layers[at].register_forward_pre_hook(keep(at)) for at in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def at_images(states: Tensor, input_ids: Tensor, image_token: int) -> Tensor:
    """Return the states of image tokens (batch, tokens, width).

    :param states: (batch, length, width), at least as long as ``input_ids``; tokens put in front come first.
    :param input_ids: (batch, length), with as many image tokens in each row.
    """
    own = states[:, states.shape[1] - input_ids.shape[1] :]
    return own[input_ids == image_token].unflatten(0, (len(input_ids), -1))


def question_about(names: Sequence[str], known: NDArray[np.bool_], rng: np.random.Generator) -> str:
    """Return an instruction that names everything there is, in random order.

    :param names: All words.
    :param known: Which of them are on the table.
    """
    order = rng.permutation(np.flatnonzero(known))
    return "find " + ", ".join(f"the {names[at]} block" for at in order)
