import numpy as np
import pytest

from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector
from dream_vla_ros.sim.arm import gripper_down
from dream_vla_ros.sim.imagined import BLOCK_OPENING, ImaginedTable, Motion, wrap_quarter
from dream_vla_ros.sim.state import TableState

STILL = np.zeros(3)


def table(position=(0.3, 0.0, 0.02), gripper=1.0, yaw=0.0, **blocks):
    poses = {
        colour: Pose(np.array(place), quaternion_from_rotation_vector([0.0, 0.0, turn]))
        for colour, (place, turn) in blocks.items()
    }
    return ImaginedTable.from_state(
        TableState(0.0, Pose(np.array(position), gripper_down(yaw)), gripper, poses)
    )


def test_yaw_is_read_back():
    for yaw in (-1.0, 0.0, 0.5):
        assert table(yaw=yaw).yaw == pytest.approx(yaw)


@pytest.mark.parametrize("turn", [-0.7, 0.0, 0.3])
@pytest.mark.parametrize("tumble", [[0, 0, 0], [np.pi / 2, 0, 0], [0, np.pi / 2, 0], [np.pi, 0, 0]])
def test_the_yaw_of_a_block_does_not_depend_on_its_face(turn, tumble):
    upright = Pose(np.zeros(3), quaternion_from_rotation_vector(tumble))
    turned = upright.moved(np.zeros(3), [0.0, 0.0, turn])
    state = TableState(0.0, Pose(np.zeros(3), gripper_down()), 1.0, {"red": turned})
    assert wrap_quarter(ImaginedTable.from_state(state).blocks["red"].yaw - turn) == pytest.approx(
        0, abs=1e-9
    )


def test_closing_on_a_block_stops_at_its_width_and_grips():
    imagined = table(red=((0.3, 0.0, 0.02), 0.0))
    assert not imagined.holds("red")
    for _ in range(3):
        imagined.apply(Motion(STILL, STILL, 0.0))
    assert imagined.opening == pytest.approx(BLOCK_OPENING)
    assert imagined.holds("red")


@pytest.mark.parametrize("turn", [0.3, -0.78])
def test_a_block_gripped_across_its_corners_stops_the_fingers_earlier(turn):
    imagined = table(red=((0.3, 0.0, 0.02), turn))
    for _ in range(3):
        imagined.apply(Motion(STILL, STILL, 0.0))
    assert imagined.opening == pytest.approx(BLOCK_OPENING * (np.cos(turn) + abs(np.sin(turn))))
    assert imagined.holds("red")


@pytest.mark.parametrize("slipped", [(0.0, 0.0, -0.022), (0.018, 0.0, 0.0)])
def test_a_block_that_slips_in_the_fingers_is_still_held(slipped):
    place = np.array([0.3, 0.0, 0.1]) + slipped
    assert table((0.3, 0.0, 0.1), BLOCK_OPENING, red=(place, 0.0)).holds("red")
    assert not table((0.3, 0.0, 0.1), 1.0, red=(place, 0.0)).holds("red"), "the fingers are wide open"
    assert not table((0.3, 0.0, 0.1), BLOCK_OPENING, red=(place - [0.0, 0.0, 0.04], 0.0)).holds("red")


def test_closing_on_nothing_closes():
    imagined = table(red=((0.3, 0.2, 0.02), 0.0))
    for _ in range(3):
        imagined.apply(Motion(STILL, STILL, 0.0))
    assert imagined.opening == 0.0
    assert not imagined.holds("red")


def test_a_held_block_moves_along_until_let_go():
    imagined = table(gripper=BLOCK_OPENING, red=((0.3, 0.0, 0.02), 0.0))
    imagined.apply(Motion(np.array([0.01, 0.02, 0.03]), np.array([0.0, 0.0, 0.1]), 0.0))
    assert np.allclose(imagined.blocks["red"].position, [0.31, 0.02, 0.05])
    assert imagined.blocks["red"].yaw == pytest.approx(0.1)
    imagined.apply(Motion(np.array([0.0, 0.0, 0.03]), STILL, 1.0))
    assert np.allclose(imagined.blocks["red"].position, [0.31, 0.02, 0.05])


def test_closed_fingers_push_a_block_ahead_of_them():
    imagined = table(position=(0.3, 0.0, 0.02), gripper=0.0, red=((0.3, 0.05, 0.02), 0.0))
    for _ in range(2):
        imagined.apply(Motion(np.array([0.0, 0.03, 0.0]), STILL, 0.0))
    assert imagined.blocks["red"].position[1] == pytest.approx(0.06 + 0.03)


def test_planning_on_it_leaves_the_measured_state_alone():
    pose = Pose(np.array([0.3, 0.0, 0.02]), np.array([0.0, 0.0, 0.0, 1.0]))
    state = TableState(0.0, Pose(np.array([0.3, 0.0, 0.02]), gripper_down()), BLOCK_OPENING, {"red": pose})
    imagined = ImaginedTable.from_state(state)
    imagined.apply(Motion(np.array([0.0, 0.0, 0.03]), STILL, 0.0))
    assert np.array_equal(pose.position, [0.3, 0.0, 0.02])
    assert np.array_equal(state.end_effector.position, [0.3, 0.0, 0.02])
