"""Words find what they name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dream_vla_ros.training.alignment import (
    NamedPlaces,
    PlaceHead,
    SceneHead,
    SightHead,
    at_images,
    question_about,
    scaled,
    shown,
    states_before,
)
from dream_vla_ros.training.batches import BatchMaker
from dream_vla_ros.training.errors import TrainingError

NAMES = ("red", "green", "blue", "yellow")


@pytest.fixture
def places(processor):
    return NamedPlaces(processor, NAMES)


def test_words_are_found_by_name_in_any_phrase(places, load, processor):
    prompts = BatchMaker(load(), processor).prompts(
        ["find the blue block, the red block", "put the Yellow block on the green one"], 2, 112
    )
    rows, found, names = places.find(prompts.input_ids)
    assert rows.tolist() == [0, 0, 1, 1]
    assert [NAMES[at] for at in names] == ["blue", "red", "yellow", "green"]
    words = [processor.tokenizer.decode([i]) for i in prompts.input_ids[rows, found].tolist()]
    assert words == [" blue", " red", " yellow", " green"]


def test_the_loss_is_of_the_state_at_the_word(places):
    ids = torch.zeros((1, 4), dtype=torch.long)
    ids[0, 2] = next(token for token, name in places._ids.items() if name == 1)
    labels = torch.full((1, 4, 5), torch.nan)
    labels[0, 1] = torch.tensor([0.1, -0.2, 0.3, 1.0, 0.0])
    head = PlaceHead(3, 5)
    # Two tokens stand in front of the prompt, so the word's state is the fifth.
    states = torch.zeros((1, 6, 3))
    states[0, 4] = torch.tensor([1.0, 2.0, 4.0])
    loss, error_m = places.loss(head, states, ids, labels)
    told = head(states[0, 4])
    torch.testing.assert_close(loss, (told - scaled(labels[0, 1])).pow(2).mean())
    expected_m = (told.detach()[:3] * 0.1 - labels[0, 1, :3]).norm().item()
    assert error_m == pytest.approx(expected_m, rel=1e-5)


def test_things_that_are_not_there_teach_nothing(places, load, processor):
    ids = BatchMaker(load(), processor).prompts(["find the red block, the blue block"], 2, 112).input_ids
    labels = torch.full((1, 4, 5), torch.nan)
    labels[0, 0] = 0.1
    states = torch.randn((1, ids.shape[1], 8), requires_grad=True)
    loss, _ = places.loss(PlaceHead(8, 5), states, ids, labels)
    loss.backward()
    assert states.grad.abs().sum(-1).count_nonzero() == 1


def test_scene_loss_is_of_what_a_token_shows_and_is_there():
    head = SceneHead(6, 3, 4, 5)
    labels = torch.full((2, 4, 5), torch.nan)
    labels[:, 2] = 0.0
    mask = torch.zeros((2, 3, 4), dtype=torch.bool)
    mask[0, 1, 2] = mask[1, 0, 2] = mask[1, 0, 3] = True
    states = torch.randn(2, 3, 6)
    scores, told = head(states)
    own, scene = head.loss(states, labels, mask)
    torch.testing.assert_close(scene, torch.stack([told[0, 1, 2], told[1, 0, 2]]).pow(2).mean())
    expected = -scores.log_softmax(-1).diagonal(dim1=1, dim2=2).mean()
    torch.testing.assert_close(own, expected)


def test_a_token_shows_the_thing_whose_middle_is_in_it():
    sight = torch.full((1, 2, 3, 11), torch.nan)
    sight[0, 0, 1] = torch.tensor(
        [0.80, 0.30, 0.5, *[0.1] * 8]
    )  # second row's fourth token of the first camera
    sight[0, 1, 2] = torch.tensor([0.10, 0.10, 1.0, *[0.2] * 8])  # first token of the second camera
    sight[0, 1, 0] = torch.tensor([1.10, 0.10, 1.0, *[0.2] * 8])  # outside
    mask, numbers = shown(sight, 32)
    assert mask.nonzero().tolist() == [[0, 7, 1], [0, 16, 2]]
    torch.testing.assert_close(
        numbers[0, 7, 1], torch.tensor([-0.3, -0.3, np.log(0.5), *[0.4] * 8], dtype=torch.float32)
    )
    torch.testing.assert_close(numbers[0, 16, 2], torch.tensor([-0.1, -0.1, 0.0, *[0.8] * 8]))
    with pytest.raises(TrainingError, match="no squares"):
        shown(sight, 33)


def test_sight_is_learned_from_tokens():
    torch.manual_seed(0)
    head = SightHead(8, 2)
    sight = torch.full((4, 1, 2, 11), torch.nan)
    sight[:, 0, 0] = torch.tensor([0.3, 0.8, 0.5, *[0.1] * 8])
    tokens = torch.randn(4, 4, 8) * 0.1
    tokens[:, 2] += 1.0  # second row, first token
    optimizer = torch.optim.Adam(head.parameters(), 3e-2)
    losses = []
    for _ in range(60):
        loss, found = head.loss(tokens, sight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert float(found) == 1.0


def test_states_are_those_the_layers_read(load, processor, samples):
    model = load()
    batch = BatchMaker(model, processor)(samples, samples.images.astype(np.float32))
    ids, patches, grids = model.read_prompt(batch.input_ids, batch.pixel_values, batch.image_grid_thw)
    with torch.no_grad(), states_before(model, -1, -4) as seen:
        embeds = model.embed(ids, patches, grids)
        model.hidden_with_prefix(embeds, slice(0, 1), proprio=batch.proprio)
    assert seen[-1].shape == (6, ids.shape[1] + 1, 192)
    shown = at_images(seen[-4], ids, model.config.tokens.image)
    assert shown.shape == (6, 32, 192)
    torch.testing.assert_close(shown, at_images(embeds, ids, model.config.tokens.image))
    torch.testing.assert_close(shown.flatten(0, 1), embeds[ids == model.config.tokens.image])
    kept = seen[-1]
    model.hidden_with_prefix(embeds, slice(0, 1))
    assert seen[-1] is kept


def test_questions_name_everything_there_is_once():
    rng = np.random.default_rng(0)
    questions = {question_about(NAMES, np.array([True, False, True, True]), rng) for _ in range(40)}
    assert len(questions) == 6
    assert all("green" not in question for question in questions)
    assert all(question.count(name) == 1 for question in questions for name in ("red", "blue", "yellow"))


def test_names_that_end_alike_are_refused(processor):
    with pytest.raises(TrainingError, match="same token"):
        NamedPlaces(processor, ("red", "dark red"))
