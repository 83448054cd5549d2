import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.sim.appearance import CLOSED_COLOURS, OPEN_COLOURS
from dream_vla_ros.sim.goals import Direction, Lifted, Pushed, Stacked
from dream_vla_ros.sim.tasks import (
    Task,
    UnknownInstructionError,
    closed_tasks,
    open_tasks,
    task_from_instruction,
)

CLOSED = list(closed_tasks())
OPEN = list(open_tasks())


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("pick up the red block", Lifted("red")),
        ("Please grab the yellow block!", Lifted("yellow")),
        ("put the red block on the blue one", Stacked("red", "blue")),
        ("  Stack the green   block on the yellow block. ", Stacked("green", "yellow")),
        ("push the green block to the left", Pushed("green", Direction.LEFT)),
        ("move purple block to the right, please", Pushed("purple", Direction.RIGHT)),
    ],
)
def test_instructions_are_understood(text, goal):
    assert task_from_instruction(text).goal == goal


def test_every_phrase_of_every_task_is_understood_as_that_task():
    phrases = [(phrase, task) for task in (*CLOSED, *OPEN) for phrase in task.instructions()]
    assert all(task_from_instruction(phrase).goal == task.goal for phrase, task in phrases)
    assert len({phrase for phrase, _ in phrases}) == sum(len(task.instructions()) for task in OPEN)


@pytest.mark.parametrize(
    "text",
    ["", "dance", "pick up the mauve block", "push the red block to the moon", "pick up the red block now"],
)
def test_unknown_words_are_refused_with_what_is_known(text):
    with pytest.raises(UnknownInstructionError, match=r"pick up the \{block\} block.*red.*left"):
        task_from_instruction(text)


def test_a_block_on_itself_is_refused():
    with pytest.raises(UnknownInstructionError, match="cannot be put on itself"):
        task_from_instruction("put the red block on the red one")


def test_closed_tasks_use_four_colours_and_open_tasks_all():
    assert {colour for task in CLOSED for colour in task.goal.blocks} == set(CLOSED_COLOURS)
    assert {colour for task in OPEN for colour in task.goal.blocks} == set(OPEN_COLOURS)
    assert len(CLOSED) == 4 + 12 + 8
    assert task_from_instruction("pick up the red block").colours == CLOSED_COLOURS
    assert task_from_instruction("pick up the pink block").colours == OPEN_COLOURS


@settings(deadline=None)
@given(st.sampled_from(CLOSED), st.integers(0, 10_000), st.integers(2, 4))
def test_a_drawn_table_has_the_blocks_that_the_task_needs(task, seed, count):
    layout = task.draw_layout(count, np.random.default_rng(seed))
    assert len(layout.blocks) == count
    assert set(task.goal.blocks) <= set(layout.blocks) <= set(CLOSED_COLOURS)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([Direction.LEFT, Direction.RIGHT]))
def test_nothing_lies_in_the_way_of_a_push(seed, direction):
    layout = Task(Pushed("green", direction)).draw_layout(4, np.random.default_rng(seed))
    start = layout.blocks["green"].position
    way = direction.push_line_m - start @ direction.vector
    assert way > 0.06
    for colour, pose in layout.blocks.items():
        offset = pose.position - start
        ahead = offset @ direction.vector
        if colour != "green" and 0.0 < ahead < way + 0.04:
            assert abs(offset[0]) > 0.05, colour


@settings(deadline=None)
@given(st.sampled_from(CLOSED), st.sampled_from(CLOSED), st.integers(0, 10_000))
def test_a_table_can_have_room_for_two_tasks(task, other, seed):
    layout = task.draw_layout(4, np.random.default_rng(seed), also=other)
    assert set(task.goal.blocks) | set(other.goal.blocks) <= set(layout.blocks)
    assert task.has_room(layout.blocks)
    assert other.has_room(layout.blocks)


def test_a_task_that_fits_the_table_anyway_changes_nothing():
    alone, both = (CLOSED[0].draw_layout(3, np.random.default_rng(4), also) for also in (None, CLOSED[0]))
    assert list(alone.blocks) == list(both.blocks)
    assert all(np.array_equal(alone.blocks[key].position, both.blocks[key].position) for key in both.blocks)


def test_too_many_blocks_are_refused_with_the_range():
    with pytest.raises(ValueError, match="needs 1 to 4 blocks, not 5"):
        Task(Lifted("red")).draw_layout(5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="needs 2 to 4 blocks, not 1"):
        Task(Stacked("red", "blue")).draw_layout(1, np.random.default_rng(0))


def test_an_unknown_colour_is_refused():
    with pytest.raises(ValueError, match="no colour 'mauve'"):
        Task(Lifted("mauve"))
