"""Questions in training: asked as the planner asks them, answered by the simulation's truth, and learned."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dream_vla_ros.images import Preprocessing
from dream_vla_ros.model.dream_vl import DreamVL
from dream_vla_ros.model.initialize import initialize_checkpoint
from dream_vla_ros.model.yes_no import question_messages
from dream_vla_ros.sim.symbols import symbols
from dream_vla_ros.training.answering import (
    AnswerPlan,
    answer_model,
    begin_with,
    train_answers,
    write_answers,
)
from dream_vla_ros.training.answers import AnswerFeeder, AnswerLearner, SceneLearner
from dream_vla_ros.training.augment import Augmentation
from dream_vla_ros.training.batches import BatchMaker
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.lora import LoraSettings
from dream_vla_ros.training.question_rows import question_rows
from dream_vla_ros.training.questions import draw_questions, near_misses
from dream_vla_ros.training.settings import TrainSettings
from dream_vla_ros.training.store import SampleStore, write_shard
from dream_vla_ros.training.table_scenes import SceneRecipe, scenes, tables_of

pytestmark = pytest.mark.timeout(600)  # a few steps of training each, on a machine that may be busy

LORA = LoraSettings(rank=4, alpha=8)
LEARNING = ("lora_", "embed_tokens", "lm_head")
STILL = Augmentation(1.0, 0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def store(embodiment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    recipe = SceneRecipe(episodes=2, moments=3, camera_pixels=64, time_limit_s=2.0)
    for number in range(recipe.episodes):
        images = Preprocessing(112, jpeg=False, crop_area=1.0)
        (part,) = scenes(recipe, embodiment, images, [number])
        write_shard(folder, f"scenes-{number}", part)
    return SampleStore(folder)


@pytest.fixture
def checkpoint(checkpoints, tmp_path):
    copy = tmp_path / "checkpoint"
    copy.mkdir()
    for file in checkpoints().iterdir():
        (copy / file.name).symlink_to(file)
    return copy


def plan_of(steps, **changes):
    settings = TrainSettings(steps=steps, batch_size=2, learning_rate=3e-3, seed=1, save_every=2, log_every=1)
    images = replace(settings, steps=2, seed=5)
    plan = AnswerPlan(questions=4, lora=LORA, augmentation=STILL, images=images, training=settings)
    return replace(plan, mixture=(1.0, 0.0, 0.0), **changes)


def feeder(store, checkpoint, processor, questions=5):
    maker = BatchMaker(answer_model(checkpoint, LORA), processor)
    return AnswerFeeder([store], maker, processor, STILL, questions=questions)


def test_a_batch_asks_what_was_drawn_with_the_right_answers(store, checkpoint, processor):
    batch = feeder(store, checkpoint, processor)(np.array([0, 4]), np.random.default_rng(7))
    rng = np.random.default_rng(7)
    prompts = []
    for row, index in enumerate([0, 4]):
        sample = store.take([index])
        (table,) = tables_of(sample)
        asked = draw_questions(symbols(table), list(table.blocks), rng, 5, weight=near_misses(table))
        assert batch.yes[row].tolist() == [question.answer for question in asked]
        prompts.append(
            [
                processor.encode(question_messages(question.text, 2), list(sample.images[0]))["input_ids"][0]
                for question in asked
            ]
        )
    tokens = feeder(store, checkpoint, processor)._maker.tokens
    wanted = question_rows(prompts, tokens, lead=1)
    normal = answer_model(checkpoint, LORA).statistics.normalize_proprio(store.take([0, 4]).proprio)
    np.testing.assert_allclose(batch.proprio, normal, rtol=1e-6)
    assert torch.equal(batch.rows.input_ids, wanted.input_ids)
    assert torch.equal(batch.rows.read, wanted.read)


def test_training_scores_what_inference_answers(store, checkpoint, processor):
    """The same adapter gives the same probabilities through the learner and through DreamVL."""
    model = answer_model(checkpoint, LORA)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    write_answers(model, checkpoint, LORA)
    make = feeder(store, checkpoint, processor)
    batch = make(np.array([1]), np.random.default_rng(3), training=False)
    learner = AnswerLearner(model.eval(), processor)
    with torch.no_grad():
        scores = learner.scores(batch)[0]
        no, yes = (scores[:, ids].logsumexp(-1) for ids in learner._spellings)
    sample = store.take([1])
    (table,) = tables_of(sample)
    rng = np.random.default_rng(3)
    asked = draw_questions(symbols(table), list(table.blocks), rng, 5, weight=near_misses(table))
    answering = DreamVL.from_pretrained(checkpoint)
    assert answering.reads_state
    state = answering.normalize_proprio(sample.proprio[0])
    words = [question.text for question in asked]
    answers, elsewhere = (
        answering.yes_probabilities(words, list(sample.images[0]), proprio=one) for one in (state, -state)
    )
    # The adapter is stored in half precision.
    np.testing.assert_allclose(torch.sigmoid(yes - no), answers, atol=5e-3)
    assert np.ptp(answers) > 1e-3
    assert np.abs(np.subtract(answers, elsewhere)).max() > 1e-4, "the state counts"


def test_only_adapters_and_words_learn_and_resuming_changes_nothing(store, checkpoint, tmp_path):
    before = {name: p.clone() for name, p in answer_model(checkpoint, LORA).named_parameters()}
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert train_answers(plan_of(6), checkpoint, [store], whole)
    file = checkpoint / "answer_adapter.safetensors"
    at_once = load_file(file)
    file.unlink()
    for stopped in (1, 3):  # in the middle of either stage
        stop = partial(next, iter([*[False] * (stopped - 1), True]))
        assert not train_answers(plan_of(6), checkpoint, [store], halves, stop=stop)
        assert not file.exists()  # not before the training is complete
    assert train_answers(plan_of(6), checkpoint, [store], halves)
    in_parts = load_file(file)
    assert in_parts.keys() == at_once.keys()
    assert all(torch.equal(in_parts[name], tensor) for name, tensor in at_once.items())
    first, after = (
        torch.load(whole / stage / "state.pt", weights_only=True)["learner"]
        for stage in ("images", "answers")
    )
    assert first.keys() == after.keys()
    assert all(name.startswith("heads.") or any(one in name for one in LEARNING) for name in after)
    assert any(not torch.equal(after[f"model.{n}"], p) for n, p in before.items() if f"model.{n}" in after)


def test_a_training_may_begin_with_the_answers_of_another(checkpoint, layout, tmp_path):
    model = answer_model(checkpoint, LORA)
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for parameter in learned.values():
            parameter.normal_(std=0.1).copy_(parameter.half())  # as on disk
    write_answers(model, checkpoint, LORA)
    elsewhere = initialize_checkpoint(layout, tmp_path / "other", "flow_matching", seed=9)
    other = answer_model(elsewhere, LORA)
    begin_with(other, checkpoint)
    own = dict(other.named_parameters())
    assert all(torch.equal(own[name], parameter) for name, parameter in learned.items())
    with pytest.raises(TrainingError, match="another shape"):
        begin_with(answer_model(checkpoint, LoraSettings(rank=2, alpha=2)), checkpoint)


def test_image_tokens_learn_what_they_show_without_questions(store, checkpoint, processor):
    model = answer_model(checkpoint, LORA)
    learner = AnswerLearner(model, processor)
    batch = feeder(store, checkpoint, processor)(np.array([0, 2]), np.random.default_rng(0))
    values = SceneLearner(learner)(batch)
    values["loss"].backward()
    reached = {name for name, p in learner.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("model.model.layers.1.") for name in reached)
    last = len(model.model.layers) - 2
    assert not any(name.startswith(f"model.model.layers.{last}.") for name in reached)
    # What is asked changes neither what the image tokens see nor what they learn.
    whole = learner(batch)
    torch.testing.assert_close(values["loss"], whole["image_loss"], atol=1e-5, rtol=1e-4)
    assert values["image_height_m"] > 0.0


def test_answering_is_learned(store, checkpoint, processor):
    model = answer_model(checkpoint, LORA)
    learner = AnswerLearner(model, processor)
    batch = feeder(store, checkpoint, processor, questions=2)(np.array([0]), np.random.default_rng(0))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(8):
        values = learner(batch)
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
        losses.append(float(values["answer_loss"]))
    assert losses[0] > 4.0  # of a thousand words it knows nothing yet
    assert losses[-1] < 0.8 * losses[0]
