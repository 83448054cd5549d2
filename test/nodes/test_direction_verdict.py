"""Verdicts on small motions: right ones pass, each way of being wrong is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.embodiment import Limits
from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector
from dream_vla_ros.nodes.cli.direction_verdict import TURN_RAD, WAY_M, Probe, choose, judge

START = Pose(np.array([0.3, 0.0, 0.2]), np.array([0.0, 1.0, 0.0, 0.0]))
NONE = np.zeros(3)
RIGHT = np.eye(3)
PROBES = [Probe(turning, axis, sign) for turning in (False, True) for axis in range(3) for sign in (1, -1)]


def after(probe: Probe, matrix=RIGHT, also_moved=NONE, also_turned=NONE) -> Pose:
    motion = np.asarray(matrix) @ probe.vector
    if probe.turning:
        return START.moved(also_moved, motion)
    return START.moved(motion + also_moved, also_turned)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
class TestEveryProbe:
    def test_the_motion_asked_for_is_right(self, probe: Probe):
        assert judge(probe, START, after(probe)) == ""
        assert judge(probe, START, after(probe, 0.8 * np.eye(3))) == ""

    def test_no_motion_is_told(self, probe: Probe):
        assert "hardly moved" in judge(probe, START, START)

    def test_the_other_way_round_is_told(self, probe: Probe):
        assert "other way round" in judge(probe, START, after(probe, -np.eye(3)))

    def test_another_axis_is_told(self, probe: Probe):
        swap = np.roll(np.eye(3), 1, axis=0)
        main = "xyz"[(probe.axis + 1) % 3]
        sign = "+" if probe.sign > 0 else "-"
        assert f"along {sign}{main} for the most part" in judge(probe, START, after(probe, swap))

    def test_another_scale_is_told(self, probe: Probe):
        assert "instead of" in judge(probe, START, after(probe, 0.5 * np.eye(3)))
        assert "instead of" in judge(probe, START, after(probe, 2.0 * np.eye(3)))

    def test_the_way_back_leads_back(self, probe: Probe):
        np.testing.assert_array_equal(probe.vector, -probe.back().vector)
        assert probe.back().words != probe.words


def test_a_turn_on_the_way_is_told():
    assert "turned by 0.20 rad" in judge(
        Probe(False, 0, 1), START, after(Probe(False, 0, 1), also_turned=[0.0, 0.0, 0.2])
    )


def test_a_turn_about_another_point_is_told():
    probe = Probe(True, 2, 1)
    # The driver turns about a point 15 cm from the one that is measured.
    assert "is not the point" in judge(probe, START, after(probe, also_moved=[0.0, 0.15 * TURN_RAD, 0.0]))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(PROBES),
    st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1),
    st.floats(0.0, np.pi),
)
def test_a_motion_passes_only_near_the_direction(probe: Probe, about: tuple, angle: float):
    """However the driver's axes are turned, a pass means that they are within 15 degrees."""
    unit = np.array(about) / np.linalg.norm(about)
    rotation = Pose(NONE, quaternion_from_rotation_vector(angle * unit)).rotation
    if judge(probe, START, after(probe, rotation)) == "":
        turned = rotation @ probe.vector
        cosine = turned @ probe.vector / (np.linalg.norm(turned) * np.linalg.norm(probe.vector))
        assert cosine >= np.cos(np.radians(15.0)) - 1e-9


def test_probes_stay_in_the_workspace():
    limits = Limits(workspace_min=(0.1, -0.1, 0.0), workspace_max=(0.3, 0.1, 0.2))
    middle = np.array([0.2, 0.0, 0.1])
    assert choose(False, 0, middle, limits) == Probe(False, 0, 1)
    assert choose(False, 0, middle + np.array([0.1 - WAY_M / 2, 0.0, 0.0]), limits) == Probe(False, 0, -1)
    assert choose(False, 2, np.array([0.5, 0.0, 0.1]), limits) is None
    assert choose(True, 1, middle, limits) == Probe(True, 1, 1)
