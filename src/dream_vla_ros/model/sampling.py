"""Unmasking: turn a row of mask tokens into a sequence, the surest places first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import ModelInputError

ALGORITHMS = ("origin", "maskgit_plus", "topk_margin", "entropy")
LAST_TIME = 1e-3  # where the published schedule ends, so that its logarithms stay finite
ENTROPY_FLOOR = 1e-10
# The published models inherit it from transformers' configuration, so their confidences rest on it.
PUBLISHED_TOP_K = 50

LogitsAt = Callable[[Tensor, Tensor], Tensor]
"""(tokens (places,), which are masked (places,)) -> logits (masked places, candidates)."""


@dataclass(frozen=True)
class Unmasking:
    """How to unmask.

    :param steps: forward passes.
    :param algorithm: `origin` unmasks places at random; `maskgit_plus` those with the most probable token,
        `topk_margin` with the widest lead over the runner-up, `entropy` with the lowest entropy first.
    :param temperature: 0 takes the best token, above that tokens are drawn.
    :param top_p: draw only from the most probable tokens that together reach this probability.
    :param top_k: count only that many tokens, in the draw and in the confidence; None counts all.
    :param alg_temp: above 0, the places to unmask are drawn by their confidence, too.
    :param eos_penalty: how strongly ending early is discouraged in the first steps.
    :param stop_early: stop as soon as nothing is masked before the first end token; the rest is padding.
    """

    steps: int
    algorithm: str = "maskgit_plus"
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = PUBLISHED_TOP_K
    alg_temp: float | None = None
    eos_penalty: float = 0.0
    stop_early: bool = False

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ModelInputError(f"algorithm must be one of {', '.join(ALGORITHMS)}, not {self.algorithm!r}")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise ModelInputError(f"steps must be a positive whole number, not {self.steps!r}")
        if not self.temperature >= 0:
            raise ModelInputError(f"temperature must be 0 or more, not {self.temperature!r}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ModelInputError(f"top_p must lie in (0, 1], not {self.top_p!r}")
        if self.top_k is not None and self.top_k < 1:
            raise ModelInputError(f"top_k must be 1 or more, not {self.top_k!r}")


def unmask(
    tokens: Tensor,
    logits_at: LogitsAt,
    mask_id: int,
    how: Unmasking,
    *,
    candidates: Tensor | None = None,
    pad_id: int | None = None,
    end_ids: Sequence[int] = (),
    generator: torch.Generator | None = None,
    history: list[Tensor] | None = None,
) -> Tensor:
    """Replace mask tokens step by step.

    :param tokens: (places,) ids, some or all of them `mask_id`.
    :param logits_at: the model.
    :param candidates: ids that the columns of the logits stand for; None if they are the vocabulary.
    :param pad_id: the token that `eos_penalty` discourages, and that fills up after an early stop.
    :param end_ids: tokens that end the text, for `stop_early`.
    :param generator: source of randomness, on any device; torch's default if None.
    :param history: if given, the tokens after each step are appended.
    :returns: (places,); masks remain only where the model itself predicts the mask token.
    """
    tokens = tokens.clone()
    times = torch.linspace(1, LAST_TIME, how.steps + 1)
    for step in range(how.steps):
        masked = tokens == mask_id
        count = int(masked.sum())
        if count:
            logits = logits_at(tokens, masked).float()
            if how.eos_penalty and pad_id is not None:
                column = pad_id if candidates is None else candidates == pad_id
                logits[:, column] += how.eos_penalty * float(torch.log(1 - times[step] + LAST_TIME))
            share = 1 - times[step + 1] / times[step] if step < how.steps - 1 else torch.tensor(1.0)
            tokens[masked] = _fill(logits, count, share, mask_id, how, candidates, generator)
        end = _settled_end(tokens, mask_id, end_ids) if how.stop_early else None
        if end is not None and pad_id is not None:
            tokens[end + 1 :] = pad_id
        if history is not None:
            history.append(tokens.clone())
    return tokens


def _settled_end(tokens: Tensor, mask_id: int, end_ids: Sequence[int]) -> int | None:
    """Return the place of the first end token if nothing before it is masked."""
    listed = tokens.tolist()
    end = next((place for place, token in enumerate(listed) if token in end_ids), None)
    return None if end is None or mask_id in listed[:end] else end


def _fill(
    logits: Tensor,
    count: int,
    share: Tensor,
    mask_id: int,
    how: Unmasking,
    candidates: Tensor | None,
    generator: torch.Generator | None,
) -> Tensor:
    """Return what stands at the masked places after one step that unmasks `share` of them."""
    filled = torch.full((count,), mask_id, device=logits.device)
    if how.algorithm == "origin":
        source = logits.device if generator is None else generator.device
        draws = torch.rand(count, device=source, generator=generator).to(logits.device)
        chosen = (draws < float(share)).nonzero()[:, 0]
        confidence, best = sample(logits[chosen], how, generator)
        filled[chosen] = best if candidates is None else candidates[best]
        return filled
    confidence, best = sample(logits, how, generator)
    if candidates is not None:
        best = candidates[best]
    number = int(count * share)  # in float32, as published: it decides how ties of rounding fall
    if not number:
        return filled
    if how.alg_temp:
        weights = torch.softmax(confidence / how.alg_temp, dim=-1)
        chosen = _draw(weights, number, generator)
    else:
        chosen = torch.topk(confidence, number).indices
    filled[chosen] = best[chosen]
    return filled


def sample(logits: Tensor, how: Unmasking, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Choose a token per row and say how sure the choice is.

    :param logits: (places, candidates).
    :returns: confidence (places,), and index of the candidate (places,).
    """
    if how.temperature > 0:
        logits = logits / how.temperature
    if how.top_p is not None and how.top_p < 1:
        logits = _keep_top_p(logits, how.top_p)
    columns = None
    if how.top_k is not None and how.top_k < logits.shape[-1]:
        best_logits, best_columns = torch.topk(logits, how.top_k)
        if how.temperature > 0:  # drawn over all columns, a seed gives what it gives the published models
            logits = logits.masked_fill(logits < best_logits[..., -1:], torch.finfo(logits.dtype).min)
        else:
            logits, columns = best_logits, best_columns
    probabilities = torch.softmax(logits, dim=-1)
    if how.temperature > 0 and len(logits):
        best = _draw(probabilities, 1, generator, replacement=True)[:, 0]
        confidence = probabilities.gather(-1, best[:, None])[:, 0]
    else:
        confidence, best = probabilities.max(dim=-1)
    if how.algorithm == "topk_margin":
        lead = torch.topk(probabilities, min(2, probabilities.shape[-1])).values
        confidence = lead[..., 0] - lead[..., 1:].sum(-1)
    elif how.algorithm == "entropy":
        confidence = (probabilities * torch.log(probabilities + ENTROPY_FLOOR)).sum(-1)
    return confidence, best if columns is None else columns.gather(-1, best[:, None])[:, 0]


def _draw(
    weights: Tensor, number: int, generator: torch.Generator | None, replacement: bool = False
) -> Tensor:
    """Draw indices along the last axis, where the generator is."""
    source = weights if generator is None else weights.to(generator.device)
    return torch.multinomial(source, number, replacement, generator=generator).to(weights.device)


def _keep_top_p(logits: Tensor, top_p: float) -> Tensor:
    """Rule out tokens beyond the most probable that together exceed `top_p`; the best always stays."""
    ordered, indices = torch.sort(logits, descending=True)
    beyond = torch.cumsum(torch.softmax(ordered, dim=-1), dim=-1) > top_p
    beyond = torch.cat([torch.zeros_like(beyond[..., :1]), beyond[..., :-1]], dim=-1)
    drop = torch.zeros_like(beyond).scatter(-1, indices, beyond)
    return logits.masked_fill(drop, torch.finfo(logits.dtype).min)
