"""What a network that answers should know of each block: where it is, what is true of it, what it lies on.

Taught beside the answers, at the words for blocks and at the image tokens that show them. From yes and no
alone a network of this size did not learn in ten thousand scenes how high a block lies. Which colour is below
and above is told besides the places: where only places were, blocks far from each other were still taken to
lie on one another in one of eight questions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dream_vla_ros.model.processor import DreamVLAProcessor
from dream_vla_ros.planning.terms import Atom, State
from dream_vla_ros.sim.appearance import CLOSED_COLOURS
from dream_vla_ros.sim.scene import BLOCK_SIZE_M
from dream_vla_ros.training.alignment import NamedPlaces, PlaceHead, at_images, shown
from dream_vla_ros.training.demonstrations import BLOCK_LABEL
from dream_vla_ros.training.store import Samples

_TOLD = ("ontable", "clear", "holding")
FACTS = 6 + len(_TOLD) + 2 * len(CLOSED_COLOURS)
# In units of which an error counts as one: sideways blocks are apart, in height a block's side decides.
_UNITS_M = np.array([0.1, 0.1, BLOCK_SIZE_M, 0.1, 0.1, 0.1])


def block_facts(sample: Samples, state: State) -> NDArray[np.float32]:
    """Return what is so in one sample (colours, ``FACTS``), NaN where no block has that colour.

    The block's place in the base's axes and from the gripper, in units of the loss; then 1 or -1 for each of
    lying on the table, nothing on it, held; for lying on each colour, and for each colour lying on it.

    :param sample: One, with the label of blocks and the state ``xyz_axis_angle_fingers``.
    :param state: Its symbols.
    """
    from_hand = sample.labels[BLOCK_LABEL][0][:, :3]
    places = np.concatenate([from_hand + sample.proprio[0, :3], from_hand], axis=1) / _UNITS_M
    holds = np.array([[atom in state for atom in _atoms(colour)] for colour in CLOSED_COLOURS])
    there = np.isfinite(places).all(axis=1, keepdims=True)
    return np.concatenate([places, np.where(there, 2.0 * holds - 1.0, np.nan)], axis=1).astype(np.float32)


def _atoms(colour: str) -> list[Atom]:
    alone = [Atom(name, (colour,)) for name in _TOLD]
    below = [Atom("on", (colour, other)) for other in CLOSED_COLOURS]
    return alone + below + [Atom("on", (other, colour)) for other in CLOSED_COLOURS]


class FactHeads(nn.Module):
    """Reads facts about blocks at words and image tokens; needed in training only.

    :param width: Hidden size of the language model.
    :param processor: Of the same checkpoint.
    :param names: Words for blocks, in the order of the labels.
    """

    def __init__(
        self, width: int, processor: DreamVLAProcessor, names: Sequence[str] = CLOSED_COLOURS
    ) -> None:
        super().__init__()
        self.word = PlaceHead(width, FACTS)
        self.image = PlaceHead(width, len(names) * FACTS)
        self._places = NamedPlaces(processor, names)

    def at_words(self, states: Tensor, input_ids: Tensor, facts: Tensor) -> dict[str, Tensor]:
        """Compare what words know.

        :param states: (batch, length, width).
        :param input_ids: (batch, length).
        :param facts: (batch, names, ``FACTS``), NaN where there is no such block.
        :returns: ``word_loss`` and the root mean square of errors in height, ``word_height_m``.
        """
        rows, places, names = self._places.find(input_ids)
        wanted = facts.to(states.device)[rows, names]
        known = wanted.isfinite().all(1)
        off = self.word(states[rows[known], places[known]]).float() - wanted[known]
        return {"word_loss": _mean_square(off), "word_height_m": _height(off)}

    def at_images(
        self, states: Tensor, input_ids: Tensor, image_token: int, facts: Tensor, sight: Tensor
    ) -> dict[str, Tensor]:
        """Compare what image tokens know of the blocks that they show.

        :param states: (batch, length, width).
        :param sight: (batch, cameras, names, 11), see ``SIGHT_LABEL``.
        :returns: ``image_loss`` and ``image_height_m``.
        """
        tokens = at_images(states, input_ids, image_token)
        told = self.image(tokens).float().unflatten(-1, (-1, FACTS))
        wanted = facts.to(told.device)[:, None].expand_as(told)
        mask = shown(sight.to(told.device), tokens.shape[1])[0] & wanted.isfinite().all(-1)
        off = told[mask] - wanted[mask]
        return {"image_loss": _mean_square(off), "image_height_m": _height(off)}


def _mean_square(off: Tensor) -> Tensor:
    return F.mse_loss(off, torch.zeros_like(off)) if len(off) else off.sum()


def _height(off: Tensor) -> Tensor:
    squares = off[:, 2].detach().pow(2)
    return squares.mean().sqrt() * BLOCK_SIZE_M if len(off) else squares.sum()
