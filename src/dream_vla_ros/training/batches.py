"""From samples to what the objectives take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dream_vla_ros.model.config import TokenIds
from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.model.objectives import IGNORED, TrainingBatch
from dream_vla_ros.model.processor import DreamVLAProcessor
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.store import Samples


@dataclass(frozen=True)
class Prompts:
    """Prompts of one step, right-padded to one length.

    :param input_ids: (batch, length).
    :param key_mask: (batch, length) bool, False at padding; None if no row is padded.
    """

    input_ids: Tensor
    key_mask: Tensor | None


class BatchMaker:
    """Makes batches of one model's inputs.

    :param model: Says chunk, tokens and statistics.
    :param processor: Of the same checkpoint.
    :param unnorm_key: The dataset in the model's statistics; None takes the first.
    """

    def __init__(
        self,
        model: DreamVLAForActionPrediction,
        processor: DreamVLAProcessor,
        unnorm_key: str | None = None,
    ) -> None:
        self._processor = processor
        self._statistics = model.statistics
        self._key = model.statistics.keys[0] if unnorm_key is None else model.statistics.resolve(unnorm_key)
        self._action_tokens = model.action_tokens
        self._tokens = model.config.tokens
        self._chunk = model.chunk_size
        self._takes_state = model.proprio_projector is not None
        self._prompts: dict[tuple[str, int, int], list[int]] = {}

    @property
    def tokens(self) -> TokenIds:
        """Ids of the model's special tokens."""
        return self._tokens

    def __call__(self, samples: Samples, images: NDArray[np.float32]) -> TrainingBatch:
        """Make a batch for the objective losses.

        :param samples: Instructions, states and actions.
        :param images: (N, cameras, size, size, 3) the samples' images, cropped and coloured, 0 to 255.
        """
        if samples.actions.shape[1] != self._chunk:
            raise TrainingError(
                f"samples hold chunks of {samples.actions.shape[1]} actions, the model predicts {self._chunk}"
            )
        actions, states = self.normalized(samples, self._key)
        return self.batch(samples.instructions, actions, states, images)

    def normalized(
        self, samples: Samples, key: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return the samples' actions, and states where the model takes them, by one dataset's statistics."""
        actions = self._statistics.normalize_actions(samples.actions, key).astype(np.float32)
        if not self._takes_state:
            return actions, None
        return actions, self._statistics.normalize_proprio(samples.proprio, key).astype(np.float32)

    def batch(
        self,
        instructions: Sequence[str],
        actions: NDArray[np.float32],
        states: NDArray[np.float32] | None,
        images: NDArray[np.float32],
    ) -> TrainingBatch:
        """Make a batch of what is normalised already.

        :param actions: (N, chunk, dim).
        :param states: (N, dim), None where the model takes none.
        :param images: (N, cameras, size, size, 3), cropped and coloured, 0 to 255.
        """
        closing = list(self._tokens.closing)
        tails = [[*ids.ravel().tolist(), *closing] for ids in self._action_tokens.encode(actions)]
        heads = [self.prompt(text, images.shape[1], images.shape[2]) for text in instructions]
        prompts = self._pad([head + tail for head, tail in zip(heads, tails, strict=True)])
        labels = torch.full_like(prompts.input_ids, IGNORED)
        for row, (head, tail) in enumerate(zip(heads, tails, strict=True)):
            labels[row, len(head) : len(head) + len(tail)] = torch.tensor(tail)
        patches, grids = self.patches(images)
        return TrainingBatch(
            input_ids=prompts.input_ids,
            labels=labels,
            actions=torch.from_numpy(actions),
            pixel_values=patches,
            image_grid_thw=grids,
            proprio=None if states is None else torch.from_numpy(states),
            key_mask=prompts.key_mask,
        )

    def prompt(self, instruction: str, cameras: int, size: int) -> list[int]:
        """Return the ids of the question for an action, as at inference."""
        key = (instruction, cameras, size)
        if key not in self._prompts:
            black = np.zeros((size, size, 3), dtype=np.uint8)
            self._prompts[key] = self._processor([black] * cameras, instruction)["input_ids"][0].tolist()
        return self._prompts[key]

    def prompts(self, instructions: Sequence[str], cameras: int, size: int) -> Prompts:
        """Return the questions alone."""
        return self._pad([self.prompt(text, cameras, size) for text in instructions])

    def states(self, samples: Samples) -> Tensor | None:
        """Return normalised states (N, dim); None where the model takes none."""
        _, states = self.normalized(samples, self._key)
        return None if states is None else torch.from_numpy(states)

    def patches(self, images: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """Cut images into normalised patches, as the processor does one by one.

        :param images: (N, cameras, size, size, 3), 0 to 255.
        :returns: (patches, patch_width) and grids (images, 3).
        """
        settings = self._processor.image_processor
        size, merge, span = settings.patch_size, settings.merge_size, settings.temporal_patch_size
        count = images.shape[0] * images.shape[1]
        rows, columns = images.shape[2] // size, images.shape[3] // size
        if images.shape[2] % (size * merge) or images.shape[3] % (size * merge):
            raise TrainingError(
                f"images of {images.shape[3]} x {images.shape[2]} pixels are no whole number of tokens of "
                f"{size * merge} pixels"
            )
        mean, std = (torch.tensor(values) for values in (settings.image_mean, settings.image_std))
        pixels = torch.from_numpy(images.reshape(count, *images.shape[2:]))
        pixels = pixels * (1.0 / (255.0 * std)) - mean / std
        cells = pixels.view(count, rows // merge, merge, size, columns // merge, merge, size, 3)
        cells = cells.permute(0, 1, 4, 2, 5, 7, 3, 6)  # big row, big column, row, column, colour, y, x
        still = cells.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, span, -1, -1)
        grids = torch.tensor([[1, rows, columns]]).expand(count, 3)
        return still.reshape(count * rows * columns, -1), grids

    def _pad(self, rows: Sequence[list[int]]) -> Prompts:
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self._tokens.pad)
        mask = torch.zeros((len(rows), longest), dtype=torch.bool)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = torch.tensor(row)
            mask[at, : len(row)] = True
        return Prompts(ids, None if bool(mask.all()) else mask)
