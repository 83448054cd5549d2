"""Instructions in other words ask for the same."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.sim.appearance import CLOSED_COLOURS
from dream_vla_ros.sim.tasks import closed_tasks
from dream_vla_ros.training.conditions import NEW_PHRASES
from dream_vla_ros.training.wording import phrases, reworded, reworded_some


@pytest.mark.parametrize("kind", NEW_PHRASES)
def test_there_are_many_ways_and_none_of_evaluations(kind):
    assert len(phrases(kind)) > 100
    assert not set(phrases(kind)) & set(NEW_PHRASES[kind])


def test_other_words_name_the_same_blocks_in_the_same_order():
    rng = np.random.default_rng(0)
    for task in closed_tasks():
        for words in task.instructions():
            said = [reworded(words, rng) for _ in range(5)]
            assert len(set(said)) > 1
            for text in said:
                named = [word for word in text.split() if word in CLOSED_COLOURS]
                assert named == list(task.goal.blocks)
                if hasattr(task.goal, "direction"):
                    assert task.goal.direction.value in text.split()


def test_what_asks_for_no_task_stays_as_it_is():
    assert reworded("open the drawer", np.random.default_rng(0)) == "open the drawer"


def test_a_share_is_reworded_the_same_way_for_the_same_seed():
    texts = ["pick up the red block"] * 200
    first = reworded_some(texts, 0.5, np.random.default_rng(1))
    assert first == reworded_some(texts, 0.5, np.random.default_rng(1))
    assert 70 < sum(text == texts[0] for text in first) < 130
    assert reworded_some(texts, 0.0, np.random.default_rng(1)) == texts
