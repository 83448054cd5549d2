"""Training losses of the five objectives, as pure functions of a model, a batch and the random draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import ModelInputError
from .language import take
from .objective import Objective

if TYPE_CHECKING:
    from .dream_vla import DreamVLAForActionPrediction

IGNORED = -100  # label of places that are not learned
LEAST_MASKING = 1e-3  # smallest probability of masking a token, so that every row can teach something
CART_DECAY = 0.1  # of the published `cart` weights
FLOW_TIME_SHAPE = 1.5  # of the published draw of flow times: more of them near the action than near the noise
LEAST_FLOW_TIME = 1e-3

Weighting = Literal["none", "original", "linear", "cart"]
"""How much a masked token counts: all alike; by the inverse of its masking probability; by the probability
that it was not masked; by how near it is to tokens that can be seen."""


@dataclass(frozen=True)
class TrainingBatch:
    """Examples of one step, right-padded to one length.

    :param input_ids: (batch, length) prompt, action tokens, the two closing tokens.
    :param labels: (batch, length) the same ids at action and closing places, -100 elsewhere.
    :param actions: (batch, chunk, dim) normalised to [-1, 1].
    :param pixel_values: (patches, patch_width) of all images of all rows.
    :param image_grid_thw: (images, 3).
    :param proprio: (batch, proprio_dim) normalised; None trains without the state token.
    :param key_mask: (batch, length) bool, False at padding; None if no row is padded.
    """

    input_ids: Tensor
    labels: Tensor
    actions: Tensor
    pixel_values: Tensor
    image_grid_thw: Tensor
    proprio: Tensor | None = None
    key_mask: Tensor | None = None


def training_loss(
    model: DreamVLAForActionPrediction,
    batch: TrainingBatch,
    *,
    weighting: Weighting = "cart",
    start_share: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the loss of the model's own objective, with everything random drawn from `generator`.

    :param weighting: of masked tokens, for discrete diffusion.
    :param start_share: of the examples, for flow matching; see :func:`loss_flow_matching`.
    """
    if model.objective is Objective.DISCRETE_DIFFUSION:
        return loss_discrete_diffusion(model, batch, weighting=weighting, generator=generator)
    if model.objective is Objective.FLOW_MATCHING:
        return loss_flow_matching(model, batch, start_share=start_share, generator=generator)
    if model.objective is Objective.DIFFUSION:
        return loss_diffusion(model, batch, generator=generator)
    plain: dict[Objective, Callable[[DreamVLAForActionPrediction, TrainingBatch], Tensor]] = {
        Objective.L1_REGRESSION: loss_l1_regression,
        Objective.DISCRETE: loss_discrete,
    }
    return plain[model.objective](model, batch)


