import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.geometry import Pose, angle_between
from dream_vla_ros.sim.arm import ARM_JOINTS, FINGER_JOINTS, gripper_down
from dream_vla_ros.sim.simulation import (
    CONTROL_PERIOD_S,
    WORKSPACE_HIGH_M,
    WORKSPACE_LOW_M,
    TabletopSim,
    TargetStatus,
)
from dream_vla_ros.sim.tasks import task_from_instruction

TASK = task_from_instruction("pick up the red block")


@pytest.fixture(scope="module")
def shared():
    made = TabletopSim(image_size=(48, 64))
    yield made
    made.close()


@pytest.fixture
def sim(shared):
    return reset(shared, 0)


def reset(sim, seed):
    rng = np.random.default_rng(seed)
    sim.reset(TASK.draw_layout(sim.num_blocks, rng), rng)
    return sim


def above(block, height_m):
    return block.position + np.array([0.0, 0.0, height_m])


def follow(sim, target, gripper=1.0, steps=100, stride_m=0.003):
    """Lead the target to a pose in small steps, as a controller does, and wait."""
    for _ in range(steps):
        offset, rotation = sim.target.motion_to(target)
        share = min(1.0, stride_m / max(np.linalg.norm(offset), np.linalg.norm(rotation) / 10, 1e-9))
        sim.set_target(sim.target.moved(offset * share, rotation * share), gripper)
        sim.step()


def test_reset_puts_everything_where_the_layout_says(sim):
    layout = TASK.draw_layout(4, np.random.default_rng(5))
    state = sim.reset(layout, np.random.default_rng(0))
    assert state.time_s == 0.0
    assert state.gripper == pytest.approx(1.0)
    assert np.allclose(state.end_effector.position, layout.end_effector.position, atol=2e-4)
    for colour, pose in layout.blocks.items():
        assert np.allclose(state.blocks[colour].position, pose.position, atol=1e-9)
    sim.step(2.0)
    for colour, pose in layout.blocks.items():
        assert np.allclose(sim.block_poses()[colour].position, pose.position, atol=1e-3), "it lies still"
    assert np.allclose(sim.ee_pose().position, layout.end_effector.position, atol=2e-4), "it holds"


@settings(max_examples=10, deadline=None)
@given(st.floats(0.2, 0.37), st.floats(-0.16, 0.16), st.floats(0.02, 0.13), st.floats(-0.7, 0.7))
def test_the_arm_reaches_and_holds_a_target(shared, x, y, z, yaw):
    sim = reset(shared, 1)
    target = Pose(np.array([x, y, z + 0.06]), gripper_down(yaw))
    follow(sim, target, steps=150)
    measured = sim.ee_pose()
    assert np.allclose(measured.position, target.position, atol=1e-3)
    assert angle_between(measured.quaternion, target.quaternion) < 0.01
    assert sim.unreached()[0] < 1e-3


def test_the_arm_lags_a_little_behind_a_moving_target(sim):
    for _ in range(40):
        sim.set_target(sim.target.moved([0.0, 0.15 * CONTROL_PERIOD_S, 0.0], [0.0, 0.0, 0.0]), 1.0)
        sim.step()
    lag = np.linalg.norm(sim.target.position - sim.ee_pose().position)
    assert 0.002 < lag < 0.015, "15 to 100 ms at 0.15 m/s"


def test_a_target_out_of_the_workspace_is_clamped_and_said(sim):
    follow(sim, Pose(np.array([0.3, 0.0, 0.05]), gripper_down()))
    report = sim.set_target(sim.target.moved([0.0, 0.0, -0.1], [0.0, 0.0, 0.0]), 1.0)
    assert report.status is TargetStatus.CLAMPED
    assert "outside the workspace" in report.reason
    sim.step(1.0)
    # The tips are 12 mm below the end effector and must stay off the table.
    assert sim.ee_pose().position[2] > 0.0135


@pytest.mark.parametrize(
    ("translation", "rotation", "gripper", "reason"),
    [
        ([0.2, 0.0, 0.0], [0.0, 0.0, 0.0], 1.0, "0.200 m"),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 1.5], 1.0, "1.50 rad"),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], float("nan"), "gripper target is nan"),
    ],
)
def test_a_target_too_far_or_not_finite_is_refused_and_nothing_moves(
    sim, translation, rotation, gripper, reason
):
    before = sim.ee_pose()
    report = sim.set_target(sim.target.moved(translation, rotation), gripper)
    assert report.status is TargetStatus.REFUSED
    assert reason in report.reason
    sim.step(0.5)
    assert np.allclose(sim.ee_pose().position, before.position, atol=1e-4)
    assert sim.gripper_opening() == pytest.approx(1.0, abs=1e-3)


