"""Tests of projecting points into images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector
from dream_vla_ros.report.projection import PinholeCamera

MATRIX = np.array([[100.0, 0.0, 55.5], [0.0, 120.0, 41.5], [0.0, 0.0, 1.0]])
CAMERA = PinholeCamera(MATRIX, 112, 84)
PIXEL_TOLERANCE = 1e-6

inside = st.floats(-0.4, 0.4)
depths = st.floats(0.1, 5.0)


def test_the_axis_meets_the_principal_point():
    pixel = CAMERA.project([[0.0, 0.0, 2.0]], Pose.identity())[0]
    np.testing.assert_allclose(pixel, [55.5, 41.5])


def test_right_and_down_are_right_and_down():
    x, y = CAMERA.project([[0.1, 0.2, 1.0]], Pose.identity())[0]
    assert (x, y) == pytest.approx((55.5 + 10.0, 41.5 + 24.0))


@given(inside, inside, depths, st.tuples(*[st.floats(-3.0, 3.0)] * 3), st.tuples(*[st.floats(-1.0, 1.0)] * 3))
def test_only_where_a_point_lies_to_the_camera_matters(x, y, depth, rotation, position):
    local = np.array([x, y, 1.0]) * depth
    pose = Pose(np.array(position), quaternion_from_rotation_vector(rotation))
    world = pose.position + pose.rotation @ local
    np.testing.assert_allclose(
        CAMERA.project(world[None], pose),
        CAMERA.project(local[None], Pose.identity()),
        atol=PIXEL_TOLERANCE * 100 / depth,
    )


@given(st.integers(16, 900), st.integers(16, 900), inside, inside)
def test_a_resized_image_shows_a_point_at_the_same_share(width, height, x, y):
    point = [[x, y, 1.0]]
    before = CAMERA.project(point, Pose.identity())[0]
    after = CAMERA.scaled(width, height).project(point, Pose.identity())[0]
    share_before = (before + 0.5) / [112, 84]
    share_after = (after + 0.5) / [width, height]
    np.testing.assert_allclose(share_after, share_before, atol=1e-9)


def test_points_behind_are_not_drawn():
    pixels = CAMERA.project([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], Pose.identity())
    assert np.isnan(pixels[:2]).all()
    assert np.isfinite(pixels[2]).all()


@pytest.mark.parametrize(
    "matrix", [np.zeros((3, 3)), np.eye(2), np.full((3, 3), np.nan), np.diag([-1.0, 1.0, 1.0])]
)
def test_a_matrix_that_is_none_is_refused(matrix):
    with pytest.raises(ValueError, match="not a camera matrix"):
        PinholeCamera(matrix, 10, 10)


def test_an_empty_image_is_refused():
    with pytest.raises(ValueError, match="0 x 10"):
        PinholeCamera(MATRIX, 0, 10)
