import numpy as np
import pytest

from dream_vla_ros.geometry import Pose
from dream_vla_ros.sim.arm import gripper_down
from dream_vla_ros.sim.goals import Direction, Lifted, Pushed, Stacked
from dream_vla_ros.sim.state import TableState

UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


def table(end_effector=(0.25, 0.0, 0.18), gripper=1.0, **blocks):
    poses = {colour: Pose(np.array(position), UPRIGHT) for colour, position in blocks.items()}
    return TableState(0.0, Pose(np.array(end_effector), gripper_down()), gripper, poses)


START = table(red=(0.3, 0.0, 0.02), blue=(0.3, 0.1, 0.02))


@pytest.mark.parametrize(
    ("height", "end_effector", "lifted"),
    [
        (0.12, (0.3, 0.0, 0.12), True),
        (0.02, (0.3, 0.0, 0.02), False),
        (0.06, (0.3, 0.0, 0.06), False),
        (0.12, (0.3, 0.1, 0.12), False),
    ],
)
def test_lifted_is_up_and_at_the_gripper(height, end_effector, lifted):
    now = table(end_effector, 0.5, red=(0.3, 0.0, height), blue=(0.3, 0.1, 0.02))
    assert Lifted("red").reached(START, now) is lifted


@pytest.mark.parametrize(
    ("red", "blue", "gripper", "stacked"),
    [
        ((0.305, 0.095, 0.06), (0.3, 0.1, 0.02), 1.0, True),
        ((0.305, 0.095, 0.06), (0.3, 0.1, 0.02), 0.54, False),
        ((0.33, 0.1, 0.06), (0.3, 0.1, 0.02), 1.0, False),
        ((0.3, 0.1, 0.08), (0.3, 0.1, 0.02), 1.0, False),
        ((0.3, 0.1, 0.02), (0.3, 0.1, 0.06), 1.0, False),
        ((0.3, 0.1, 0.12), (0.3, 0.1, 0.08), 1.0, False),
    ],
    ids=["stacked", "still held", "beside", "above", "the wrong way round", "base in the air"],
)
def test_stacked_rests_and_is_let_go(red, blue, gripper, stacked):
    assert Stacked("red", "blue").reached(START, table(gripper=gripper, red=red, blue=blue)) is stacked


def test_stacked_on_a_tower():
    start = table(red=(0.3, 0.0, 0.02), blue=(0.3, 0.1, 0.06))
    assert Stacked("red", "blue").reached(start, table(red=(0.3, 0.1, 0.10), blue=(0.3, 0.1, 0.06)))
    assert not Stacked("red", "blue").reached(start, table(red=(0.3, 0.1, 0.06), blue=(0.3, 0.1, 0.02)))


@pytest.mark.parametrize(
    ("red", "direction", "pushed"),
    [
        ((0.3, 0.07, 0.02), Direction.LEFT, True),
        ((0.3, -0.07, 0.02), Direction.LEFT, False),
        ((0.3, -0.07, 0.02), Direction.RIGHT, True),
        ((0.37, 0.0, 0.02), Direction.FORWARD, True),
        ((0.23, 0.0, 0.02), Direction.BACK, True),
        ((0.3, 0.05, 0.02), Direction.LEFT, False),
        ((0.36, 0.07, 0.02), Direction.LEFT, True),
        ((0.38, 0.07, 0.02), Direction.LEFT, False),
        ((0.3, 0.07, 0.1), Direction.LEFT, False),
    ],
)
def test_pushed_is_relative_to_the_start_in_the_robots_axes(red, direction, pushed):
    now = table(red=red, blue=(0.3, 0.1, 0.02))
    assert Pushed("red", direction).reached(START, now) is pushed


def test_no_goal_holds_at_the_start():
    goals = [Lifted("red"), Stacked("red", "blue"), *(Pushed("red", direction) for direction in Direction)]
    assert not any(goal.reached(START, START) for goal in goals)


def test_a_block_cannot_be_put_on_itself():
    with pytest.raises(ValueError, match="the red block cannot be put on itself"):
        Stacked("red", "red")
