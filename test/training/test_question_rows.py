"""Questions in even rows: the same states as in the packed sequence of inference, and their gradients."""

from __future__ import annotations

import pytest
import torch

from dream_vla_ros.model.config import TokenIds
from dream_vla_ros.model.errors import ModelInputError
from dream_vla_ros.model.language import rotary_tables
from dream_vla_ros.model.question_pack import pack_questions
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.question_rows import RowAttention, question_rows

TOKENS = TokenIds(mask=726, im_end=704, pad=703, vision_end=8)
SHARED = [5, 8, 7, 8]
SCENES = [
    [torch.tensor([*SHARED, 10, 11]), torch.tensor([*SHARED, 20, 21, 22, 23])],
    [torch.tensor([*SHARED, 40, 41, 42]), torch.tensor([*SHARED, 10, 50])],
]


def test_layout():
    rows = question_rows(SCENES, TOKENS)
    mask, end, pad = TOKENS.mask, TOKENS.im_end, TOKENS.pad
    assert rows.input_ids[0].tolist() == [*SHARED, 10, 11, mask, end, pad, pad, 20, 21, 22, 23, mask, end]
    assert rows.positions[0].tolist() == [1, 2, 3, 4, *range(5, 11), *range(5, 11)]
    assert (rows.shared, rows.questions) == (4, 2)
    assert rows.keys.shape == (4, 1, 1, 10)
    assert rows.keys.flatten(1).sum(1).tolist() == [8, 10, 9, 8]
    assert (rows.input_ids.gather(1, rows.read + 1) == mask).all()


@pytest.mark.parametrize("lead", [0, 1])
def test_states_and_gradients_are_those_of_the_packed_sequence(load, lead):
    model = load()
    pack, rows = pack_questions(SCENES, TOKENS, lead), question_rows(SCENES, TOKENS, lead)
    assert rows.shared == len(SHARED) + lead
    results = []
    for packed in (True, False):
        given = pack if packed else rows
        embeds = model.model.embed_tokens(given.input_ids)
        rotary = rotary_tables(given.positions, model.config, torch.float32)
        if packed:
            hidden = model.hidden_states(embeds, rotary, None, pack.mask)
            read = hidden.gather(1, pack.read[..., None].expand(-1, -1, hidden.shape[-1]))
        else:
            with RowAttention(rows):
                read = model.hidden_states(embeds, rotary, rows.read)
        model.zero_grad()
        read.square().sum().backward()
        gradient = model.model.layers[0].self_attn.v_proj.weight.grad.clone()
        results.append((read.detach(), gradient))
    (wanted, wanted_gradient), (got, gradient) = results
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gradient, wanted_gradient, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(got[0, 0], got[1, 1], atol=1e-2)


def test_uneven_scenes_are_refused():
    with pytest.raises(TrainingError, match="as many questions"):
        question_rows([SCENES[0], SCENES[1][:1]], TOKENS)
    with pytest.raises(ModelInputError, match="same images"):
        question_rows([[torch.tensor([5, 8, 1]), torch.tensor([6, 8, 1])]], TOKENS)
