"""What is learned from a batch: modules whose forward pass is the loss, so that they can be distributed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.model.objectives import TrainingBatch, Weighting, training_loss
from dream_vla_ros.training.alignment import (
    NamedPlaces,
    PlaceHead,
    SceneHead,
    SightHead,
    at_images,
    question_about,
    shown,
    states_before,
)
from dream_vla_ros.training.augment import Augmentation
from dream_vla_ros.training.batches import BatchMaker, Prompts
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.store import SampleStore
from dream_vla_ros.training.wording import reworded_some

# Of the alignment questions, the share that names everything on the table; the others are the instructions.
_ASK_ABOUT_ALL = 0.75
WORD_LAYER, IMAGE_LAYER, FIRST_LAYER = -1, -2, 0
ALIGNED = (WORD_LAYER, IMAGE_LAYER, FIRST_LAYER)
"""Layers before which words, image tokens, and the vision tower's tokens must know; counted from the end, as
far as they are negative."""
# Cross-entropy over some dozens of places is several times the other losses while it is learned.
_OWN_PLACE = 0.2


@dataclass(frozen=True, eq=False)
class AlignmentBatch:
    """Questions about scenes.

    :param labels: (batch, names, numbers), NaN where there is no such thing.
    :param sight: (batch, cameras, names, 11), where each thing is in the images.
    """

    prompts: Prompts
    pixel_values: Tensor
    image_grid_thw: Tensor
    proprio: Tensor | None
    labels: Tensor
    sight: Tensor


@dataclass(frozen=True, eq=False)
class ActionBatch:
    """Demonstrations, and a seed for what the objective draws.

    :param labels: As of :class:`AlignmentBatch`, as ``sight``; None without alignment.
    """

    batch: TrainingBatch
    labels: Tensor | None
    sight: Tensor | None
    seed: int


class Alignment(nn.Module):
    """The heads that read what alignment teaches, and its loss; not needed for acting.

    :param head: Reads places at words.
    :param places: Finds the words.
    :param scene: Reads places at image tokens.
    :param sight: Reads what the vision tower's tokens show, which teaches it long before words find what they
        name.
    """

    def __init__(self, head: PlaceHead, places: NamedPlaces, scene: SceneHead, sight: SightHead) -> None:
        super().__init__()
        self.head = head
        self.scene = scene
        self.sight = sight
        self._places = places

    def forward(
        self, states: Mapping[int, Tensor], ids: Tensor, image_token: int, labels: Tensor, sight: Tensor
    ) -> dict[str, Tensor]:
        """Return ``align_loss``, its parts, and the median error of places at words [m].

        :param states: What went into the layers ``ALIGNED`` (batch, length, width); tokens in front of the
            prompt come first.
        :param ids: (batch, length) of the prompt.
        :param labels: (batch, names, numbers), NaN where there is no such thing.
        :param sight: (batch, cameras, names, 11), where each thing is in the images.
        """
        words, error_m = self._places.loss(self.head, states[WORD_LAYER], ids, labels)
        seen, found = self.sight.loss(at_images(states[FIRST_LAYER], ids, image_token), sight)
        tokens = at_images(states[IMAGE_LAYER], ids, image_token)
        own, scene = self.scene.loss(tokens, labels, shown(sight, tokens.shape[1])[0])
        parts = {"word_loss": words, "scene_loss": scene, "own_place_loss": own, "sight_loss": seen}
        return {
            "align_loss": words + scene + _OWN_PLACE * own + seen,
            **{name: part.detach() for name, part in parts.items()},
            "found": found,
            "place_error_m": torch.tensor(error_m),
        }


class AlignmentLearner(nn.Module):
    """Learns where named things are."""

    def __init__(self, model: DreamVLAForActionPrediction, alignment: Alignment) -> None:
        super().__init__()
        self.model = model
        self.alignment = alignment

    def forward(self, batch: AlignmentBatch) -> dict[str, Tensor]:
        """Return ``loss`` and its parts."""
        model, mask = self.model, batch.prompts.key_mask
        ids, patches, grids = model.read_prompt(
            batch.prompts.input_ids, batch.pixel_values, batch.image_grid_thw
        )
        if batch.proprio is None:
            raise TrainingError("alignment needs the robot's state: places are told relative to the gripper")
        state = model.read_proprio(batch.proprio)
        with states_before(model, *ALIGNED) as seen:
            model.hidden_with_prefix(
                model.embed(ids, patches, grids),
                slice(0, 1),
                proprio=state,
                key_mask=None if mask is None else mask.to(model.device),
            )
        values = self.alignment(seen, ids, model.config.tokens.image, batch.labels, batch.sight)
        return {"loss": values.pop("align_loss"), **values}


class ActionLearner(nn.Module):
    """Learns actions by the model's objective, and keeps what alignment taught.

    :param alignment: Keeps its loss, of this weight; None learns actions only.
    :param weighting: Of masked tokens, for discrete diffusion.
    :param start_share: Of the examples that start from pure noise, for flow matching.
    """

    def __init__(
        self,
        model: DreamVLAForActionPrediction,
        alignment: Alignment | None = None,
        *,
        alignment_weight: float = 0.3,
        weighting: Weighting = "cart",
        start_share: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.alignment = alignment
        self._alignment_weight = alignment_weight
        self._weighting: Weighting = weighting
        self._start_share = start_share

    def forward(self, batch: ActionBatch) -> dict[str, Tensor]:
        """Return ``loss`` and its parts."""
        generator = torch.Generator().manual_seed(batch.seed)
        layers = ALIGNED if self.alignment is not None else ()
        with states_before(self.model, *layers) as seen:
            action = training_loss(
                self.model,
                batch.batch,
                weighting=self._weighting,
                start_share=self._start_share,
                generator=generator,
            )
        if self.alignment is None or batch.labels is None or batch.sight is None:
            return {"loss": action, "action_loss": action.detach()}
        ids = batch.batch.input_ids.to(self.model.device)
        image = self.model.config.tokens.image
        values = self.alignment(seen, ids, image, batch.labels, batch.sight)
        loss = action + self._alignment_weight * values.pop("align_loss")
        return {"loss": loss, "action_loss": action.detach(), **values}


class Feeder:
    """Makes batches of samples by their numbers.

    :param label: Name of the alignment label; None without.
    :param sight: Name of the label of places in images; needed to align.
    :param names: What its second axis stands for.
    :param align: Whether to ask about scenes rather than to show actions.
    :param reworded: Share of the instructions that are said in other words; see ``wording``.
    """

    def __init__(
        self,
        store: SampleStore,
        maker: BatchMaker,
        augmentation: Augmentation,
        *,
        label: str | None = None,
        sight: str | None = None,
        names: tuple[str, ...] = (),
        align: bool = False,
        reworded: float = 0.0,
    ) -> None:
        self._reworded = reworded
        self._store = store
        self._maker = maker
        self._augmentation = augmentation
        self._label = label
        self._sight = sight
        self._names = names
        self._align = align

    def __call__(
        self, indices: NDArray[np.int64], rng: np.random.Generator, *, training: bool = True
    ) -> AlignmentBatch | ActionBatch:
        """Make one batch.

        :param rng: Source of all draws.
        :param training: False shows the images as inference does.
        """
        samples = self._store.take(indices)
        if training and self._reworded:
            words = reworded_some(samples.instructions, self._reworded, rng)
            samples = replace(samples, instructions=words)
        shape = samples.images.shape
        flat = samples.images.reshape(-1, *shape[2:])
        shown = self._augmentation.random(flat, rng) if training else self._augmentation.center(flat)
        images = shown.reshape(shape)
        labels = None if self._label is None else torch.from_numpy(samples.labels[self._label])
        sight = None if self._sight is None else torch.from_numpy(samples.labels[self._sight])
        seed = int(rng.integers(2**63 - 1))
        if sight is not None and self._augmentation.crop_area < 1.0:
            raise TrainingError("labels of places in images do not follow random crops: set crop_area to 1")
        if not self._align:
            return ActionBatch(self._maker(samples, images), labels, sight, seed)
        if labels is None or sight is None:
            raise TrainingError("alignment needs labels of things and of where images show them")
        known = samples.labels[self._label or ""][:, :, 0]
        questions = [
            question_about(self._names, np.isfinite(row), rng) if rng.random() < _ASK_ABOUT_ALL else text
            for row, text in zip(known, samples.instructions, strict=True)
        ]
        prompts = self._maker.prompts(questions, shape[1], shape[2])
        patches, grids = self._maker.patches(images)
        return AlignmentBatch(prompts, patches, grids, self._maker.states(samples), labels, sight)