def test_hold_stops_the_arm_where_it_is_commanded(sim):
    sim.set_target(sim.target.moved([0.08, 0.0, 0.0], [0.0, 0.0, 0.0]), 1.0)
    sim.step(0.04)
    sim.hold()
    sim.step(1.0)
    held = sim.ee_pose().position
    assert np.allclose(held, sim.target.position, atol=1e-3)
    sim.step(1.0)
    assert np.allclose(held, sim.ee_pose().position, atol=1e-5)


def test_the_gripper_closes_and_opens_in_half_a_second(sim):
    for command, expected in ((0.0, 0.0), (1.0, 1.0), (0.5, 0.5)):
        sim.set_target(sim.target, command)
        sim.step(0.6)
        assert sim.gripper_opening() == pytest.approx(expected, abs=0.01)
        fingers = sim.joint_positions()
        assert fingers["left_finger"] == pytest.approx(fingers["right_finger"], abs=1e-4)
        assert fingers["left_finger"] == pytest.approx(expected * 0.037, abs=4e-4)


def test_a_grasped_block_stays_in_the_fingers_for_a_minute(sim):
    red = sim.block_poses()["red"]
    yaw = np.arctan2(red.rotation[1, 0], red.rotation[0, 0])
    yaw = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
    follow(sim, Pose(above(red, 0.08), gripper_down(yaw)), steps=150)
    follow(sim, Pose(red.position, gripper_down(yaw)))
    sim.set_target(sim.target, 0.0)
    sim.step(0.6)
    follow(sim, Pose(above(red, 0.1), gripper_down(yaw)), gripper=0.0)
    before = sim.block_poses()["red"].position
    assert before[2] > 0.1
    sim.step(60.0)
    assert np.allclose(sim.block_poses()["red"].position, before, atol=2e-3)


commands = st.tuples(
    st.tuples(*[st.floats(-0.15, 0.15)] * 3),
    st.tuples(*[st.floats(-1.0, 1.0)] * 3),
    st.floats(-1.0, 2.0),
    st.integers(1, 20),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(commands, min_size=1, max_size=12))
def test_no_sequence_of_targets_makes_it_explode(shared, sequence):
    sim = reset(shared, 2)
    for translation, rotation, gripper, ticks in sequence:
        sim.set_target(sim.ee_pose().moved(translation, rotation), gripper)
        assert np.all(sim.target.position >= WORKSPACE_LOW_M)
        assert np.all(sim.target.position <= WORKSPACE_HIGH_M)
        sim.step(ticks * CONTROL_PERIOD_S)
        positions = sim.joint_positions()
        for joint in (*ARM_JOINTS, *FINGER_JOINTS):
            slack = 0.05 if joint in ARM_JOINTS else 0.006
            assert joint.lower - slack <= positions[joint.name] <= joint.upper + slack
        assert all(np.isfinite(pose.position).all() for pose in sim.block_poses().values())
        # Twice the joint speed limit: the servos catch up with a command that has run ahead.
        assert max(abs(sim.joint_velocities()[joint.name]) for joint in ARM_JOINTS) < 2 * np.pi


@pytest.mark.parametrize("duration", [0.0, -0.02, 0.013, float("nan")])
def test_durations_that_are_no_multiple_of_the_control_period_are_refused(sim, duration):
    with pytest.raises(ValueError, match="duration"):
        sim.step(duration)


def test_rendering_changes_nothing_and_depends_only_on_the_state(shared):
    images, states = [], []
    for render_between in (True, False):
        sim = reset(shared, 4)
        sim.set_target(sim.target.moved([0.05, 0.02, -0.03], [0.0, 0.1, 0.2]), 0.3)
        for _ in range(10):
            sim.step(0.04)
            if render_between:
                sim.render("wrist")
        images.append([sim.render(camera) for camera in ("third_person", "wrist")])
        states.append(np.array(list(sim.joint_positions().values())))
    assert np.array_equal(images[0], images[1])
    assert np.array_equal(states[0], states[1])
    assert images[0][0].shape == (48, 64, 3)
    assert images[0][0].dtype == np.uint8
    assert images[0][0].std() > 10.0, "not an empty picture"


def test_the_number_of_blocks_has_to_fit(sim):
    layout = TASK.draw_layout(3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="the layout has 3 blocks, the table 4"):
        sim.reset(layout, np.random.default_rng(0))


def test_pictures_for_people_have_shadows():
    plain, pretty = TabletopSim(image_size=(120, 160)), TabletopSim(image_size=(120, 160), shadows=True)
    pictures = []
    for sim in (plain, pretty):
        reset(sim, 0)
        pictures.append(sim.render("third_person").astype(float).sum(axis=2))
        sim.close()
    darker = pictures[1] < 0.75 * pictures[0]
    assert 0.01 < darker.mean() < 0.3
