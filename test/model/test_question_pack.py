"""Packed questions: each is answered as if it were the only one."""

from __future__ import annotations

import pytest
import torch

from dream_vla_ros.model import DreamVL, ModelInputError
from dream_vla_ros.model.config import TokenIds
from dream_vla_ros.model.initialize import initialize_checkpoint
from dream_vla_ros.model.language import rotary_tables
from dream_vla_ros.model.question_pack import pack_questions

TOKENS = TokenIds(mask=726, im_end=704, pad=703, vision_end=8)
MASK, END = TOKENS.mask, TOKENS.im_end
SHARED = [5, 8, 7, 8]
SCENES = [
    [torch.tensor([*SHARED, 10, 11]), torch.tensor([*SHARED, 20, 21, 22, 23]), torch.tensor([*SHARED, 30])],
    [torch.tensor([*SHARED, 40, 41, 42]), torch.tensor([*SHARED, 10, 50])],
]


@pytest.fixture(scope="module")
def model(tabletop_tiny, tmp_path_factory):
    folder = initialize_checkpoint(tabletop_tiny, tmp_path_factory.mktemp("vl"), "discrete")
    return DreamVL.from_pretrained(folder)


def test_layout():
    pack = pack_questions(SCENES, TOKENS)
    first = [*SHARED, 10, 11, MASK, END, 20, 21, 22, 23, MASK, END, 30, MASK, END]
    assert pack.input_ids[0].tolist() == first
    assert pack.positions[0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8, 9, 10, 5, 6, 7]
    assert pack.asked.tolist() == [[True] * 3, [True, True, False]]
    for row, read, asked in zip(pack.input_ids, pack.read, pack.asked, strict=True):
        assert (row[read[asked] + 1] == MASK).all()
        assert (row[read[asked] + 2] == END).all()
    assert not pack.mask[0, 0, :4, 4:].any()  # what is shared sees no question
    assert pack.mask[0, 0, 4:8, :8].all()
    assert not pack.mask[0, 0, 4:8, 8:].any()  # nor does one question see another
    assert pack.mask.any(-1).all()  # a place that sees nothing has no state


def test_places_in_front_are_seen_by_all():
    plain, pack = (pack_questions(SCENES, TOKENS, lead) for lead in (0, 2))
    assert torch.equal(pack.input_ids[:, 2:], plain.input_ids)
    assert torch.equal(pack.read[pack.asked], plain.read[plain.asked] + 2)
    assert pack.positions[0, :9].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert torch.equal(pack.mask[:, :, 2:, 2:], plain.mask)
    assert pack.mask[0, 0, :, :2].all()
    assert pack.mask[0, 0, :2].sum(-1).tolist() == [6, 6]


def test_every_question_is_answered_as_if_alone(model):
    def states(scenes):
        pack = pack_questions(scenes, TOKENS)
        with torch.no_grad():
            hidden = model.hidden_states(
                model.model.embed_tokens(pack.input_ids),
                rotary_tables(pack.positions, model.config, torch.float32),
                None,
                pack.mask,
            )
        return torch.cat(
            [row[read[asked]] for row, read, asked in zip(hidden, pack.read, pack.asked, strict=True)]
        )

    alone = [states([[prompt]])[0] for scene in SCENES for prompt in scene]
    torch.testing.assert_close(states(SCENES), torch.stack(alone), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(alone[0], alone[-1], atol=1e-2)


def test_without_images_nothing_is_shared():
    pack = pack_questions([[torch.tensor([1, 2]), torch.tensor([3])]], TOKENS)
    assert pack.input_ids.tolist() == [[1, 2, MASK, END, 3, MASK, END]]
    assert pack.positions.tolist() == [[1, 2, 3, 4, 1, 2, 3]]
    assert pack.read.tolist() == [[1, 4]]
    assert not pack.mask[0, 0, :4, 4:].any()


@pytest.mark.parametrize("odd", [[9, 8, 7, 8, 1], [5, 8, 7, 8], [5, 8, 1], [5, 1]])
def test_questions_without_the_same_images_are_refused(odd):
    with pytest.raises(ModelInputError, match="same images"):
        pack_questions([[torch.tensor([*SHARED, 1]), torch.tensor(odd)]], TOKENS)
