"""Predictions that go on from the chunk before: against the formulas, and by what they keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.model import DreamVLAForActionPrediction, ModelInputError, Objective, PreviousChunk
from dream_vla_ros.model.continuation import (
    GUIDED,
    INPAINTED,
    PUBLISHED_GUIDANCE_LIMIT,
    guidance_weight,
    guided_velocity,
    soft_mask,
)

CHUNK = 8
ROUNDING = 1e-6


@pytest.fixture(scope="module")
def models(make_checkpoint):
    return {
        o: DreamVLAForActionPrediction.from_pretrained(make_checkpoint(o.value), o, CHUNK) for o in Objective
    }


@pytest.fixture(scope="module")
def prompt(models, make_prompt):
    return make_prompt(models[Objective.DISCRETE].config)


def rows(count=6, seed=3):
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (count, 7)).astype(np.float32)


def predict(model, prompt, previous=None, steps=None):
    return model.predict_actions(
        **prompt, steps=steps, generator=torch.Generator().manual_seed(5), previous=previous
    )


@pytest.mark.parametrize("limit", [None, 5.0])
def test_each_of_several_noises_goes_on_from_the_chunk_before(models, prompt, limit):
    model, previous = models[Objective.FLOW_MATCHING], PreviousChunk(rows(), 2, limit)
    drawn = torch.randn((1, CHUNK, 7), generator=torch.Generator().manual_seed(5))[0]
    pair = model.predict_actions(
        **prompt, steps=3, samples=2, generator=torch.Generator().manual_seed(5), previous=previous
    )
    singles = [
        model.predict_actions(**prompt, steps=3, noise=sign * drawn, previous=previous) for sign in (1, -1)
    ]
    np.testing.assert_allclose(pair, np.mean(singles, axis=0), atol=1e-5)
    if limit is None:
        np.testing.assert_allclose(pair[:2], rows()[:2], atol=1e-6)


@given(st.data())
def test_soft_mask_is_the_paper_s(data):
    chunk = data.draw(st.integers(1, 50))
    known = data.draw(st.integers(1, chunk))
    frozen = data.draw(st.integers(0, known))
    weights = soft_mask(frozen, known, chunk)
    executed = chunk - known  # s of the paper: what the older chunk no longer covers
    for i, weight in enumerate(weights):
        if i < frozen:
            assert weight == 1.0
        elif i >= chunk - executed:
            assert weight == 0.0
        else:
            share = (chunk - executed - i) / (chunk - executed - frozen + 1)
            assert weight == pytest.approx(share * (math.exp(share) - 1) / (math.e - 1), rel=1e-5)
    assert (np.diff(weights) <= ROUNDING).all()


@given(st.floats(0.0, 0.99), st.floats(0.1, 50.0))
def test_guidance_weight_is_the_paper_s(time, limit):
    expected = limit
    if time > 0.0:
        radius = (1 - time) ** 2 / (time**2 + (1 - time) ** 2)
        expected = min(limit, (1 - time) / (time * radius))
    assert guidance_weight(time, limit) == pytest.approx(expected)


def test_guidance_is_the_vector_jacobian_product():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(12, 12, generator=generator)
    actions = torch.randn(1, 4, 3, generator=generator)
    previous = PreviousChunk(rows(3)[:, :3], frozen=1, guidance_limit=PUBLISHED_GUIDANCE_LIMIT)
    time = 0.25

    def velocity(x):
        return torch.tanh(x.flatten() @ matrix).reshape(1, 4, 3)

    result = guided_velocity(velocity, actions, time, previous.on("cpu", 4))
    jacobian = torch.autograd.functional.jacobian(
        lambda flat: flat + (1 - time) * velocity(flat).flatten(), actions.flatten()
    )
    estimate = actions + (1 - time) * velocity(actions)
    target = torch.zeros(1, 4, 3)
    target[:, :3] = torch.from_numpy(previous.actions)
    error = ((target - estimate) * torch.from_numpy(soft_mask(1, 3, 4))[None, :, None]).flatten()
    correction = (error @ jacobian).reshape(1, 4, 3)
    expected = velocity(actions) + guidance_weight(time, PUBLISHED_GUIDANCE_LIMIT) * correction
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("objective", [Objective.FLOW_MATCHING, Objective.DIFFUSION])
@pytest.mark.parametrize("frozen", [1, 3, 6])
def test_frozen_actions_stay_and_the_rest_heeds_them(models, prompt, objective, frozen):
    model, given_rows = models[objective], rows()
    free = predict(model, prompt)
    kept = predict(model, prompt, PreviousChunk(given_rows, frozen))
    np.testing.assert_allclose(kept[:frozen], given_rows[:frozen], atol=ROUNDING)
    assert np.abs(kept[frozen:] - free[frozen:]).max() > 1e-4, "the rest does not look at what is frozen"


@pytest.mark.parametrize("frozen", [1, 4])
def test_frozen_tokens_are_given_and_never_masked(models, prompt, frozen):
    model, given_rows = models[Objective.DISCRETE_DIFFUSION], rows()
    kept = predict(model, prompt, PreviousChunk(given_rows, frozen))
    centres = model.action_tokens.decode(model.action_tokens.encode(given_rows[:frozen]))
    np.testing.assert_allclose(kept[:frozen], centres, atol=ROUNDING)


@pytest.mark.parametrize("objective", INPAINTED)
def test_nothing_frozen_changes_nothing(models, prompt, objective):
    model = models[objective]
    np.testing.assert_array_equal(
        predict(model, prompt), predict(model, prompt, PreviousChunk(rows(), frozen=0))
    )


def test_guided_actions_come_nearer_to_the_chunk_before_where_it_weighs_most(models, prompt):
    model, given_rows = models[Objective.FLOW_MATCHING], rows()
    free = predict(model, prompt, steps=5)
    guided = predict(model, prompt, PreviousChunk(given_rows, 2, PUBLISHED_GUIDANCE_LIMIT), steps=5)
    before = np.abs(free[:6] - given_rows).mean(axis=1)
    after = np.abs(guided[:6] - given_rows).mean(axis=1)
    assert (after[:2] < 0.5 * before[:2]).all()
    assert after.mean() < before.mean()


def test_guidance_leaves_the_weights_trainable_and_without_gradients(models, prompt):
    model = models[Objective.FLOW_MATCHING]
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    predict(model, prompt, PreviousChunk(rows(), 2, PUBLISHED_GUIDANCE_LIMIT))
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == wanted[name]
        assert parameter.grad is None


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("objective", list(Objective))
def test_objectives_that_cannot_go_on_say_so(models, prompt, objective, guided):
    previous = PreviousChunk(rows(), 2, PUBLISHED_GUIDANCE_LIMIT if guided else None)
    if objective in (GUIDED if guided else INPAINTED):
        assert predict(models[objective], prompt, previous).shape == (CHUNK, 7)
        return
    with pytest.raises(ModelInputError, match="flow_matching.*use another blending"):
        predict(models[objective], prompt, previous)


@pytest.mark.parametrize(
    ("actions", "frozen", "limit", "words"),
    [
        (np.zeros(7), 0, None, "not \\(rows, dim\\)"),
        (np.zeros((0, 7)), 0, None, "not \\(rows, dim\\)"),
        (np.full((2, 7), np.nan), 0, None, "not finite"),
        (np.zeros((2, 7)), 3, None, "cannot be frozen"),
        (np.zeros((2, 7)), 1, 0.0, "positive"),
    ],
)
def test_what_does_not_fit_is_refused(actions, frozen, limit, words):
    with pytest.raises(ModelInputError, match=words):
        PreviousChunk(actions, frozen, limit)


@pytest.mark.parametrize("shape", [(CHUNK + 1, 7), (4, 6)])
def test_a_chunk_of_another_model_is_refused(models, prompt, shape):
    with pytest.raises(ModelInputError, match="this model's chunk is"):
        predict(models[Objective.FLOW_MATCHING], prompt, PreviousChunk(np.zeros(shape), 1))
