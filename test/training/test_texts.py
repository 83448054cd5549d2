"""Goals and plans to be written: drawn, masked, and learned as they are written at inference."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from dream_vla_ros.model import DreamVL
from dream_vla_ros.model.config import TokenIds
from dream_vla_ros.planning.goal_text import parse_goal
from dream_vla_ros.planning.plan_text import parse_plan
from dream_vla_ros.planning.planner import ClassicalPlanner
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.transition import transition_model
from dream_vla_ros.sim.appearance import CLOSED_COLOURS
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.symbols import symbols
from dream_vla_ros.training.answering import answer_model, write_answers
from dream_vla_ros.training.lora import LoraSettings
from dream_vla_ros.training.questions import draw_goal, draw_scene, tabletop_domain, tabletop_scene
from dream_vla_ros.training.shortest_plans import ShortestPlans
from dream_vla_ros.training.texts import ROOMS, TextMaker, draw_text, text_batch, text_loss

TOKENS = TokenIds(mask=726, im_end=704, pad=703, vision_end=8)
LORA = LoraSettings(rank=4, alpha=4)
COLOURS = list(CLOSED_COLOURS)


def table(seed):
    layout = draw_scene(COLOURS, np.random.default_rng(seed))
    return symbols(TableState(0.0, layout.end_effector, 1.0, layout.blocks))


@pytest.fixture
def checkpoint(checkpoints, tmp_path):
    copy = tmp_path / "checkpoint"
    copy.mkdir()
    for file in checkpoints().iterdir():
        (copy / file.name).symlink_to(file)
    return copy


@settings(max_examples=40)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 30), st.integers(1, max(ROOMS) - 1)), min_size=1, max_size=4),
    seed=st.integers(0, 100),
)
def test_some_of_each_answer_is_masked_and_the_rest_is_there(lengths, seed):
    prompts = [torch.full((prompt,), 5) for prompt, _ in lengths]
    answers = [torch.arange(10, 10 + answer) for _, answer in lengths]
    batch = text_batch(prompts, answers, range(len(lengths)), TOKENS, np.random.default_rng(seed))
    room = batch.wanted.shape[1]
    assert room in ROOMS
    torch.testing.assert_close(batch.weight.sum(1), torch.ones(len(lengths)))
    for row, (prompt, answer) in enumerate(lengths):
        assert (batch.input_ids[row, :prompt] == 5).all()
        given_ids, wanted = batch.input_ids[row, prompt : prompt + room], batch.wanted[row]
        assert wanted[:answer].tolist() == list(range(10, 10 + answer))
        assert wanted[answer:].tolist() == [TOKENS.im_end] + [TOKENS.pad] * (room - answer - 1)
        masked = batch.weight[row] > 0.0
        assert masked[: answer + 1].any()
        assert (given_ids[masked] == TOKENS.mask).all()
        assert torch.equal(given_ids[~masked], wanted[~masked])
        assert batch.key_mask[row].sum() == prompt + room
        assert batch.read[row].tolist() == list(range(prompt - 1, prompt - 1 + room))


def test_an_answer_without_room_is_refused():
    with pytest.raises(ValueError, match="no room in 256"):
        text_batch([torch.ones(3)], [torch.ones(256)], [0], TOKENS, np.random.default_rng(0))


@pytest.mark.parametrize("seed", range(4))
def test_plans_are_as_short_as_the_planners(seed):
    state, rng = table(seed), np.random.default_rng(seed)
    goal = draw_goal(state, COLOURS, rng, 3)
    problem = Problem.create(tabletop_domain(), dict.fromkeys(COLOURS, "block"), list(goal))
    plans = ShortestPlans(tabletop_domain(), COLOURS)
    wanted, plan = ClassicalPlanner().plan(problem, state), plans.plan(state, goal)
    assert len(plan) == len(wanted)
    model = transition_model(problem)
    for action in plan:
        state = model.apply(state, action)
    assert problem.reached(state)
    assert plans.plan(table(seed), goal, longest=len(plan) - 1) is None


@pytest.mark.parametrize("seed", range(3))
def test_what_can_be_done_is_what_the_domain_says_whatever_the_names(seed):
    state, problem = table(seed), Problem.create(tabletop_domain(), dict.fromkeys(COLOURS, "block"), [])
    model = transition_model(problem)
    found = ShortestPlans(tabletop_domain(), COLOURS).successors(state)
    assert [action for action, _ in found] == sorted(model.possible(state), key=str)
    assert all(after == model.apply(state, action) for action, after in found)


def test_goals_and_plans_are_drawn_that_can_be_read_back():
    kinds = set()
    for seed in range(20):
        state, rng = table(seed), np.random.default_rng([seed, 1])
        example = draw_text(state, COLOURS, 2, rng)
        if example is None:
            continue
        kinds.add(example.kind)
        scene = tabletop_scene(COLOURS)
        json.loads(example.answer)
        if example.kind == "goal":
            assert parse_goal(example.answer, scene)
        else:
            assert parse_plan(example.answer)
    assert kinds == {"goal", "plan"}


def test_texts_are_the_chats_of_inference_and_learn_what_it_computes(checkpoint, processor):
    model = answer_model(checkpoint, LORA)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    write_answers(model, checkpoint, LORA)
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (2, 2, 112, 112, 3), dtype=np.uint8)
    tokens = model.config.tokens
    batch = TextMaker(processor, tokens)([table(0), table(1)], [COLOURS] * 2, (2, 112), 2, rng)
    examples = np.random.default_rng(3)
    examples.integers(0, 256, (2, 2, 112, 112, 3), dtype=np.uint8)
    chats = [draw_text(table(seed), COLOURS, 2, examples) for seed in range(2)]
    assert batch.scenes.tolist() == [0, 1]
    writer = DreamVL.from_pretrained(checkpoint)
    room = batch.wanted.shape[1]
    batch.weight[:] = 1.0 / room  # all is masked
    wanted = []
    for row, chat in enumerate(chats):
        inputs = processor.encode(chat.messages, list(images[row]))
        prompt = inputs["input_ids"][0]
        assert torch.equal(batch.input_ids[row, : len(prompt)], prompt)
        batch.input_ids[row, len(prompt) : len(prompt) + room] = tokens.mask
        logits = writer.mask_logits(
            inputs["input_ids"], inputs["pixel_values"], inputs["image_grid_thw"], masks=room
        )
        wanted.append(F.cross_entropy(logits, batch.wanted[row]))
    flat = [image for scene in images for image in scene]
    vision = processor.encode_images(flat)
    grids = [tuple(int(n) for n in row) for row in vision["image_grid_thw"]]
    features = model.eval().encode_images(vision["pixel_values"], grids)
    with torch.no_grad():
        loss = text_loss(model, batch, features, 2)
    # The adapter is stored in half precision.
    torch.testing.assert_close(loss, torch.stack(wanted).mean(), atol=2e-3, rtol=2e-3)


def test_writing_is_learned(checkpoint, processor):
    model = answer_model(checkpoint, LORA)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)
    batch = TextMaker(processor, model.config.tokens)([table(0)], [COLOURS], (2, 112), 1, rng)
    vision = processor.encode_images([image, image])
    grids = [tuple(int(n) for n in row) for row in vision["image_grid_thw"]]
    with torch.no_grad():
        features = model.encode_images(vision["pixel_values"], grids)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = text_loss(model, batch, features, 1)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
