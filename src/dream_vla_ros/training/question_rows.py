"""Questions about scenes in even rows, so that training computes no attention that the mask forbids.

The same sequence as :mod:`~dream_vla_ros.model.question_pack` makes for inference, but with all questions
padded to one length: images and opening words attend to themselves, each question to them and to itself, as
a batch of their own. Attention then costs a tenth of that over the whole masked row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from dream_vla_ros.model.config import TokenIds
from dream_vla_ros.model.question_pack import shared_length
from dream_vla_ros.training.errors import TrainingError


@dataclass(frozen=True, eq=False)
class QuestionRows:
    """As many questions of each scene, each scene one row.

    :param input_ids: (scenes, shared + questions x length), each answer a mask token closed by the end of the
        turn, each question padded on the right.
    :param positions: (1, shared + questions x length); every question goes on where the shared tokens end.
    :param keys: (scenes x questions, 1, 1, shared + length) bool, what each question may attend to: False at
        its padding.
    :param read: (scenes, questions) places one to the left of the answers.
    :param shared: Places up to the end of the last image.
    :param lead: Of these, places in front of everything that are filled with something else than words.
    """

    input_ids: Tensor
    positions: Tensor
    keys: Tensor
    read: Tensor
    shared: int
    lead: int = 0

    @property
    def questions(self) -> int:
        """Questions about each scene."""
        return self.read.shape[1]


def question_rows(scenes: Sequence[Sequence[Tensor]], tokens: TokenIds, lead: int = 0) -> QuestionRows:
    """Put prompts in rows.

    :param scenes: Prompts (length,) of each scene's questions, as many of each; see ``pack_questions``.
    :param lead: As there.
    """
    if len({len(prompts) for prompts in scenes}) != 1:
        raise TrainingError("as many questions must be asked about each scene")
    opened = shared_length([prompt for prompts in scenes for prompt in prompts], tokens.vision_end)
    shared = lead + opened
    closing = torch.tensor([tokens.mask, tokens.im_end])
    length = max(len(prompt) for prompts in scenes for prompt in prompts) - opened + len(closing)
    count = len(scenes[0])
    own = torch.full((len(scenes), count, length), tokens.pad)
    there = torch.zeros(own.shape, dtype=torch.bool)
    read = torch.zeros(own.shape[:2], dtype=torch.long)
    for row, prompts in enumerate(scenes):
        for number, prompt in enumerate(prompts):
            part = torch.cat([prompt[opened:], closing])
            own[row, number, : len(part)] = part
            there[row, number, : len(part)] = True
            read[row, number] = shared + number * length + len(part) - len(closing) - 1
    opening = F.pad(torch.stack([prompts[0][:opened] for prompts in scenes]), (lead, 0), value=tokens.pad)
    each = torch.arange(shared + 1, shared + 1 + length).repeat(count)
    seen = torch.ones((len(scenes) * count, shared), dtype=torch.bool)
    return QuestionRows(
        torch.cat([opening, own.flatten(1)], dim=1),
        torch.cat([torch.arange(1, shared + 1), each])[None],
        torch.cat([seen, there.flatten(0, 1)], dim=1)[:, None, None],
        read,
        shared,
        lead,
    )


class RowAttention(TorchFunctionMode):
    """Lets the places of rows attend to what they may; everything else of a network runs as it is.

    :param rows: What the network runs on: its queries are all places or, in the last layer, those read.
    """

    def __init__(self, rows: QuestionRows) -> None:
        super().__init__()
        self._rows = rows

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of PyTorch's, attention within questions."""
        given = dict(kwargs or {})
        if func is not F.scaled_dot_product_attention:
            return func(*args, **given)
        return self._attend(*args, grouped=bool(given.get("enable_gqa", False)))

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, *, grouped: bool) -> Tensor:
        shared, everywhere = self._rows.shared, queries.shape[2] == keys.shape[2]
        mask = self._rows.keys.to(queries.device)
        told = F.scaled_dot_product_attention(
            self._each(queries[:, :, shared:] if everywhere else queries),
            self._seen(keys),
            self._seen(values),
            attn_mask=mask,
            enable_gqa=grouped,
        )
        told = told.unflatten(0, (-1, self._rows.questions)).transpose(1, 2).flatten(2, 3)
        if not everywhere:
            return told
        query, key, value = (part[:, :, :shared] for part in (queries, keys, values))
        opening = F.scaled_dot_product_attention(query, key, value, enable_gqa=grouped)
        return torch.cat([opening, told], dim=2)

    def _each(self, states: Tensor) -> Tensor:
        """Turn (scenes, heads, questions x length, width) into (scenes x questions, heads, length, width)."""
        return states.unflatten(2, (self._rows.questions, -1)).transpose(1, 2).flatten(0, 1)

    def _seen(self, states: Tensor) -> Tensor:
        """Put what all see in front of each question's own."""
        opening = states[:, None, :, : self._rows.shared].expand(-1, self._rows.questions, -1, -1, -1)
        return torch.cat([opening.flatten(0, 1), self._each(states[:, :, self._rows.shared :])], dim=2)
