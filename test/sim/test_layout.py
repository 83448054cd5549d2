import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.sim.layout import InitialStates
from dream_vla_ros.sim.scene import BLOCK_SIZE_M

COLOURS = ["red", "green", "blue", "yellow", "purple"]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_blocks_lie_apart_and_within_their_region(seed, count):
    states = InitialStates()
    layout = states.draw(COLOURS[:count], np.random.default_rng(seed))
    assert list(layout.blocks) == COLOURS[:count]
    positions = [pose.position for pose in layout.blocks.values()]
    for first, second in itertools.combinations(positions, 2):
        assert np.linalg.norm(first - second) >= states.separation_m
    for x, y, z in positions:
        assert states.block_x_m[0] <= x <= states.block_x_m[1]
        assert states.block_y_m[0] <= y <= states.block_y_m[1]
        assert z == BLOCK_SIZE_M / 2
    end_effector = layout.end_effector.position
    assert np.all(states.ee_low_m <= end_effector)
    assert np.all(end_effector <= states.ee_high_m)


def test_the_same_seed_draws_the_same():
    first, second = (InitialStates().draw(COLOURS, np.random.default_rng(7)) for _ in range(2))
    assert all(np.array_equal(first.blocks[c].matrix, second.blocks[c].matrix) for c in COLOURS)
    assert np.array_equal(first.end_effector.matrix, second.end_effector.matrix)


def test_only_allowed_placements_are_drawn():
    allowed = InitialStates().draw(
        ["red", "blue"],
        np.random.default_rng(0),
        lambda blocks: blocks["red"].position[1] > blocks["blue"].position[1] + 0.2,
    )
    assert allowed.blocks["red"].position[1] > allowed.blocks["blue"].position[1] + 0.2


def test_it_says_when_nothing_is_allowed():
    with pytest.raises(ValueError, match="no allowed placement of 1 blocks"):
        InitialStates().draw(["red"], np.random.default_rng(0), lambda blocks: False)
