"""Unmasking that never leaves a language: only tokens with which the rest can still be completed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import ModelInputError
from .sampling import LAST_TIME, LogitsAt, Unmasking, sample

OPEN = -1
"""Stands at places that are still masked in what a constraint is asked about."""
# A broken network may score with NaN or infinity; then every text that is allowed is as good as another.
_LARGEST_SCORE = 1e6


class TokenConstraint(Protocol):
    """A set of token sequences of every length, as planning's ``TokenAutomaton`` describes one.

    Sequences are (places,) ids with :data:`OPEN` at open places.
    """

    token_ids: NDArray[np.int64]
    """The tokens that occur at all, ascending; (tokens,)."""

    def allowed_compact(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which tokens may stand at each place, so that all the others can still be filled.

        :returns: (places, tokens), columns as in :attr:`token_ids`; nothing if the sequence cannot be filled.
        """
        ...

    def commit(
        self, ids: NDArray[np.int64], places: Sequence[int], tokens: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Fix open places in order, leaving out each that would block what is fixed already.

        :returns: The new sequence, and which of the places were fixed.
        """
        ...


def unmask_constrained(
    tokens: Tensor,
    logits_at: LogitsAt,
    mask_id: int,
    how: Unmasking,
    constraint: TokenConstraint,
    *,
    pad_id: int | None = None,
    generator: torch.Generator | None = None,
    history: list[Tensor] | None = None,
) -> Tensor:
    """Replace mask tokens step by step; the result is in the constraint's language whatever is scored.

    Each step chooses places as :func:`~.sampling.unmask` does, from the tokens that are allowed there. Tokens
    allowed one by one may not go together; the surest are taken first, and places left over are chosen anew
    from what is allowed then, without another forward pass.

    :param tokens: (places,) ids, some or all of them `mask_id`.
    :param logits_at: the model; columns as in ``constraint.token_ids``.
    :param how: with `stop_early`, it also ends as soon as every open place has only one possibility left.
    :param pad_id: the token that `eos_penalty` discourages.
    :param history: if given, the tokens after each step are appended.
    :returns: (places,) without a mask.
    :raises ModelInputError: if no sequence of the language has this length.
    """
    device = tokens.device
    candidates = torch.from_numpy(np.asarray(constraint.token_ids, np.int64)).to(device)
    ids = np.where(tokens.cpu().numpy() == mask_id, OPEN, tokens.cpu().numpy()).astype(np.int64)
    times = torch.linspace(1, LAST_TIME, how.steps + 1)
    for step in range(how.steps):
        (open_places,) = np.nonzero(ids == OPEN)
        if how.stop_early and len(open_places):
            ids = _forced(ids, constraint)
            (open_places,) = np.nonzero(ids == OPEN)
        if len(open_places):
            masked = torch.from_numpy(ids == OPEN).to(device)
            scores = logits_at(_masked(ids, mask_id, device), masked).float()
            scores = torch.nan_to_num(scores, nan=-_LARGEST_SCORE).clamp(-_LARGEST_SCORE, _LARGEST_SCORE)
            if how.eos_penalty and pad_id is not None:
                scores[:, candidates == pad_id] += how.eos_penalty * float(
                    torch.log(1 - times[step] + LAST_TIME)
                )
            share = 1 - times[step + 1] / times[step] if step < how.steps - 1 else torch.tensor(1.0)
            ids = _advance(ids, open_places, scores, share, how, constraint, candidates, generator)
        if history is not None:
            history.append(_masked(ids, mask_id, device))
    return _masked(ids, mask_id, device)


def _advance(
    ids: NDArray[np.int64],
    open_places: NDArray[np.int64],
    scores: Tensor,
    share: Tensor,
    how: Unmasking,
    constraint: TokenConstraint,
    candidates: Tensor,
    generator: torch.Generator | None,
) -> NDArray[np.int64]:
    """Fix `share` of the open places, whose rows in `scores` are in order."""
    row_of = {int(place): row for row, place in enumerate(open_places)}
    wanted: list[int] | None = None
    if how.algorithm == "origin":
        source = scores.device if generator is None else generator.device
        draws = torch.rand(len(open_places), device=source, generator=generator)
        wanted = [int(place) for place in open_places[(draws < float(share)).cpu().numpy()]]
    number = int(len(open_places) * share) if wanted is None else len(wanted)
    while number:
        places = wanted if wanted is not None else [int(place) for place in np.nonzero(ids == OPEN)[0]]
        allowed = constraint.allowed_compact(ids)
        if not allowed[places].any(1).all():
            raise ModelInputError(
                f"no text of the language has exactly {len(ids)} tokens: raise max_new_tokens"
            )
        rows = scores[[row_of[place] for place in places]]
        barred = torch.from_numpy(~allowed[places]).to(rows.device)
        confidence, best = sample(rows.masked_fill(barred, -torch.inf), how, generator)
        if wanted is not None:
            order = list(range(len(places)))
        elif how.alg_temp:
            order = _drawn_order(confidence / how.alg_temp, number, generator)
        else:
            order = torch.topk(confidence, number).indices.tolist()
        chosen = [places[index] for index in order]
        ids, taken = constraint.commit(ids, chosen, candidates[best[order]].tolist())
        if not taken.any():  # cannot be while the constraint keeps its word
            raise ModelInputError("the constraint allows tokens one by one that it then refuses")
        number -= int(taken.sum())
        if wanted is not None:
            wanted = [place for place in wanted if ids[place] == OPEN]
    return ids


def _forced(ids: NDArray[np.int64], constraint: TokenConstraint) -> NDArray[np.int64]:
    """Fill all open places if there is only one way to."""
    allowed = constraint.allowed_compact(ids)
    if not (allowed.sum(1) == 1).all():
        return ids
    return np.asarray(constraint.token_ids)[allowed.argmax(1)]


def _drawn_order(weights: Tensor, number: int, generator: torch.Generator | None) -> list[int]:
    probabilities = torch.softmax(weights, dim=-1)
    # A place whose weight has vanished in rounding can still be drawn, as the last.
    probabilities = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny)
    source = probabilities if generator is None else probabilities.to(generator.device)
    return torch.multinomial(source, number, generator=generator).tolist()


def _masked(ids: NDArray[np.int64], mask_id: int, device: torch.device) -> Tensor:
    return torch.from_numpy(np.where(ids == OPEN, mask_id, ids)).to(device)
