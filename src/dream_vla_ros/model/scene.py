"""One observation, ready to be passed through the language model again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .dream_vla import DreamVLAForActionPrediction


class Scene(Protocol):
    """A prompt with its images, and the robot's state: what stays the same in all passes of a prediction."""

    def hidden(self, tokens: Tensor, count: int, time: float | None = None) -> Tensor:
        """Run one pass.

        :param tokens: (draws, places, hidden_size), what stands behind the prompt; each row by itself.
        :param count: how many of the places are predicted.
        :param time: flow time or diffusion step; None for objectives without.
        :returns: (draws, count, hidden_size), each from one place to the left of what it predicts.
        """


class PlainScene:
    """A scene without any preparation.

    :param prompt: (1, length, hidden_size), images included.
    :param state: (1, proprio_dim), normalised; None without the state token.
    """

    def __init__(self, model: DreamVLAForActionPrediction, prompt: Tensor, state: Tensor | None) -> None:
        self._model = model
        self._prompt = prompt
        self._state = state

    def hidden(self, tokens: Tensor, count: int, time: float | None = None) -> Tensor:
        """Run one pass over the whole sequence."""
        start, rows = self._prompt.shape[1] - 1, len(tokens)
        times = None if time is None else torch.full((rows,), time, device=tokens.device)
        return self._model.hidden_with_prefix(
            torch.cat([self._prompt.expand(rows, -1, -1), tokens], dim=1),
            slice(start, start + count),
            proprio=None if self._state is None else self._state.expand(rows, -1),
            time=times,
        )
