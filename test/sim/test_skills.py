import numpy as np
import pytest

from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector
from dream_vla_ros.sim.arm import gripper_down
from dream_vla_ros.sim.goals import Direction
from dream_vla_ros.sim.imagined import BLOCK_OPENING, ImaginedTable
from dream_vla_ros.sim.skills import lift, push, stack
from dream_vla_ros.sim.state import TableState


def table(position, gripper=1.0, yaw=0.0, **blocks):
    poses = {
        colour: Pose(np.array(place[:3]), quaternion_from_rotation_vector([0.0, 0.0, place[3]]))
        for colour, place in blocks.items()
    }
    return ImaginedTable.from_state(
        TableState(0.0, Pose(np.array(position), gripper_down(yaw)), gripper, poses)
    )


def test_far_away_and_low_it_rises_before_it_crosses():
    motion = lift(table((0.2, -0.1, 0.02), red=(0.35, 0.1, 0.02, 0.0)), "red")
    assert motion.translation[2] > 0.025
    assert np.hypot(*motion.translation[:2]) < 0.005


def test_above_the_block_it_goes_straight_down_open():
    motion = lift(table((0.3, 0.0, 0.09), red=(0.3, 0.0, 0.02, 0.0)), "red")
    assert np.allclose(motion.translation, [0, 0, -0.03])
    assert motion.gripper == 1.0


def test_around_the_block_it_closes_without_moving():
    motion = lift(table((0.3, 0.0, 0.02), red=(0.3, 0.0, 0.02, 0.0)), "red")
    assert not motion.translation.any()
    assert motion.gripper == 0.0


def test_a_block_knocked_out_of_closing_fingers_is_fetched_again():
    motion = lift(table((0.3, 0.0, 0.02), gripper=0.7, red=(0.3, 0.06, 0.02, 0.0)), "red")
    assert motion.gripper == 1.0
    assert motion.translation[2] > 0.0


def test_with_the_block_in_hand_it_rises_and_then_holds():
    rising = lift(table((0.3, 0.0, 0.05), BLOCK_OPENING, red=(0.3, 0.0, 0.05, 0.0)), "red")
    assert np.allclose(rising.translation, [0, 0, 0.03])
    holding = lift(table((0.3, 0.0, 0.14), BLOCK_OPENING, red=(0.3, 0.0, 0.14, 0.0)), "red")
    assert not holding.translation.any()
    assert holding.gripper == rising.gripper == 0.0


def test_the_gripper_turns_square_to_the_block():
    motion = lift(table((0.3, 0.0, 0.12), red=(0.3, 0.0, 0.02, 0.5)), "red")
    assert np.allclose(motion.rotation, [0, 0, 0.15], atol=1e-6)


def test_the_fingers_avoid_a_neighbour():
    alone = table((0.3, 0.0, 0.12), red=(0.3, 0.0, 0.02, 0.2))
    beside = table((0.3, 0.0, 0.12), red=(0.3, 0.0, 0.02, 0.2), blue=(0.3, 0.055, 0.02, 0.0))
    assert lift(alone, "red").rotation[2] == pytest.approx(0.15, abs=1e-6)
    assert lift(beside, "red").rotation[2] == pytest.approx(-0.15, abs=1e-6), "the other pair of sides"


def test_a_carried_block_is_let_go_only_on_top_of_the_other():
    base = (0.3, 0.1, 0.02, 0.0)
    above = table((0.3, 0.1, 0.1), BLOCK_OPENING, red=(0.3, 0.1, 0.1, 0.0), blue=base)
    assert stack(above, "red", "blue").gripper == 0.0
    down = table((0.3, 0.1, 0.06), BLOCK_OPENING, red=(0.3, 0.1, 0.06, 0.0), blue=base)
    assert stack(down, "red", "blue").gripper == 1.0
    assert not stack(down, "red", "blue").translation.any()
    released = table((0.3, 0.1, 0.06), 1.0, red=(0.3, 0.1, 0.06, 0.0), blue=base)
    assert np.allclose(stack(released, "red", "blue").translation, [0, 0, 0.03])
    clear = table((0.3, 0.1, 0.125), 1.0, red=(0.3, 0.1, 0.06, 0.0), blue=base)
    assert not stack(clear, "red", "blue").translation.any()


def test_a_block_is_set_down_so_slowly_that_there_is_time_to_look_again():
    base = (0.3, 0.1, 0.02, 0.0)
    hovering = table((0.3, 0.1, 0.11), BLOCK_OPENING, red=(0.3, 0.1, 0.11, 0.0), blue=base)
    steps = 0
    while stack(hovering, "red", "blue").gripper == 0.0:
        hovering.apply(stack(hovering, "red", "blue"))
        steps += 1
    assert steps >= 4, "half a chunk"
    assert hovering.blocks["red"].position[2] == pytest.approx(0.06, abs=0.006)


def test_a_block_that_sits_askew_in_the_fingers_is_carried_on_as_it_is():
    base = (0.3, 0.1, 0.02, 0.4)
    askew = table((0.3, 0.0, 0.1), 0.72, red=(0.3, 0.01, 0.085, 0.5), blue=base)
    motion = stack(askew, "red", "blue")
    assert motion.gripper == 0.0
    assert motion.translation[1] > 0.02
    assert not motion.rotation.any(), "blocks on each other need not be in line"


@pytest.mark.parametrize("direction", list(Direction))
def test_a_push_comes_from_behind_and_goes_the_way_asked(direction):
    start = np.array([0.3, 0.0, 0.02])
    behind = start - 0.045 * direction.vector
    motion = push(table(behind, 0.0, red=(*start, 0.0)), "red", direction, start)
    assert motion.translation @ direction.vector == pytest.approx(0.03, abs=1e-3)
    ahead = start + 0.045 * direction.vector
    motion = push(table(ahead, 0.0, red=(*start, 0.0)), "red", direction, start)
    assert motion.translation[2] > 0.02, "over the block, not through it"


@pytest.mark.parametrize("begin_m", [-0.1, 0.1, 0.15])
def test_a_push_goes_to_the_line_and_far_enough_then_backs_off_and_rises(begin_m):
    start, end = np.array([0.3, begin_m, 0.02]), max(Direction.LEFT.push_line_m, begin_m + 0.068) + 0.001

    def motion(gripper_y, gripper_z, block_y):
        seen = table((0.3, gripper_y, gripper_z), 0.0, red=(0.3, block_y, 0.02, 0.0))
        return push(seen, "red", Direction.LEFT, start).translation

    assert motion(end - 0.035, 0.02, end - 0.005)[1] > 0.005, "not there yet"
    assert motion(end - 0.03, 0.02, end)[1] < 0.0
    assert motion(end - 0.045, 0.02, end)[2] > 0.0
    assert not motion(end - 0.045, 0.095, end).any()
