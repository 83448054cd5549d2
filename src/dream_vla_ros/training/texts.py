"""Learning to write goals and plans about rendered tables, as the planner node has them written.

What is learned is what unmasking asks for: an answer's places are masked with a probability that is drawn for
each text, and predicted from the state one place to the left, with everything else in sight. What follows
the end of the turn is padding, which is learned, too: the room for an answer is given before it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dream_vla_ros.model.config import TokenIds
from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.model.language import rotary_tables
from dream_vla_ros.model.processor import DreamVLAProcessor
from dream_vla_ros.planning.outcomes import ActionCode, ActionRecord
from dream_vla_ros.planning.terms import GroundAction, State
from dream_vla_ros.training.questions import (
    TextExample,
    draw_goal,
    goal_example,
    plan_example,
    tabletop_domain,
    task_in_words,
)

# The room for an answer; the largest is the planner node's `max_new_tokens` by default.
ROOMS = (64, 128, 256)
_PLAN_SHARE = 0.65
_MOST_PARTS = 3
_HISTORY_SHARE, _LONGEST_HISTORY = 0.4, 3
# Padding is learned within some steps, and there is more of it than of anything else.
_PADDING_WEIGHT = 0.05


@dataclass(frozen=True, eq=False)
class TextBatch:
    """Chats whose answers are to be written, right-padded to one length.

    :param input_ids: (texts, length), masked places in the answers.
    :param key_mask: (texts, length) bool, False at padding behind the answers.
    :param read: (texts, room) places one to the left of the answers' places.
    :param wanted: (texts, room) ids of the answers.
    :param weight: (texts, room) of each place in the loss, 0 where nothing is masked.
    :param scenes: (texts,) the scene of the batch that each is about.
    """

    input_ids: Tensor
    key_mask: Tensor
    read: Tensor
    wanted: Tensor
    weight: Tensor
    scenes: Tensor


def text_batch(
    prompts: Sequence[Tensor],
    answers: Sequence[Tensor],
    scenes: Sequence[int],
    tokens: TokenIds,
    rng: np.random.Generator,
) -> TextBatch:
    """Mask answers.

    :param prompts: Ids (length,) of each chat up to the assistant's header.
    :param answers: Ids (length,) of each answer, without the end of the turn.
    :param scenes: The scene of each.
    :raises ValueError: If an answer is longer than the largest room.
    """
    longest = max(len(answer) for answer in answers) + 1
    rooms = [room for room in ROOMS if room >= longest]
    if not rooms:
        raise ValueError(f"an answer of {longest - 1} tokens has no room in {max(ROOMS)}")
    room = int(rng.choice(rooms))
    length = max(len(prompt) for prompt in prompts) + room
    ids = torch.full((len(prompts), length), tokens.pad)
    there = torch.zeros(ids.shape, dtype=torch.bool)
    wanted = torch.full((len(prompts), room), tokens.pad)
    weight = torch.zeros(wanted.shape)
    read = torch.zeros(wanted.shape, dtype=torch.long)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        begin, own = len(prompt), len(answer) + 1
        wanted[row, :own] = torch.cat([answer, torch.tensor([tokens.im_end])])
        masked = torch.from_numpy(rng.random(room) < rng.random())
        masked[int(rng.integers(own))] = True
        each = torch.where(torch.arange(room) < own, 1.0, _PADDING_WEIGHT) * masked
        weight[row] = each / each.sum()
        ids[row, :begin] = prompt
        ids[row, begin : begin + room] = torch.where(masked, tokens.mask, wanted[row])
        there[row, : begin + room] = True
        read[row] = torch.arange(begin - 1, begin - 1 + room)
    return TextBatch(ids, there, read, wanted, weight, torch.tensor(scenes))


def text_loss(model: DreamVLAForActionPrediction, batch: TextBatch, features: Tensor, scenes: int) -> Tensor:
    """Return the mean cross-entropy of masked places.

    :param features: (image tokens, hidden_size) of all scenes' images in turn, as many of each.
    :param scenes: How many there are.
    """
    ids = batch.input_ids.to(model.device)
    shown = features.unflatten(0, (scenes, -1))[batch.scenes.to(model.device)].flatten(0, 1)
    embeds = model.place_images(ids, shown)
    positions = torch.arange(1, ids.shape[1] + 1, device=model.device)[None]
    rotary = rotary_tables(positions, model.config, embeds.dtype)
    mask = batch.key_mask.to(model.device)[:, None, None]
    hidden = model.hidden_states(embeds, rotary, batch.read.to(model.device), mask)
    weight, wanted = batch.weight.to(model.device), batch.wanted.to(model.device)
    chosen = weight > 0.0
    losses = F.cross_entropy(model.logits(hidden[chosen]).float(), wanted[chosen], reduction="none")
    return (losses * weight[chosen]).sum() / len(ids)


class TextMaker:
    """Draws goals and plans about tables, and makes batches of them.

    :param processor: Of the model.
    :param tokens: Its special tokens.
    """

    def __init__(self, processor: DreamVLAProcessor, tokens: TokenIds) -> None:
        self._processor = processor
        self._tokens = tokens

    def __call__(
        self,
        states: Sequence[State],
        colours: Sequence[Sequence[str]],
        image_shape: tuple[int, int],
        count: int,
        rng: np.random.Generator,
    ) -> TextBatch | None:
        """Draw some texts about the first tables that have anything to be done.

        :param states: What is true of each table.
        :param colours: Its blocks.
        :param image_shape: How many images a table has, and their side [pixels].
        :param count: How many texts.
        :returns: None if nothing can be done on any table.
        """
        cameras, size = image_shape
        vision = self._processor.encode_images([np.zeros((size, size, 3), np.uint8)] * cameras)
        prompts: list[Tensor] = []
        answers: list[Tensor] = []
        scenes: list[int] = []
        for scene, (state, names) in enumerate(zip(states, colours, strict=True)):
            example = draw_text(state, names, cameras, rng)
            if example is None or len(prompts) == count:
                continue
            prompts.append(self._processor.tokenize(example.messages, vision)[0])
            words = self._processor.tokenizer.encode(example.answer, add_special_tokens=False)
            answers.append(torch.tensor(words))
            scenes.append(scene)
        return text_batch(prompts, answers, scenes, self._tokens, rng) if prompts else None


def draw_text(
    state: State, colours: Sequence[str], cameras: int, rng: np.random.Generator
) -> TextExample | None:
    """Draw a goal to be put into predicates, or to be planned for; None where nothing can be done."""
    goal = draw_goal(state, colours, rng, int(rng.integers(1, _MOST_PARTS + 1)))
    if not goal:
        return None
    task = task_in_words(goal, colours, rng)
    if rng.random() >= _PLAN_SHARE:
        return goal_example(goal, task, colours, cameras)
    return plan_example(
        state,
        goal,
        colours,
        cameras,
        task=task if rng.random() < 0.5 else "",
        history=_history(colours, rng),
    )


def _history(colours: Sequence[str], rng: np.random.Generator) -> list[ActionRecord]:
    """Draw actions as if they had been done before; what they did is in the pictures."""
    if rng.random() >= _HISTORY_SHARE:
        return []
    schemas = list(tabletop_domain().signature.actions.values())
    records = []
    for _ in range(int(rng.integers(1, _LONGEST_HISTORY + 1))):
        schema = schemas[int(rng.integers(len(schemas)))]
        blocks = rng.choice(colours, len(schema.parameters), replace=False)
        action = GroundAction(schema.name, tuple(str(block) for block in blocks))
        records.append(ActionRecord(action, ActionCode.SUCCEEDED, "done"))
    return records
