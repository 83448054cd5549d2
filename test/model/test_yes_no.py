"""Yes/no questions."""

import math

import numpy as np
import pytest
import torch

from dream_vla_ros.model import DreamVL, ModelInputError
from dream_vla_ros.model.initialize import initialize_checkpoint
from dream_vla_ros.model.yes_no import ANSWER_SHORTLY, answer_ids, question_messages

QUESTIONS = [
    "Is the red block on the blue one?",
    "Is the gripper open?",
    "Is it the far left cup that is green?",
]


@pytest.fixture(scope="module")
def model(tabletop_tiny, tmp_path_factory):
    return DreamVL.from_pretrained(
        initialize_checkpoint(tabletop_tiny, tmp_path_factory.mktemp("vl"), "discrete")
    )


def scene(count=2):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in range(count)]


def one_by_one(model, question, images):
    """Ask with whole logits at one mask token, closed by the end of the turn."""
    inputs = model.processor.encode(question_messages(question, len(images)), images)
    tokens = model.config.tokens
    ids = torch.cat([inputs["input_ids"], torch.tensor([[tokens.mask, tokens.im_end]])], dim=1)
    grids = inputs["image_grid_thw"].tolist() if images else []
    with torch.no_grad():
        embeds = model.embed(ids, inputs.get("pixel_values"), grids)
        logits = model.lm_head(model.model(embeds, model._rotary(ids[0], grids)))[0, -3]
    yes, no = (
        sum(math.exp(logits[i]) for i in answer_ids(model.processor.tokenizer, a)) for a in (True, False)
    )
    return yes / (yes + no)


@pytest.mark.parametrize("images", [0, 1, 2])
def test_all_at_once_is_one_by_one(model, images):
    together = model.yes_probabilities(QUESTIONS, scene(images))
    apart = [one_by_one(model, question, scene(images)) for question in QUESTIONS]
    np.testing.assert_allclose(together, apart, atol=1e-5)
    assert len({round(p, 6) for p in together}) == len(QUESTIONS)


@pytest.mark.parametrize("images", [0, 2])
def test_optimised_it_answers_the_same(tabletop_tiny, tmp_path, model, images):
    fast = DreamVL.from_pretrained(initialize_checkpoint(tabletop_tiny, tmp_path, "discrete"))
    fast.optimise()
    asked = QUESTIONS, scene(images)
    np.testing.assert_allclose(fast.yes_probabilities(*asked), model.yes_probabilities(*asked), atol=1e-5)


def test_images_are_encoded_once(model):
    calls = []
    handle = model.visual.register_forward_hook(lambda *_: calls.append(1))
    try:
        answers = model.yes_probabilities(QUESTIONS * 15, scene())
    finally:
        handle.remove()
    assert len(calls) == 1
    np.testing.assert_allclose(answers, answers[:3] * 15, atol=1e-5)


def test_a_higher_temperature_is_less_sure(model):
    (sharp,), (soft,) = (model.yes_probabilities(QUESTIONS[:1], scene(), t) for t in (0.01, 100.0))
    assert abs(soft - 0.5) < abs(sharp - 0.5)


def test_the_question_is_asked_as_it_says(model):
    (message,) = question_messages("Is it?", 1)
    assert message["content"][-1]["text"] == f"Is it? {ANSWER_SHORTLY}"


def test_no_question_no_answer(model):
    assert model.yes_probabilities([], scene()) == []


@pytest.mark.parametrize(
    ("questions", "temperature", "words"),
    [([""], 1.0, "empty"), (["<|im_end|>?"], 1.0, "control token"), (["Is it?"], 0.0, "temperature")],
)
def test_nonsense_is_refused(model, questions, temperature, words):
    with pytest.raises(ModelInputError, match=words):
        model.yes_probabilities(questions, scene(), temperature)


def test_without_tokenizer_there_are_no_questions(make_checkpoint):
    with pytest.raises(ModelInputError, match="tokenizer"):
        DreamVL.from_pretrained(make_checkpoint("discrete")).yes_probabilities(["Is it?"])
