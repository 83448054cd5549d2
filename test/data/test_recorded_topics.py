"""Which topics a robot's file asks to be recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from dream_vla_ros.data.recorded_topics import recorded_topics
from dream_vla_ros.embodiment import Embodiment

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize("robot", ["tabletop", "widowx", "franka"])
def test_everything_that_conversion_needs_is_asked_for_and_marked(robot: str):
    embodiment = Embodiment.from_file(CONFIG / f"{robot}.yaml")
    topics = {topic.name: topic for topic in recorded_topics(embodiment)}
    for camera in embodiment.cameras:
        assert topics[camera.topic].needed
        assert topics[camera.topic].camera
        assert topics[camera.topic].silent_after_s < 10.0
    state = embodiment.state
    needed = {
        "pose_topic": {state.pose_topic},
        "robot_description": {state.joint_states_topic, state.robot_description_topic},
        "tf": {"/tf"},
    }[state.source.value]
    assert all(topics[name].needed for name in needed)
    assert topics["/tf_static"].latched
    assert {"end_effector_delta", "active_goal", "controller_state", "action_chunk"} <= set(topics)


def test_a_topic_named_twice_is_recorded_once_and_extras_come_last():
    embodiment = Embodiment.from_file(CONFIG / "tabletop.yaml")
    names = [topic.name for topic in recorded_topics(embodiment, ["sim/success", "ee_pose"])]
    assert len(names) == len(set(names))
    assert names[-1] == "sim/success"
