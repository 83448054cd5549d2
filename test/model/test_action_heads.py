"""The small networks around the backbone."""

import math

import pytest
import torch

from dream_vla_ros.model.action_heads import ActionHead, TokenProjector, time_embedding


def test_one_action_depends_on_its_own_hidden_states_only():
    torch.manual_seed(0)
    head = ActionHead(7 * 16, 16, 7)
    hidden = torch.randn(2, 5 * 7, 16)
    other = hidden.clone()
    other[:, 7:14] += 1
    before, after = head(hidden), head(other)
    assert before.shape == (2, 5, 7)
    changed = (before != after).any(-1)
    assert changed.tolist() == [[False, True, False, False, False]] * 2


@pytest.mark.parametrize(("width", "dim", "blocks"), [(16, 7, 2), (24, 3, 1), (8, 14, 4)])
def test_sizes_are_read_off_saved_weights(width, dim, blocks):
    saved = ActionHead(width * dim, width, dim, blocks)
    again = ActionHead.shaped_like(saved.state_dict())
    again.load_state_dict(saved.state_dict())
    hidden = torch.randn(1, 2 * dim, width)
    torch.testing.assert_close(again(hidden), saved(hidden))


def test_time_embedding_is_sines_then_cosines():
    time, width = 3.0, 8
    expected = [math.sin(time * 10000 ** (-i / 3)) for i in range(4)]
    expected += [math.cos(time * 10000 ** (-i / 3)) for i in range(4)]
    torch.testing.assert_close(time_embedding(torch.tensor([time]), width)[0], torch.tensor(expected))


def test_time_embedding_stays_in_float32():
    time = torch.tensor([1 / 3], dtype=torch.bfloat16)
    assert time_embedding(time, 8).dtype is torch.float32


def test_projector_makes_one_token_of_its_numbers():
    assert TokenProjector(8, 16)(torch.zeros(2, 8)).shape == (2, 16)
