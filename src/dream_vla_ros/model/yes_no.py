"""Yes/no questions about one scene: the images are encoded once, and all answers come from one pass."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from .errors import CheckpointError, ModelInputError
from .language import rotary_tables
from .positions import positions_in
from .prompt import Message
from .question_pack import pack_questions
from .vision import Grid

if TYPE_CHECKING:
    from .dream_vl import DreamVL
    from .processor import DreamProcessor, Image

ANSWER_SHORTLY = "Answer yes or no."
SPELLINGS = {True: ("yes", "Yes", "YES", " yes", " Yes"), False: ("no", "No", "NO", " no", " No")}
QUESTIONS_AT_ONCE = 32  # bounds memory; a scene rarely has more


def question_messages(question: str, num_images: int) -> list[Message]:
    """Return the conversation that asks one question about all images."""
    parts = [{"type": "image"}] * num_images
    return [{"role": "user", "content": [*parts, {"type": "text", "text": f"{question} {ANSWER_SHORTLY}"}]}]


@torch.no_grad()
def yes_probabilities(
    model: DreamVL,
    processor: DreamProcessor,
    questions: Sequence[str],
    images: Sequence[Image],
    temperature: float = 1.0,
    proprio: npt.ArrayLike | None = None,
) -> list[float]:
    """Return the probability of yes against no for each question.

    The answer is one masked place, closed by the end of the turn: the model knows that one word is wanted.

    :param proprio: (dim,) the robot's state, normalised, for a model that answers by it; see
        `DreamVL.reads_state`.
    :param temperature: above 1 moves all answers towards 1/2; fitted on held-out questions, it calibrates.
    :raises ModelInputError: if a question is empty or holds control tokens, the temperature is wrong, or the
        state is missing or not wanted.
    """
    if not temperature > 0:
        raise ModelInputError(f"temperature must be positive, not {temperature!r}")
    if blank := [question for question in questions if not question.strip()]:
        raise ModelInputError(f"{len(blank)} of the questions are empty")
    state = model.state_token(proprio)
    if not questions:
        return []
    yes, no = (answer_ids(processor.tokenizer, answer).to(model.device) for answer in (True, False))
    vision = processor.encode_images(images)
    prompts = [
        processor.tokenize(question_messages(question, len(images)), vision)[0] for question in questions
    ]
    _, patches, grids = model.read_prompt(
        prompts[0], vision.get("pixel_values"), vision.get("image_grid_thw")
    )
    features = None if patches is None else model.encode_images(patches, grids)
    read = partial(_packed, state=state) if model.packs_questions else _at_answers
    scores = []
    for start in range(0, len(prompts), QUESTIONS_AT_ONCE):
        hidden = read(model, prompts[start : start + QUESTIONS_AT_ONCE], features, grids)
        scores += [model.logits(hidden, ids).float().logsumexp(-1) for ids in (yes, no)]
    margins = torch.cat(scores[0::2]) - torch.cat(scores[1::2])
    return torch.sigmoid(margins / temperature).tolist()


def answer_ids(tokenizer: PreTrainedTokenizerBase, answer: bool) -> Tensor:
    """Return the single tokens that mean yes (or no).

    :raises CheckpointError: if the tokenizer has none.
    """
    encoded = [tokenizer.encode(text, add_special_tokens=False) for text in SPELLINGS[answer]]
    ids = sorted({ids[0] for ids in encoded if len(ids) == 1})
    if not ids:
        raise CheckpointError(f"the tokenizer has no single token for any of {SPELLINGS[answer]}")
    return torch.tensor(ids)


def _at_answers(
    model: DreamVL, prompts: Sequence[Tensor], features: Tensor | None, grids: Sequence[Grid]
) -> Tensor:
    """Return the hidden states (questions, hidden_size) that predict each answer."""
    tokens = model.config.tokens
    answer = torch.tensor([tokens.mask, tokens.im_end])
    rows = [torch.cat([prompt, answer]) for prompt in prompts]
    ids = pad_sequence(rows, batch_first=True, padding_value=tokens.pad).to(model.device)
    lengths = torch.tensor([len(row) for row in rows], device=model.device)
    places = torch.arange(ids.shape[1], device=model.device)
    key_mask = None if len(lengths.unique()) == 1 else (places < lengths[:, None])[:, None, None]
    each = [positions_in(row, grids, model.config).T for row in rows]
    positions = pad_sequence(each, batch_first=True).permute(2, 0, 1).to(model.device)
    rotary = rotary_tables(positions, model.config, model.dtype, model.config.mrope_section)
    embeds = model.place_images(ids, features if features is None else features.repeat(len(rows), 1))
    left_of_answer = (lengths - len(answer) - 1)[:, None]
    return model.hidden_states(embeds, rotary, left_of_answer, key_mask)[:, 0]


def _packed(
    model: DreamVL,
    prompts: Sequence[Tensor],
    features: Tensor | None,
    grids: Sequence[Grid],
    state: Tensor | None = None,
) -> Tensor:
    """Return what :func:`_at_answers` does, from one sequence with all questions in it.

    :param state: (1, 1, hidden_size) in front of it.
    """
    lead = 0 if state is None else state.shape[1]
    pack = pack_questions([prompts], model.config.tokens, lead)
    rotary = rotary_tables(pack.positions.to(model.device), model.config, model.dtype)
    embeds = model.place_images(pack.input_ids.to(model.device), features)
    if state is not None:
        embeds = torch.cat([state, embeds[:, lead:]], dim=1)
    hidden = model.hidden_states(embeds, rotary, None, pack.mask.to(model.device))
    return hidden[0, pack.read[0].to(model.device)]
