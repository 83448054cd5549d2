"""Learning to answer yes/no questions about images, as the planner will ask them.

The label is the simulation's own truth. What is predicted is the masked place of an answer, from the state
one place to its left, as everywhere in Dream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.model.language import rotary_tables
from dream_vla_ros.model.objectives import IGNORED
from dream_vla_ros.model.processor import DreamVLAProcessor
from dream_vla_ros.model.question_pack import QuestionPack, pack_questions
from dream_vla_ros.model.yes_no import answer_ids, question_messages
from dream_vla_ros.sim.symbols import symbols
from dream_vla_ros.training.augment import Augmentation
from dream_vla_ros.training.batches import BatchMaker
from dream_vla_ros.training.questions import NO, YES, draw_questions
from dream_vla_ros.training.store import SampleStore
from dream_vla_ros.training.table_scenes import tables_of


@dataclass(frozen=True, eq=False)
class AnswerBatch:
    """Questions about scenes, and their answers.

    :param pack: As many questions of each scene.
    :param pixel_values: Patches of all scenes' images, as many of each scene.
    :param yes: (scenes, questions) bool, the right answers.
    """

    pack: QuestionPack
    pixel_values: Tensor
    image_grid_thw: Tensor
    yes: Tensor


class AnswerLearner(nn.Module):
    """Learns to answer.

    :param model: Whatever is trainable of it learns.
    :param processor: Of the same checkpoint.
    """

    def __init__(self, model: DreamVLAForActionPrediction, processor: DreamVLAProcessor) -> None:
        super().__init__()
        self.model = model
        words = processor.tokenizer
        self._spellings = [answer_ids(words, answer) for answer in (False, True)]
        self._words = torch.tensor(
            [words.encode(text, add_special_tokens=False)[0] for text in (NO, YES)], dtype=torch.long
        )

    def forward(self, batch: AnswerBatch) -> dict[str, Tensor]:
        """Return ``loss``, the cross-entropy of the answers' tokens, and the share of right answers."""
        scores = self.scores(batch)
        asked = batch.pack.asked.to(scores.device)
        yes = batch.yes.to(scores.device)
        targets = self._words.to(scores.device)[yes.long()].masked_fill(~asked, IGNORED)
        loss = F.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        no_score, yes_score = (scores.detach()[..., ids].logsumexp(-1) for ids in self._spellings)
        right = ((yes_score > no_score) == yes)[asked].float().mean()
        return {"loss": loss, "right": right}

    def scores(self, batch: AnswerBatch) -> Tensor:
        """Score the vocabulary at every answer, (scenes, questions, vocabulary)."""
        model, pack = self.model, batch.pack
        grids = [(int(t), int(h), int(w)) for t, h, w in batch.image_grid_thw.tolist()]
        features = model.encode_images(batch.pixel_values.to(model.device, model.dtype), grids)
        embeds = model.place_images(pack.input_ids.to(model.device), features)
        rotary = rotary_tables(pack.positions.to(model.device), model.config, embeds.dtype)
        hidden = model.hidden_states(embeds, rotary, None, pack.mask.to(model.device))
        read = pack.read.to(model.device)[..., None].expand(-1, -1, hidden.shape[-1])
        return model.logits(hidden.gather(1, read)).float()


class AnswerFeeder:
    """Makes batches of questions about scenes.

    :param stores: Demonstrations or scenes with the label of blocks.
    :param maker: Of the same model.
    :param questions: Asked about each scene.
    :param shares: Weights of predicates among them; see :func:`draw_questions`.
    """

    def __init__(
        self,
        stores: Sequence[SampleStore],
        maker: BatchMaker,
        processor: DreamVLAProcessor,
        augmentation: Augmentation,
        *,
        questions: int = 12,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        self._stores = stores
        self._ends = np.cumsum([len(store) for store in stores])
        self._maker = maker
        self._processor = processor
        self._augmentation = augmentation
        self._questions = questions
        self._shares = shares
        self._prompts: dict[tuple[str, int, int], Tensor] = {}

    def __call__(
        self, indices: NDArray[np.int64], rng: np.random.Generator, *, training: bool = True
    ) -> AnswerBatch:
        """Make one batch.

        :param indices: Scenes, as numbers through all stores.
        :param rng: Source of all draws.
        :param training: False shows the images as inference does.
        """
        images, prompts, answers = [], [], []
        for index in indices:
            store = int(np.searchsorted(self._ends, index, side="right"))
            first = int(self._ends[store - 1]) if store else 0
            sample = self._stores[store].take([int(index) - first])
            (table,) = tables_of(sample)
            asked = draw_questions(
                symbols(table), list(table.blocks), rng, self._questions, shares=self._shares
            )
            images.append(sample.images[0])
            prompts.append([self._prompt(question.text, *sample.images.shape[1:3]) for question in asked])
            answers.append([question.answer for question in asked])
        shown = np.stack(images)
        flat = shown.reshape(-1, *shown.shape[2:])
        coloured = self._augmentation.random(flat, rng) if training else self._augmentation.center(flat)
        patches, grids = self._maker.patches(coloured.reshape(shown.shape))
        pack = pack_questions(prompts, self._maker.tokens)
        return AnswerBatch(pack, patches, grids, torch.tensor(answers))

    def _prompt(self, question: str, cameras: int, size: int) -> Tensor:
        key = (question, cameras, size)
        if key not in self._prompts:
            vision = self._processor.encode_images([np.zeros((size, size, 3), np.uint8)] * cameras)
            messages = question_messages(question, cameras)
            self._prompts[key] = self._processor.tokenize(messages, vision)[0]
        return self._prompts[key]
