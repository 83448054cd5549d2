"""From a scene to actions: the loops of the five objectives, whatever runs their passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from .continuation import Continuation, PreviousChunk, guided_velocity, without_weight_gradients
from .objective import Objective
from .sampling import Unmasking, sample, unmask
from .scene import PlainScene, Scene
from .vision import Grid

if TYPE_CHECKING:
    from .dream_vla import DreamVLAForActionPrediction


class Runner(Protocol):
    """Runs the passes of predictions."""

    def scene(
        self, ids: Tensor, patches: Tensor | None, grids: Sequence[Grid], state: Tensor | None
    ) -> Scene:
        """Make a scene of one observation.

        :param ids: (1, length) of the prompt.
        :param patches: (patches, patch_width) of all images.
        :param state: (1, proprio_dim), normalised.
        """

    def encoded(self, scene: Scene) -> Scene:
        """Return the scene, ready for passes that are run one by one."""

    def regress(self, scene: Scene) -> Tensor:
        """See :func:`regress`."""

    def denoise(self, scene: Scene, noise: Tensor, steps: int, before: Continuation | None = None) -> Tensor:
        """See :func:`denoise`."""


class PlainRunner:
    """Runs every pass as it comes."""

    def __init__(self, model: DreamVLAForActionPrediction) -> None:
        self._model = model

    def scene(
        self, ids: Tensor, patches: Tensor | None, grids: Sequence[Grid], state: Tensor | None
    ) -> Scene:
        """Embed a prompt with its images."""
        return PlainScene(self._model, self._model.embed(ids, patches, grids), state)

    def encoded(self, scene: Scene) -> Scene:
        """Return the scene as it is."""
        return scene

    def regress(self, scene: Scene) -> Tensor:
        """See :func:`regress`."""
        return regress(self._model, scene)

    def denoise(self, scene: Scene, noise: Tensor, steps: int, before: Continuation | None = None) -> Tensor:
        """See :func:`denoise`."""
        return denoise(self._model, scene, noise, steps, before)


def regress(model: DreamVLAForActionPrediction, scene: Scene) -> Tensor:
    """Predict actions (1, chunk, dim) in one pass over zeroed places."""
    return _head_output(model, scene, _blank(model), None)


def denoise(
    model: DreamVLAForActionPrediction,
    scene: Scene,
    noise: Tensor,
    steps: int,
    before: Continuation | None = None,
) -> Tensor:
    """Go from noise to actions in float32, whatever the type of the weights.

    Nothing here depends on values on the device, so that all of it can be recorded.

    :param noise: (draws, chunk, dim).
    :param before: what is left of the chunk before.
    :returns: (draws, chunk, dim).
    """
    flow = model.objective is Objective.FLOW_MATCHING
    times = [i / steps for i in range(steps)] if flow else model.ddim.timesteps(steps)
    actions = noise
    for time in times:
        if before is not None and before.guidance_limit is not None:
            actions = actions + _guided(model, scene, actions, time, before) / steps
            continue
        actions = _with_frozen(model, actions, noise, time, before)
        output = _head_output(model, scene, model.embed_noisy_actions(actions), float(time))
        actions = actions + output / steps if flow else model.ddim.step(actions, output, int(time), steps)
    return _with_frozen(model, actions, noise, None, before)


def choose(
    model: DreamVLAForActionPrediction,
    scene: Scene,
    how: Unmasking,
    action_tokens_only: bool,
    generator: torch.Generator | None,
) -> Tensor:
    """Choose the token ids (places,) of all actions in one pass over zeroed places."""
    hidden = _hidden_at_actions(model, scene, _blank(model), None)[0]
    candidates = _action_ids(model) if action_tokens_only else None
    _, chosen = sample(model.logits(hidden, candidates).float(), how, generator)
    return chosen if candidates is None else candidates[chosen]


def unmask_actions(
    model: DreamVLAForActionPrediction,
    scene: Scene,
    how: Unmasking,
    action_tokens_only: bool,
    generator: torch.Generator | None,
    previous: PreviousChunk | None = None,
) -> Tensor:
    """Unmask the action places and the two closing ones together; return the actions' ids (places,)."""
    ids, device = model.config.tokens, model.device
    count = model.action_places + len(ids.closing)
    candidates, allowed = None, None
    if action_tokens_only:
        candidates = torch.cat([_action_ids(model), torch.tensor(ids.closing, device=device)])
        at_closing = torch.arange(count, device=device) >= model.action_places
        is_closing = torch.arange(len(candidates), device=device) >= len(model.action_tokens.ids)
        allowed = at_closing[:, None] == is_closing

    def logits_at(tokens: Tensor, masked: Tensor) -> Tensor:
        hidden = scene.hidden(model.model.embed_tokens(tokens)[None], count)
        logits = model.logits(hidden[0, masked], candidates)
        return logits if allowed is None else logits.masked_fill(~allowed[masked], -torch.inf)

    masks = torch.full((count,), ids.mask, device=device)
    if previous is not None and previous.frozen:
        given = model.action_tokens.encode(previous.actions[: previous.frozen]).reshape(-1)
        masks[: len(given)] = torch.from_numpy(given).to(device)
    tokens = unmask(
        masks, logits_at, ids.mask, how, candidates=candidates, pad_id=ids.pad, generator=generator
    )
    return tokens[: model.action_places]


def _hidden_at_actions(
    model: DreamVLAForActionPrediction, scene: Scene, tokens: Tensor, time: float | None
) -> Tensor:
    """Return the hidden states that predict the action places, given the embeddings that stand there."""
    closing = model.model.embed_tokens(model.closing_ids)[None].expand(len(tokens), -1, -1)
    return scene.hidden(torch.cat([tokens, closing], dim=1), model.action_places, time)


def _head_output(
    model: DreamVLAForActionPrediction, scene: Scene, tokens: Tensor, time: float | None
) -> Tensor:
    """Return the action head's output (draws, chunk, dim) in float32."""
    assert model.action_head is not None
    return model.action_head(_hidden_at_actions(model, scene, tokens, time)).float()


def _guided(
    model: DreamVLAForActionPrediction, scene: Scene, actions: Tensor, time: float, before: Continuation
) -> Tensor:
    with without_weight_gradients(model):
        return guided_velocity(
            lambda noisy: _head_output(model, scene, model.embed_noisy_actions(noisy), float(time)),
            actions,
            time,
            before,
        )


def _with_frozen(
    model: DreamVLAForActionPrediction,
    actions: Tensor,
    noise: Tensor,
    time: float | None,
    before: Continuation | None,
) -> Tensor:
    """Put the frozen actions into their places, as noisy as time has them; None stands for the end."""
    if before is None or before.guidance_limit is not None:
        return actions
    frozen = before.target
    if time is not None and model.objective is Objective.FLOW_MATCHING:
        frozen = (1.0 - time) * noise + time * frozen
    elif time is not None:
        frozen = model.ddim.noisy(frozen, noise, int(time))
    return torch.where(before.weights > 0, frozen, actions)


def _blank(model: DreamVLAForActionPrediction) -> Tensor:
    """Return the zeros that stand at the action places where nothing is known of the actions."""
    shape = (1, model.action_places, model.config.hidden_size)
    return torch.zeros(shape, dtype=model.dtype, device=model.device)


def _action_ids(model: DreamVLAForActionPrediction) -> Tensor:
    return torch.tensor(model.action_tokens.ids, device=model.device)
