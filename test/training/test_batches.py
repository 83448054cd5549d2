"""Batches hold what the processor would have made, and what the objectives ask for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dream_vla_ros.model.objectives import IGNORED, training_loss
from dream_vla_ros.training.batches import BatchMaker
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.store import Samples

OBJECTIVES = ("flow_matching", "l1_regression", "diffusion", "discrete", "discrete_diffusion")


@pytest.fixture
def maker(load, processor):
    return BatchMaker(load(), processor)


def test_patches_and_prompts_are_the_processors(maker, processor, samples):
    batch = maker(samples, samples.images.astype(np.float32))
    for row, text in enumerate(samples.instructions):
        theirs = processor(list(samples.images[row]), text)
        count = len(theirs["pixel_values"])
        ours = batch.pixel_values[row * count : (row + 1) * count]
        torch.testing.assert_close(ours, theirs["pixel_values"], atol=2e-6, rtol=1e-5)
        length = theirs["input_ids"].shape[1]
        torch.testing.assert_close(batch.input_ids[row, :length], theirs["input_ids"][0])
    assert batch.image_grid_thw.tolist() == [[1, 8, 8]] * 12


def test_labels_are_actions_and_closing_tokens_and_padding_is_masked(maker, load, samples):
    model = load()
    batch = maker(samples, samples.images.astype(np.float32))
    normalized = model.statistics.normalize_actions(samples.actions)
    for row in range(len(samples)):
        learned = batch.labels[row][batch.labels[row] != IGNORED]
        assert learned[-2:].tolist() == list(model.config.tokens.closing)
        decoded = model.action_tokens.decode(learned[:-2].numpy()).reshape(8, 7)
        # The last bin is the widest: two of 255 intervals.
        assert np.abs(decoded - normalized[row]).max() <= 2.0 / 255
        here = batch.labels[row] != IGNORED
        torch.testing.assert_close(batch.input_ids[row][here], batch.labels[row][here])
    lengths = batch.key_mask.sum(1)
    assert set(lengths.tolist()) == {lengths[0].item(), lengths[1].item()}
    assert lengths[0] != lengths[1]
    assert (batch.input_ids[~batch.key_mask] == model.config.tokens.pad).all()
    np.testing.assert_allclose(batch.actions.numpy(), normalized, rtol=1e-6)


def test_prompts_of_one_length_need_no_mask(maker, samples):
    assert maker.prompts([samples.instructions[0]] * 3, 2, 112).key_mask is None


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_takes_a_batch(load, processor, samples, objective):
    model = load(objective)
    batch = BatchMaker(model, processor)(samples, samples.images.astype(np.float32))
    loss = training_loss(model, batch, generator=torch.Generator().manual_seed(0))
    assert loss.isfinite()
    assert loss > 0.0


def test_a_chunk_of_another_size_is_refused(maker, samples):
    short = Samples(
        samples.images, samples.actions[:, :5], samples.proprio, samples.instructions, samples.episode
    )
    with pytest.raises(TrainingError, match=r"chunks of 5 actions.*predicts 8"):
        maker(short, short.images.astype(np.float32))


def test_images_of_no_whole_token_are_refused(maker):
    with pytest.raises(TrainingError, match="28 pixels"):
        maker.patches(np.zeros((1, 1, 100, 100, 3), dtype=np.float32))
