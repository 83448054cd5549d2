"""What is learned from a batch: modules whose forward pass is the loss, so that they can be distributed."""

from __future__ import annotations

from dataclasses import dataclass

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
    at_images,
    question_about,
    states_before,
)
from dream_vla_ros.training.augment import Augmentation
from dream_vla_ros.training.batches import BatchMaker, Prompts
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.store import SampleStore

# Of the alignment questions, the share that names everything on the table; the others are the instructions.
_ASK_ABOUT_ALL = 0.75
WORD_LAYER, IMAGE_LAYER = -1, -2
"""Layers, counted from the end, before which words and image tokens must know."""
# Cross-entropy over some dozens of places is several times the other losses while it is learned.
_OWN_PLACE = 0.2


@dataclass(frozen=True, eq=False)
class AlignmentBatch:
    """Questions about scenes.

    :param labels: (batch, names, numbers), NaN where there is no such thing.
    """

    prompts: Prompts
    pixel_values: Tensor
    image_grid_thw: Tensor
    proprio: Tensor | None
    labels: Tensor


@dataclass(frozen=True, eq=False)
class ActionBatch:
    """Demonstrations, and a seed for what the objective draws.

    :param labels: As of :class:`AlignmentBatch`; None without alignment.
    """

    batch: TrainingBatch
    labels: Tensor | None
    seed: int


class AlignmentLearner(nn.Module):
    """Learns where named things are.

    :param head: Reads places at words; trained along, not needed for acting.
    :param scene: Reads places at image tokens, which teaches the vision tower long before words find what
        they name; not needed afterwards.
    """

    def __init__(
        self,
        model: DreamVLAForActionPrediction,
        head: PlaceHead,
        places: NamedPlaces,
        scene: SceneHead,
    ) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self.scene = scene
        self._places = places

    def forward(self, batch: AlignmentBatch) -> dict[str, Tensor]:
        """Return ``loss`` and the median error of places [m]."""
        model, mask = self.model, batch.prompts.key_mask
        ids, patches, grids = model.read_prompt(
            batch.prompts.input_ids, batch.pixel_values, batch.image_grid_thw
        )
        if batch.proprio is None:
            raise TrainingError("alignment needs the robot's state: places are told relative to the gripper")
        state = model.read_proprio(batch.proprio)
        with states_before(model, WORD_LAYER, IMAGE_LAYER) as seen:
            model.hidden_with_prefix(
                model.embed(ids, patches, grids),
                slice(0, 1),
                proprio=state,
                key_mask=None if mask is None else mask.to(model.device),
            )
        words, error_m = self._places.loss(self.head, seen[WORD_LAYER], ids, batch.labels)
        shown = at_images(seen[IMAGE_LAYER], ids, model.config.tokens.image)
        own, scene = self.scene.loss(shown, batch.labels)
        parts = {"word_loss": words.detach(), "scene_loss": scene.detach(), "own_place_loss": own.detach()}
        return {"loss": words + scene + _OWN_PLACE * own, **parts, "place_error_m": torch.tensor(error_m)}


class ActionLearner(nn.Module):
    """Learns actions by the model's objective, and keeps what alignment taught.

    :param head: With ``places``: keeps the alignment loss, of this weight; None learns actions only.
    :param weighting: Of masked tokens, for discrete diffusion.
    """

    def __init__(
        self,
        model: DreamVLAForActionPrediction,
        head: PlaceHead | None = None,
        places: NamedPlaces | None = None,
        *,
        alignment_weight: float = 0.3,
        weighting: Weighting = "cart",
    ) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self._places = places
        self._alignment_weight = alignment_weight
        self._weighting: Weighting = weighting

    def forward(self, batch: ActionBatch) -> dict[str, Tensor]:
        """Return ``loss`` and its parts."""
        generator = torch.Generator().manual_seed(batch.seed)
        with states_before(self.model, WORD_LAYER) as seen:
            action = training_loss(self.model, batch.batch, weighting=self._weighting, generator=generator)
        if self.head is None or self._places is None or batch.labels is None:
            return {"loss": action, "action_loss": action.detach()}
        ids = batch.batch.input_ids.to(self.model.device)
        align, error_m = self._places.loss(self.head, seen[WORD_LAYER], ids, batch.labels)
        return {
            "loss": action + self._alignment_weight * align,
            "action_loss": action.detach(),
            "place_error_m": torch.tensor(error_m),
        }


class Feeder:
    """Makes batches of samples by their numbers.

    :param label: Name of the alignment label; None without.
    :param names: What its second axis stands for.
    :param align: Whether to ask about scenes rather than to show actions.
    """

    def __init__(
        self,
        store: SampleStore,
        maker: BatchMaker,
        augmentation: Augmentation,
        *,
        label: str | None = None,
        names: tuple[str, ...] = (),
        align: bool = False,
    ) -> None:
        self._store = store
        self._maker = maker
        self._augmentation = augmentation
        self._label = label
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
        shape = samples.images.shape
        flat = samples.images.reshape(-1, *shape[2:])
        shown = self._augmentation.random(flat, rng) if training else self._augmentation.center(flat)
        images = shown.reshape(shape)
        labels = None if self._label is None else torch.from_numpy(samples.labels[self._label])
        seed = int(rng.integers(2**63 - 1))
        if not self._align:
            return ActionBatch(self._maker(samples, images), labels, seed)
        assert labels is not None
        known = samples.labels[self._label or ""][:, :, 0]
        questions = [
            question_about(self._names, np.isfinite(row), rng) if rng.random() < _ASK_ABOUT_ALL else text
            for row, text in zip(known, samples.instructions, strict=True)
        ]
        prompts = self._maker.prompts(questions, shape[1], shape[2])
        patches, grids = self._maker.patches(images)
        return AlignmentBatch(prompts, patches, grids, self._maker.states(samples), labels)
