"""Prompts into the network: what is checked before anything is computed."""

import numpy as np
import pytest
import torch

from dream_vla_ros.model import DreamVLAForActionPrediction, ModelInputError


@pytest.fixture(scope="module")
def model(make_checkpoint):
    return DreamVLAForActionPrediction.from_pretrained(make_checkpoint())


def test_arrays_lists_and_rows_are_taken(model, make_prompt):
    prompt = make_prompt(model.config)
    tensors = model.read_prompt(**prompt)
    arrays = model.read_prompt(**{key: value.numpy() for key, value in prompt.items()})
    lists = model.read_prompt(
        prompt["input_ids"][0].tolist(), prompt["pixel_values"].numpy(), prompt["image_grid_thw"].tolist()
    )
    for other in (arrays, lists):
        assert torch.equal(tensors[0], other[0])
        assert torch.equal(tensors[1], other[1])
        assert tensors[2] == other[2]


def test_images_stand_at_their_places(model, make_prompt):
    ids, patches, grids = model.read_prompt(**make_prompt(model.config))
    with torch.no_grad():
        embeds = model.embed(ids, patches, grids)
        features = model.projector(model.visual(patches, grids))
        words = model.model.embed_tokens(ids)
    at_images = ids[0] == model.config.tokens.image
    assert torch.equal(embeds[0, at_images], features)
    assert torch.equal(embeds[0, ~at_images], words[0, ~at_images])


@pytest.mark.parametrize("seed", range(3))
def test_restricted_logits_are_columns_of_all(model, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(3, 32, generator=generator)
    chosen = torch.randperm(512, generator=generator)[:9]
    with torch.no_grad():
        torch.testing.assert_close(model.logits(hidden, chosen), model.logits(hidden)[:, chosen])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.update(input_ids=p["input_ids"].float()), "integers"),
        (lambda p: p.update(input_ids=p["input_ids"][:, :0]), "integers"),
        (lambda p: p.update(input_ids=torch.where(p["input_ids"] == 300, 512, p["input_ids"])), "512"),
        (lambda p: p.update(input_ids=-p["input_ids"]), "outside the vocabulary"),
        (lambda p: p.update(input_ids=p["input_ids"][:, 9:]), "image places"),
        (lambda p: p.update(pixel_values=p["pixel_values"][:-1]), "pixel_values"),
        (lambda p: p.update(pixel_values=p["pixel_values"][:, :-1]), "pixel_values"),
        (lambda p: p.update(image_grid_thw=p["image_grid_thw"][:1]), "pixel_values"),
        (lambda p: p.update(image_grid_thw=torch.tensor([[1, 3, 16]])), "multiples of 2"),
        (lambda p: p.update(image_grid_thw=torch.tensor([[0, 4, 6]])), "positive"),
        (lambda p: p.pop("image_grid_thw"), "together"),
        (lambda p: [p.pop("image_grid_thw"), p.pop("pixel_values")], "12 image places"),
        (lambda p: p.update(input_ids=p["input_ids"].repeat(2, 1)), "image places"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(model, make_prompt, change, words):
    prompt = make_prompt(model.config)
    change(prompt)
    with pytest.raises(ModelInputError, match=words):
        model.predict_actions(**prompt)


def test_one_chunk_at_a_time(model):
    with pytest.raises(ModelInputError, match="2 rows"):
        model.predict_actions(input_ids=np.ones((2, 5), dtype=int))
