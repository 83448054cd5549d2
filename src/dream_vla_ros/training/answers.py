"""Learning to answer yes/no questions about images, as the planner will ask them.

The label is the simulation's own truth. What is predicted is the masked place of an answer, from the state
one place to its left, as everywhere in Dream. Beside it, words for blocks and the image tokens that show them
learn what :mod:`~dream_vla_ros.training.block_facts` says of each.
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
from dream_vla_ros.model.processor import DreamVLAProcessor
from dream_vla_ros.model.yes_no import answer_ids, question_messages
from dream_vla_ros.planning.terms import State
from dream_vla_ros.sim.symbols import symbols
from dream_vla_ros.training.alignment import states_before
from dream_vla_ros.training.augment import Augmentation
from dream_vla_ros.training.batches import BatchMaker
from dream_vla_ros.training.block_facts import FactHeads, block_facts
from dream_vla_ros.training.demonstrations import SIGHT_LABEL
from dream_vla_ros.training.question_rows import QuestionRows, RowAttention, question_rows
from dream_vla_ros.training.questions import NO, YES, draw_questions, near_misses
from dream_vla_ros.training.store import SampleStore
from dream_vla_ros.training.table_scenes import tables_of
from dream_vla_ros.training.texts import TextBatch, TextMaker, text_loss

# The last layer carries what words know to the answers, the one before it what images know to the words.
_WORD_LAYER, _IMAGE_LAYER = -1, -2


@dataclass(frozen=True, eq=False)
class AnswerBatch:
    """Questions about scenes, and their answers.

    :param rows: As many questions of each scene.
    :param pixel_values: Patches of all scenes' images, as many of each scene.
    :param proprio: (scenes, dim) normalised states in front of the questions; None without.
    :param yes: (scenes, questions) bool, the right answers.
    :param facts: (scenes, names, facts), NaN where there is no such block; see ``block_facts``.
    :param sight: (scenes, cameras, names, 11), where images show each block; see ``SIGHT_LABEL``.
    :param texts: Goals and plans to be written about some of the scenes.
    """

    rows: QuestionRows
    pixel_values: Tensor
    image_grid_thw: Tensor
    proprio: Tensor | None
    yes: Tensor
    facts: Tensor
    sight: Tensor
    texts: TextBatch | None = None


class AnswerLearner(nn.Module):
    """Learns to answer, and what blocks there are and where.

    :param model: Whatever is trainable of it learns.
    :param processor: Of the same checkpoint.
    :param facts_weight: Of what words and image tokens are taught about blocks, beside the answers.
    :param text_weight: Of goals and plans that are to be written.
    """

    def __init__(
        self,
        model: DreamVLAForActionPrediction,
        processor: DreamVLAProcessor,
        *,
        facts_weight: float = 0.5,
        text_weight: float = 0.5,
    ) -> None:
        super().__init__()
        self._text_weight = text_weight
        self.model = model
        self.heads = FactHeads(model.config.hidden_size, processor)
        self._facts_weight = facts_weight
        words = processor.tokenizer
        self._spellings = [answer_ids(words, answer) for answer in (False, True)]
        self._words = torch.tensor(
            [words.encode(text, add_special_tokens=False)[0] for text in (NO, YES)], dtype=torch.long
        )

    def forward(self, batch: AnswerBatch) -> dict[str, Tensor]:
        """Return ``loss``, its parts, and the share of right answers."""
        features = _features(self.model, batch)
        with states_before(self.model, _WORD_LAYER, _IMAGE_LAYER) as states:
            scores = self.scores(batch, features)
            seen = dict(states)
        yes, ids = batch.yes.to(scores.device), batch.rows.input_ids.to(scores.device)
        answer = F.cross_entropy(scores.flatten(0, 1), self._words.to(scores.device)[yes.long()].flatten())
        values = self.heads.at_words(seen[_WORD_LAYER], ids, batch.facts)
        image = self.model.config.tokens.image
        values |= self.heads.at_images(seen[_IMAGE_LAYER], ids, image, batch.facts, batch.sight)
        loss = answer + self._facts_weight * (values["word_loss"] + values["image_loss"])
        no_score, yes_score = (scores.detach()[..., ids].logsumexp(-1) for ids in self._spellings)
        right = ((yes_score > no_score) == yes).float().mean()
        told = {name: value.detach() for name, value in values.items()}
        if batch.texts is not None:
            written = text_loss(self.model, batch.texts, features, len(batch.yes))
            loss = loss + self._text_weight * written
            told["text_loss"] = written.detach()
        return {"loss": loss, "answer_loss": answer.detach(), **told, "right": right}

    def scores(self, batch: AnswerBatch, features: Tensor | None = None) -> Tensor:
        """Score the vocabulary at every answer, (scenes, questions, vocabulary).

        :param features: Of the images, if they are at hand.
        """
        model, rows = self.model, batch.rows
        embeds = _embeds(model, batch, rows.input_ids, features)
        rotary = rotary_tables(rows.positions.to(model.device), model.config, embeds.dtype)
        with RowAttention(rows):
            hidden = model.hidden_states(embeds, rotary, rows.read.to(model.device))
        return model.logits(hidden).float()


class SceneLearner(nn.Module):
    """Learns what image tokens should know of the blocks they show, before any question is asked.

    Runs on the shared tokens in the layers that come before: a quarter of the cost of a scene with questions.

    :param learner: Whose model and heads learn.
    """

    def __init__(self, learner: AnswerLearner) -> None:
        super().__init__()
        self.model = learner.model
        self.heads = learner.heads

    def forward(self, batch: AnswerBatch) -> dict[str, Tensor]:
        """Return ``loss`` and the errors of heights."""
        model, shared = self.model, batch.rows.shared
        ids = batch.rows.input_ids[:, :shared].to(model.device)
        states = _embeds(model, batch, ids)
        positions = batch.rows.positions[:, :shared].to(model.device)
        rotary = rotary_tables(positions, model.config, states.dtype)
        for layer in list(model.model.layers)[:_IMAGE_LAYER]:
            states = layer(states, rotary)
        values = self.heads.at_images(states, ids, model.config.tokens.image, batch.facts, batch.sight)
        return {"loss": values.pop("image_loss"), **values}


class AnswerFeeder:
    """Makes batches of questions about scenes.

    :param stores: Demonstrations or scenes with the labels of blocks and of where images show them.
    :param maker: Of the same model.
    :param questions: Asked about each scene.
    :param shares: Weights of predicates among them; see :func:`draw_questions`.
    :param texts: Goals and plans to be written in each batch, at most one about each scene.
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
        texts: int = 0,
    ) -> None:
        self._texts = texts
        self._text_maker = TextMaker(processor, maker.tokens)
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
        images, prompts, answers, facts, sight, states = [], [], [], [], [], []
        true: list[State] = []
        colours: list[list[str]] = []
        for index in indices:
            store = int(np.searchsorted(self._ends, index, side="right"))
            first = int(self._ends[store - 1]) if store else 0
            sample = self._stores[store].take([int(index) - first])
            (table,) = tables_of(sample)
            state = symbols(table)
            true.append(state)
            colours.append(list(table.blocks))
            asked = draw_questions(
                state,
                list(table.blocks),
                rng,
                self._questions,
                shares=self._shares,
                weight=near_misses(table),
            )
            facts.append(block_facts(sample, state))
            sight.append(sample.labels[SIGHT_LABEL][0])
            states.append(self._maker.states(sample))
            images.append(sample.images[0])
            prompts.append([self._prompt(question.text, *sample.images.shape[1:3]) for question in asked])
            answers.append([question.answer for question in asked])
        shown = np.stack(images)
        flat = shown.reshape(-1, *shown.shape[2:])
        coloured = self._augmentation.random(flat, rng) if training else self._augmentation.center(flat)
        patches, grids = self._maker.patches(coloured.reshape(shown.shape))
        texts = None
        if self._texts:
            texts = self._text_maker(true, colours, shown.shape[1:3], self._texts, rng)
        proprio = torch.cat([one for one in states if one is not None]) if states[0] is not None else None
        return AnswerBatch(
            question_rows(prompts, self._maker.tokens, lead=0 if proprio is None else 1),
            patches,
            grids,
            proprio,
            torch.tensor(answers),
            torch.from_numpy(np.stack(facts)),
            torch.from_numpy(np.stack(sight)),
            texts,
        )

    def _prompt(self, question: str, cameras: int, size: int) -> Tensor:
        key = (question, cameras, size)
        if key not in self._prompts:
            vision = self._processor.encode_images([np.zeros((size, size, 3), np.uint8)] * cameras)
            messages = question_messages(question, cameras)
            self._prompts[key] = self._processor.tokenize(messages, vision)[0]
        return self._prompts[key]


def _embeds(
    model: DreamVLAForActionPrediction, batch: AnswerBatch, ids: Tensor, features: Tensor | None = None
) -> Tensor:
    """Return what goes into the first layer (scenes, length, width), the state first if there is one."""
    features = _features(model, batch) if features is None else features
    embeds = model.place_images(ids.to(model.device), features)
    if batch.proprio is None:
        return embeds
    assert model.proprio_projector is not None
    states = model.proprio_projector(model.read_proprio(batch.proprio).to(embeds.dtype))
    return torch.cat([states[:, None], embeds[:, batch.rows.lead :]], dim=1)


def _features(model: DreamVLAForActionPrediction, batch: AnswerBatch) -> Tensor:
    grids = [(int(t), int(h), int(w)) for t, h, w in batch.image_grid_thw.tolist()]
    return model.encode_images(batch.pixel_values.to(model.device, model.dtype), grids)
