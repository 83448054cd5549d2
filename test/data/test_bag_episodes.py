"""Tests for reading episodes from bags."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bag_scene import Recorded
from rosbags.rosbag2 import StoragePlugin

from dream_vla_ros.data.align import ActionSource
from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.bag_episodes import BagRules, model_proprio, read_episodes
from dream_vla_ros.data.episode_metadata import EpisodeMetadata, Takeover
from dream_vla_ros.data.errors import BagError, DataError
from dream_vla_ros.data.idle import IdleRule, Trim
from dream_vla_ros.data.topics import TopicNames
from dream_vla_ros.embodiment import RotationConvention, StateSource
from dream_vla_ros.geometry import (
    Pose,
    angle_between,
    quaternion_from_rotation_vector,
    quaternion_multiply,
)
from dream_vla_ros.policy.actions import ActionCodec
from dream_vla_ros.policy.proprio import ProprioWriter
from dream_vla_ros.robot_state import RobotState

EVERYTHING = BagRules(task="stack", idle=IdleRule(Trim.NONE))


@pytest.fixture
def bag(healthy_mcap):
    with Bag(healthy_mcap) as opened:
        yield opened


def test_an_episode_is_what_happened(bag, tabletop, scene):
    found = read_episodes(bag, tabletop, EVERYTHING)
    (episode,) = found.episodes
    assert found.report.kept == len(episode) == 19
    assert found.report.ticks == 20
    assert dict(found.report.dropped) == {"without next frame": 1}
    seconds = (episode.times_ns - scene.start_ns) * 1e-9
    assert np.allclose(seconds, np.arange(19) * 0.2)
    for frame, second in enumerate(seconds):
        true = scene.pose(second)
        after = scene.pose(second + 0.2)
        translation, rotation = true.motion_to(after)
        assert np.allclose(episode.poses.positions[frame], true.position, atol=1e-6)
        assert np.allclose(episode.motion.translation[frame], translation, atol=1e-6)
        assert np.allclose(episode.motion.rotation[frame], rotation, atol=1e-5)
        assert episode.motion.gripper[frame] == scene.command(second + 0.19)
        assert episode.opening[frame] == pytest.approx(scene.opening(second), abs=0.08)
        for camera in ("third_person", "wrist"):
            stamp = (episode.image_stamps_ns[camera][frame] - scene.start_ns) * 1e-9
            assert abs(stamp - second) <= 0.5 / scene.camera_hz + 1e-6
            stored = episode.images[camera][frame].decode()
            assert np.array_equal(stored, scene.image(camera, stamp))


def test_numbers_for_the_model_come_from_the_policys_own_code(bag, tabletop):
    (episode,) = read_episodes(bag, tabletop, EVERYTHING).episodes
    codec = ActionCodec.from_embodiment(tabletop)
    back = codec.to_motion(episode.actions, episode.poses.quaternions[0])
    assert np.allclose(back.translation, episode.motion.translation)
    assert np.allclose(back.rotation, episode.motion.rotation)
    assert np.allclose(back.gripper, episode.motion.gripper)
    write = ProprioWriter(tabletop)
    before = None
    for frame in range(len(episode)):
        observation = episode.observation(frame)
        before = write(observation.state, near=before)
        assert np.allclose(episode.proprio[frame], before)
        assert list(observation.images) == ["third_person", "wrist"]
        assert observation.instruction == "stack"
    assert np.all(np.abs(np.diff(episode.proprio[:, 3:6], axis=0)) < 0.5)


def test_euler_differences_add_up_along_the_measured_orientation(bag, tabletop):
    robot = replace(tabletop, action=replace(tabletop.action, rotation=RotationConvention.EULER_DIFFERENCE))
    (episode,) = read_episodes(bag, robot, EVERYTHING).episodes
    codec = ActionCodec.from_embodiment(robot)
    for frame in range(len(episode)):
        motion = codec.to_motion(episode.actions[frame : frame + 1], episode.poses.quaternions[frame])
        assert np.allclose(motion.rotation[0], episode.motion.rotation[frame], atol=1e-9)


def test_commanded_and_reached_differ_as_they_should(bag, tabletop, scene):
    reached = read_episodes(bag, tabletop, EVERYTHING).episodes[0]
    rules = replace(EVERYTHING, actions=ActionSource.COMMANDED)
    commanded = read_episodes(bag, tabletop, rules).episodes[0]
    second = (commanded.times_ns[5] - scene.start_ns) * 1e-9
    expected = scene.pose(second + 0.25).position - scene.pose(second + 0.05).position
    assert np.allclose(commanded.motion.translation[5], expected, atol=1e-5)
    assert not np.allclose(commanded.motion.translation, reached.motion.translation, atol=1e-5)


def test_motion_commands_are_added_up(tmp_path, recorded, tabletop, scene, rosbags_writer, make_delta):
    deltas = make_delta(scene, rate_hz=50.0)
    kept = [one for one in recorded if "target_pose" not in one.topic and "gripper" not in one.topic]
    path = rosbags_writer(tmp_path / "bag", sorted(kept + deltas, key=lambda one: one.log_ns))
    rules = replace(EVERYTHING, actions=ActionSource.COMMANDED)
    with Bag(path) as opened:
        (episode,) = read_episodes(opened, tabletop, rules).episodes
    for frame in range(2, len(episode) - 2):
        second = (episode.times_ns[frame] - scene.start_ns) * 1e-9
        translation, rotation = scene.pose(second).motion_to(scene.pose(second + 0.2))
        assert np.allclose(episode.motion.translation[frame], translation, atol=1e-4)
        assert np.allclose(episode.motion.rotation[frame], rotation, atol=1e-3)
    assert set(episode.motion.gripper) == {0.0, 1.0}


def test_what_was_not_recorded_is_named_with_what_was(tmp_path, recorded, tabletop, rosbags_writer):
    kept = [one for one in recorded if "wrist" not in one.topic]
    with Bag(rosbags_writer(tmp_path / "a", kept)) as opened, pytest.raises(BagError) as caught:
        read_episodes(opened, tabletop, EVERYTHING)
    assert "camera 'wrist'" in str(caught.value)
    assert "/third_person/image_raw (sensor_msgs/msg/Image, 60)" in str(caught.value)
    kept = [one for one in recorded if "target" not in one.topic]
    rules = replace(EVERYTHING, actions=ActionSource.COMMANDED)
    with (
        Bag(rosbags_writer(tmp_path / "b", kept)) as opened,
        pytest.raises(BagError, match="--actions reached"),
    ):
        read_episodes(opened, tabletop, rules)


def test_topics_are_found_below_a_namespace(tmp_path, tabletop, make_scene, rosbags_writer):
    path = rosbags_writer(tmp_path / "bag", make_scene(prefix="/left_arm").messages())
    with Bag(path) as opened:
        assert len(read_episodes(opened, tabletop, EVERYTHING).episodes) == 1
        named = replace(EVERYTHING, names=TopicNames(namespace="left_arm"))
        assert len(read_episodes(opened, tabletop, named).episodes) == 1
        wrong = replace(EVERYTHING, names=TopicNames(namespace="right_arm"))
        with pytest.raises(BagError, match="no topic for camera"):
            read_episodes(opened, tabletop, wrong)
    both = make_scene(prefix="/left_arm").messages() + make_scene(prefix="/right_arm").messages()
    with Bag(rosbags_writer(tmp_path / "both", both)) as opened:
        with pytest.raises(BagError, match="could be /left_arm/third_person/image_raw or /right_arm"):
            read_episodes(opened, tabletop, EVERYTHING)
        remap = {name: f"/right_arm/{name}" for name in ("third_person/image_raw", "wrist/image_raw")}
        remap |= {name: f"/right_arm/{name}" for name in ("ee_pose", "joint_states", "gripper_command")}
        chosen = replace(EVERYTHING, names=TopicNames(remap=remap))
        assert len(read_episodes(opened, tabletop, chosen).episodes) == 1


@pytest.mark.parametrize("format_", ["jpg", "png"])
def test_compressed_images_do_as_well(tmp_path, tabletop, make_scene, rosbags_writer, format_):
    scene = make_scene(compressed=format_)
    with Bag(rosbags_writer(tmp_path / "bag", scene.messages())) as opened:
        (episode,) = read_episodes(opened, tabletop, EVERYTHING).episodes
        stored = episode.images["wrist"][3]
        stamp = (episode.image_stamps_ns["wrist"][3] - scene.start_ns) * 1e-9
        difference = stored.decode().astype(int) - scene.image("wrist", stamp).astype(int)
    assert np.mean(np.abs(difference)) < (6.0 if format_ == "jpg" else 1e-9)
    assert stored.encoded


def test_failed_and_unfinished_episodes_are_left_out_unless_wanted(tmp_path, recorded, tabletop, own_writer):
    failed = own_writer(tmp_path / "failed", recorded, EpisodeMetadata(task="stack", success=False))
    with Bag(failed) as opened:
        found = read_episodes(opened, tabletop, BagRules())
        assert (found.episodes, found.left_out[:18]) == ((), "the episode failed")
        kept = read_episodes(opened, tabletop, BagRules(include_failed=True))
        assert len(kept.episodes) == 1
        assert kept.episodes[0].success is False
    metadata = failed / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("state: finished", "state: recording"))
    metadata.write_text(metadata.read_text().replace("success: 'false'", "success: unknown"))
    with Bag(failed) as opened:
        assert "cut off" in read_episodes(opened, tabletop, BagRules()).left_out


def test_takeovers_mark_their_frames(tmp_path, recorded, tabletop, own_writer, scene):
    start = scene.start_ns + 10**9
    metadata = EpisodeMetadata(task="t", success=True, takeovers=(Takeover(start, start + 10**9),))
    with Bag(own_writer(tmp_path / "bag", recorded, metadata)) as opened:
        rules = BagRules(idle=IdleRule(Trim.NONE))
        (episode,) = read_episodes(opened, tabletop, rules).episodes
    seconds = (episode.times_ns - scene.start_ns) * 1e-9
    assert np.array_equal(episode.takeover, (seconds >= 1.0 - 1e-9) & (seconds < 2.0 - 1e-9))


def test_each_goal_is_an_episode_of_its_own(tmp_path, recorded, tabletop, rosbags_writer, make_goals, scene):
    goals = make_goals(scene, [(0.4, 2.1, "pick"), (2.2, 3.9, "place")])
    path = rosbags_writer(tmp_path / "bag", sorted(recorded + goals, key=lambda one: one.log_ns))
    with Bag(path) as opened:
        rules = BagRules(idle=IdleRule(Trim.NONE), min_frames=2)
        found = read_episodes(opened, tabletop, rules)
    assert [episode.instruction for episode in found.episodes] == ["pick", "place"]
    first, second = found.episodes
    assert (first.times_ns[0] - scene.start_ns) * 1e-9 == pytest.approx(0.4)
    assert first.times_ns[-1] < second.times_ns[0]
    assert found.report.dropped["outside any goal"] == 2
    assert found.report.kept + sum(found.report.dropped.values()) == found.report.ticks


def test_without_any_instruction_the_user_is_asked(bag, tabletop):
    with pytest.raises(DataError, match="--task"):
        read_episodes(bag, tabletop, BagRules())


def test_idle_time_is_trimmed_and_counted(tmp_path, tabletop, make_scene, own_writer):
    scene = make_scene(duration_s=6.0, idle_s=2.0, close_at_s=3.0)
    with Bag(own_writer(tmp_path / "bag", scene.messages())) as opened:
        rules = BagRules(idle=IdleRule(keep_after=2), min_frames=2)
        found = read_episodes(opened, tabletop, rules)
    (episode,) = found.episodes
    seconds = (episode.times_ns - scene.start_ns) * 1e-9
    assert seconds[0] == pytest.approx(2.0)
    assert seconds[-1] == pytest.approx(3.8 + 0.4)
    assert found.report.dropped["idle"] == found.report.ticks - 1 - len(episode)


def test_a_truncated_bag_gives_what_is_left_and_says_so(tmp_path, tabletop, healthy_own):
    shutil.copytree(healthy_own, tmp_path / "bag")
    file = next((tmp_path / "bag").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with Bag(tmp_path / "bag") as opened:
        found = read_episodes(opened, tabletop, replace(EVERYTHING, include_failed=True))
    assert 5 < len(found.episodes[0]) < 12
    assert any("cut off" in note for note in found.report.notes)
    assert any("messages are left" in note for note in found.report.notes)


def test_poses_in_another_frame_are_refused(bag, tabletop):
    robot = replace(tabletop, frames=replace(tabletop.frames, base="world"))
    with pytest.raises(DataError, match="is in frame 'base_link', but parameter frames.base is 'world'"):
        read_episodes(bag, robot, EVERYTHING)


def test_single_messages_that_make_no_sense_are_left_out_and_counted(
    tmp_path, recorded, tabletop, scene, rosbags_writer, make_delta
):
    def odd(one: Recorded) -> Recorded:
        message = one.message
        if "ee_pose" in one.topic:
            garbled = replace(message.header, frame_id="base_lhnk")
            return replace(one, message=replace(message, header=garbled))
        lasting = replace(message.duration, sec=1 << 24)
        return replace(one, message=replace(message, duration=lasting))

    kept = [one for one in recorded if "target_pose" not in one.topic]
    messages = sorted(kept + make_delta(scene, rate_hz=50.0), key=lambda one: one.log_ns)
    for topic in ("ee_pose", "end_effector_delta"):
        place = [number for number, one in enumerate(messages) if topic in one.topic][70]
        messages[place] = odd(messages[place])
    rules = replace(EVERYTHING, actions=ActionSource.COMMANDED)
    with Bag(rosbags_writer(tmp_path / "bag", messages)) as opened:
        found = read_episodes(opened, tabletop, rules)
    (episode,) = found.episodes
    assert len(episode) == 19
    assert np.all(np.abs(episode.motion.translation) < 0.05)
    assert any("/ee_pose: 1 poses left out that are in frame 'base_lhnk'" in n for n in found.report.notes)
    assert any("1 commands left out" in note for note in found.report.notes)


def test_a_skewed_camera_clock_is_found_and_corrected(
    tmp_path, recorded, tabletop, rosbags_writer, scene, backdate
):
    skewed = [backdate(one, 3.0) if "wrist" in one.topic else one for one in recorded]
    with Bag(rosbags_writer(tmp_path / "bag", skewed)) as opened:
        with pytest.raises(DataError, match=r"/wrist/image_raw: its clock is 3\.00 s behind"):
            read_episodes(opened, tabletop, EVERYTHING)
        mended = replace(EVERYTHING, clock_offsets_s={"/wrist/image_raw": 3.0})
        (episode,) = read_episodes(opened, tabletop, mended).episodes
        assert len(episode) == 19
        assert (episode.times_ns[0] - scene.start_ns) * 1e-9 == pytest.approx(0.0)


def test_poses_come_from_joints_or_transforms_too(
    tmp_path, recorded, tabletop, rosbags_writer, make_joint_robot
):
    robot_messages, urdf, pose_of = make_joint_robot
    images = [one for one in recorded if "image" in one.topic or "gripper" in one.topic]
    for source in (StateSource.ROBOT_DESCRIPTION, StateSource.TF):
        robot = replace(tabletop, state=replace(tabletop.state, source=source))
        messages = sorted(images + robot_messages, key=lambda one: one.log_ns)
        with Bag(rosbags_writer(tmp_path / source.value, messages)) as opened:
            (episode,) = read_episodes(opened, robot, EVERYTHING).episodes
            for frame in (0, 7, 15):
                true = pose_of(int(episode.times_ns[frame]))
                assert np.allclose(episode.poses.positions[frame], true.position, atol=1e-4)
                assert np.allclose(np.abs(episode.poses.quaternions[frame] @ true.quaternion), 1.0, atol=1e-6)
    without = [one for one in robot_messages if "robot_description" not in one.topic]
    robot = replace(tabletop, state=replace(tabletop.state, source=StateSource.ROBOT_DESCRIPTION))
    with Bag(
        rosbags_writer(tmp_path / "bare", sorted(images + without, key=lambda one: one.log_ns))
    ) as opened:
        with pytest.raises(DataError, match="--urdf"):
            read_episodes(opened, robot, EVERYTHING)
        given = replace(EVERYTHING, urdf=urdf)
        assert len(read_episodes(opened, robot, given).episodes) == 1


def test_storage_makes_no_difference(healthy_sqlite: Path, bag, tabletop, recorded, rosbags_writer, tmp_path):
    shuffled = list(recorded)
    np.random.default_rng(1).shuffle(shuffled)
    reordered = rosbags_writer(tmp_path / "bag", shuffled, storage=StoragePlugin.SQLITE3)
    (expected,) = read_episodes(bag, tabletop, EVERYTHING).episodes
    for path in (healthy_sqlite, reordered):
        with Bag(path) as other:
            (episode,) = read_episodes(other, tabletop, EVERYTHING).episodes
            assert np.array_equal(episode.actions, expected.actions)
            assert np.array_equal(episode.proprio, expected.proprio)
            for frame in (0, 9):
                assert np.array_equal(
                    episode.images["wrist"][frame].decode(), expected.images["wrist"][frame].decode()
                )


def test_grippers_that_point_down_begin_alike_in_all_episodes(tabletop):
    random = np.random.default_rng(2)
    beginnings = []
    for _ in range(50):
        # Noise about half a turn round the x axis, on both sides of it.
        turn = random.normal(0.0, 0.05, 3)
        quaternion = quaternion_multiply(quaternion_from_rotation_vector(turn), [1.0, 0.0, 0.0, 0.0])
        joints = dict.fromkeys(tabletop.state.finger_joints, 0.0)
        states = [RobotState(0, 0, Pose(np.zeros(3), quaternion), joints)] * 2
        rows = model_proprio(tabletop, states)
        assert np.array_equal(rows[0], rows[1])
        assert angle_between(quaternion_from_rotation_vector(rows[0, 3:6]), quaternion) < 1e-6
        beginnings.append(rows[0, 3:6])
    assert np.all(np.ptp(beginnings, axis=0) < 0.5)
    assert np.all(np.array(beginnings)[:, 0] > 2.5)
