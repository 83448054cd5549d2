"""Conditions hold what training never saw."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.sim.appearance import CLOSED_COLOURS, MODEST_VARIATION
from dream_vla_ros.sim.goals import Lifted, Stacked
from dream_vla_ros.sim.tasks import PHRASES, Task, closed_tasks
from dream_vla_ros.training.conditions import CONDITIONS, NEW_PHRASES
from dream_vla_ros.training.demonstrations import Recipe


def test_no_demonstration_uses_the_new_phrases():
    trained = {words for task in closed_tasks() for words in task.instructions()}
    new = {words for task in closed_tasks() for words in CONDITIONS["words"].phrases(task)}
    assert len(new) == sum(len(NEW_PHRASES[type(task.goal)]) for task in closed_tasks())
    assert not trained & new
    assert set(NEW_PHRASES) == set(PHRASES)


def test_words_ask_for_every_block_by_its_colour():
    for task in closed_tasks():
        for words in CONDITIONS["words"].phrases(task):
            assert [colour for colour in CLOSED_COLOURS if colour in words.split()] == sorted(
                task.goal.blocks, key=CLOSED_COLOURS.index
            )


def test_numbers_and_looks_are_beyond_the_demonstrations():
    recipe = Recipe(episodes=1)
    for name in ("two_blocks", "five_blocks"):
        assert CONDITIONS[name].num_blocks not in recipe.num_blocks
    assert recipe.variation == MODEST_VARIATION
    assert CONDITIONS["light"].variation.brightness_shift > 1.9 * recipe.variation.brightness
    assert CONDITIONS["camera"].variation.camera_shift_m == pytest.approx(0.02)
    assert CONDITIONS["camera"].variation.camera_turn_deg == pytest.approx(2.0)


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("goal", [Lifted("red"), Stacked("green", "blue")])
def test_scenes_have_as_many_blocks_as_said(name, goal):
    condition, rng = CONDITIONS[name], np.random.default_rng(1)
    task = condition.dressed(Task(goal), rng)
    layout = task.draw_layout(condition.num_blocks, rng)
    assert len(layout.blocks) == condition.num_blocks
    assert set(goal.blocks) <= set(layout.blocks)
    strange = set(layout.blocks) - set(CLOSED_COLOURS)
    assert len(strange) == max(condition.num_blocks - 4, 0)