def loss_flow_matching(
    model: DreamVLAForActionPrediction,
    batch: TrainingBatch,
    *,
    noise: Tensor | None = None,
    time: Tensor | None = None,
    start_share: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the mean squared error of the velocity from noise to action.

    :param noise: (batch, chunk, dim), drawn if None.
    :param time: (batch,) from 0 = noise to 1 = action, drawn if None.
    :param start_share: of the examples whose drawn time is replaced by 0. Times as published are hardly ever
        there, but there every prediction begins, and one in a single step ends.
    """
    actions = batch.actions.to(model.device).float()
    noise = draw_noise(actions, generator) if noise is None else noise.to(actions)
    if time is None:
        time = draw_flow_time(len(actions), actions.device, generator)
        if not 0.0 <= start_share <= 1.0:
            raise ModelInputError(f"start_share is {start_share}, not 0 to 1")
        if start_share > 0.0:
            draws = torch.rand(len(time), generator=generator, device=_source(generator, time.device))
            time = torch.where(draws.to(time.device) < start_share, 0.0, time)
    time = time.to(actions)
    at = time[:, None, None]
    predicted = _head_output(model, batch, (1 - at) * noise + at * actions, time)
    return F.mse_loss(predicted, actions - noise)


def loss_diffusion(
    model: DreamVLAForActionPrediction,
    batch: TrainingBatch,
    *,
    noise: Tensor | None = None,
    timestep: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the mean squared error of the predicted noise.

    :param noise: (batch, chunk, dim), drawn if None.
    :param timestep: (batch,) whole training steps, drawn if None.
    """
    actions = batch.actions.to(model.device).float()
    noise = draw_noise(actions, generator) if noise is None else noise.to(actions)
    if timestep is None:
        source = _source(generator, actions.device)
        timestep = torch.randint(model.ddim.train_steps, (len(actions),), generator=generator, device=source)
    timestep = timestep.to(actions.device)
    noisy = model.ddim.add_noise(actions, noise, timestep)
    return F.mse_loss(_head_output(model, batch, noisy, timestep), noise)


def loss_l1_regression(model: DreamVLAForActionPrediction, batch: TrainingBatch) -> Tensor:
    """Return the mean absolute error of the predicted actions."""
    return F.l1_loss(_head_output(model, batch, None, None), batch.actions.to(model.device).float())


def loss_discrete(model: DreamVLAForActionPrediction, batch: TrainingBatch) -> Tensor:
    """Return the mean cross-entropy at action and closing places, the action places being zeroed."""
    labels = batch.labels.to(model.device)
    learned = labels != IGNORED
    embeds = _embed(model, batch, batch.input_ids)
    embeds = embeds.masked_fill(_at_actions(model, labels)[..., None], 0.0)
    logits = _logits_at(model, batch, embeds, learned)
    return F.cross_entropy(logits, labels[learned])


def loss_discrete_diffusion(
    model: DreamVLAForActionPrediction,
    batch: TrainingBatch,
    *,
    mask_indices: Tensor | None = None,
    p_mask: Tensor | None = None,
    weighting: Weighting = "cart",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the weighted cross-entropy of masked tokens.

    :param mask_indices: (batch, length) which tokens are masked; drawn together with `p_mask` if None.
    :param p_mask: (batch,) the masking probability of each row.
    """
    if weighting not in get_args(Weighting):
        raise ModelInputError(f"weighting must be one of {', '.join(get_args(Weighting))}, not {weighting!r}")
    labels = batch.labels.to(model.device)
    learned = labels != IGNORED
    if mask_indices is None or p_mask is None:
        mask_indices, p_mask = draw_masks(learned, generator)
    masked = mask_indices.to(model.device) & learned
    ids = batch.input_ids.to(model.device).masked_fill(masked, model.config.tokens.mask)
    logits = _logits_at(model, batch, _embed(model, batch, ids), masked)
    losses = F.cross_entropy(logits, labels[masked], reduction="none")
    probability = p_mask.to(losses)[:, None].expand_as(labels)[masked]
    if weighting == "original":
        losses = losses / probability
    elif weighting == "linear":
        losses = losses * (1 - probability)
    elif weighting == "cart":
        losses = losses * cart_weights(masked, batch.key_mask)[masked]
    return losses.sum() / masked.sum().clamp(min=1)


def cart_weights(masked: Tensor, key_mask: Tensor | None = None, decay: float = CART_DECAY) -> Tensor:
    """Weigh each token by the visible ones around it: geometrically less the farther away they are.

    The first token is never counted: the published code weighs in the frame shifted by one.

    :param masked: (batch, length) bool.
    :param key_mask: (batch, length) bool, False at padding, which is not visible.
    :returns: (batch, length).
    """
    visible = ~masked if key_mask is None else ~masked & key_mask.to(masked.device)
    place = torch.arange(1, masked.shape[1], device=masked.device)
    distance = (place[:, None] - place[None, :]).abs()
    nearness = 0.5 * decay * torch.exp((distance - 1) * math.log(1 - decay))
    weights = visible[:, 1:].float() @ nearness.masked_fill(distance == 0, 0.0)
    return F.pad(weights, (1, 0))


def draw_noise(actions: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw standard normal noise of the shape of `actions`."""
    source = _source(generator, actions.device)
    return torch.randn(actions.shape, generator=generator, device=source).to(actions)


def draw_flow_time(batch: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Draw flow times (batch,) in (0, 1] as published."""
    first, second = torch.rand((2, batch), generator=generator, device=_source(generator, device)).to(device)
    first = first ** (1 / FLOW_TIME_SHAPE)
    return first / (first + second) * (1 - LEAST_FLOW_TIME) + LEAST_FLOW_TIME


def draw_masks(learned: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Draw which learned tokens to mask (batch, length), and each row's masking probability (batch,)."""
    source = _source(generator, learned.device)
    level = torch.rand(len(learned), generator=generator, device=source).to(learned.device)
    p_mask = (1 - LEAST_MASKING) * level + LEAST_MASKING
    draws = torch.rand(learned.shape, generator=generator, device=source).to(learned.device)
    return (draws < p_mask[:, None]) & learned, p_mask


def _source(generator: torch.Generator | None, device: torch.device) -> torch.device:
    return generator.device if generator is not None else device


def _embed(model: DreamVLAForActionPrediction, batch: TrainingBatch, ids: Tensor) -> Tensor:
    ids, patches, grids = model.read_prompt(ids, batch.pixel_values, batch.image_grid_thw)
    return model.embed(ids, patches, grids)


def _at_actions(model: DreamVLAForActionPrediction, labels: Tensor) -> Tensor:
    """Return which labels are action tokens (batch, length)."""
    tokens = model.action_tokens
    return (labels >= tokens.first_id) & (labels < tokens.tokenizer_length)


def _head_output(
    model: DreamVLAForActionPrediction, batch: TrainingBatch, noisy: Tensor | None, time: Tensor | None
) -> Tensor:
    """Return the action head's output (batch, chunk, dim), float32, given noisy actions or zeroed places."""
    if model.action_head is None:
        raise ModelInputError("this model has no action head: read it with a continuous objective")
    at_actions = _at_actions(model, batch.labels.to(model.device))
    counts = at_actions.sum(1)
    if not bool((counts == model.action_places).all()):
        raise ModelInputError(
            f"labels hold {counts.tolist()} action tokens per row, but a chunk of this model takes "
            f"{model.action_places}"
        )
    places = at_actions.nonzero()[:, 1].view(len(at_actions), -1)
    embeds = _embed(model, batch, batch.input_ids)
    if noisy is None:
        embeds = embeds.masked_fill(at_actions[..., None], 0.0)
    else:
        embeds = embeds.masked_scatter(
            at_actions[..., None], model.embed_noisy_actions(noisy).to(embeds.dtype)
        )
    hidden = _hidden(model, batch, embeds, places - 1, time)
    return model.action_head(hidden).float()


def _logits_at(
    model: DreamVLAForActionPrediction, batch: TrainingBatch, embeds: Tensor, wanted: Tensor
) -> Tensor:
    """Return logits (wanted places, vocabulary), float32, that predict `wanted` (batch, length)."""
    hidden = take(_hidden(model, batch, embeds, None, None), slice(0, -1))
    return model.logits(hidden[wanted[:, 1:]]).float()


def _hidden(
    model: DreamVLAForActionPrediction,
    batch: TrainingBatch,
    embeds: Tensor,
    places: Tensor | None,
    time: Tensor | None,
) -> Tensor:
    proprio = None if batch.proprio is None else model.read_proprio(batch.proprio)
    mask = None if batch.key_mask is None else batch.key_mask.to(model.device, torch.bool)
    read = slice(0, embeds.shape[1]) if places is None else places
    return model.hidden_with_prefix(embeds, read, proprio=proprio, time=time, key_mask=mask)
