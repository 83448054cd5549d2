import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from dream_vla_ros import geometry

TOLERANCE = 1e-9


def vectors(bound):
    return arrays(np.float64, 3, elements=st.floats(-bound, bound, allow_subnormal=False))


@st.composite
def unit_quaternions(draw):
    q = draw(arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda v: np.linalg.norm(v) > 1e-3))
    return q / np.linalg.norm(q)


def test_rotation_vector_round_trip_within_pi():
    @given(vectors(1.8))
    def check(rotation):
        quaternion = geometry.quaternion_from_rotation_vector(rotation)
        assert np.allclose(geometry.rotation_vector_from_quaternion(quaternion), rotation, atol=TOLERANCE)

    check()


@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-12, 1e-8, 4.9e-5, 5.1e-5, 0.9e-4, 1.1e-4, 1e-3])
def test_small_rotations_keep_full_precision(size):
    rotation = np.array([1.0, -2.0, 2.0]) / 3.0 * size
    back = geometry.rotation_vector_from_quaternion(geometry.quaternion_from_rotation_vector(rotation))
    assert np.allclose(back, rotation, rtol=1e-12, atol=0.0)


@given(unit_quaternions(), unit_quaternions(), vectors(3.0))
def test_agrees_with_scipy(a, b, rotation):
    first, second = Rotation.from_quat(a), Rotation.from_quat(b)
    product = Rotation.from_quat(geometry.quaternion_multiply(a, b))
    assert (product * (first * second).inv()).magnitude() < TOLERANCE
    assert np.allclose(geometry.matrix_from_quaternion(a), first.as_matrix(), atol=TOLERANCE)
    assert np.allclose(
        geometry.matrix_from_quaternion(geometry.quaternion_from_rotation_vector(rotation)),
        Rotation.from_rotvec(rotation).as_matrix(),
        atol=TOLERANCE,
    )
    assert geometry.angle_between(a, b) == pytest.approx((second * first.inv()).magnitude(), abs=1e-7)


@given(vectors(1.5))
def test_rpy_is_about_fixed_axes(rpy):
    expected = Rotation.from_euler("xyz", rpy).as_matrix()
    quaternion = geometry.quaternion_from_rpy(rpy)
    assert np.allclose(geometry.matrix_from_quaternion(quaternion), expected, atol=TOLERANCE)
    assert np.allclose(geometry.rpy_from_quaternion(quaternion), rpy, atol=1e-6)


@given(vectors(1.0), unit_quaternions(), vectors(1.0), unit_quaternions())
def test_motion_to_leads_moved_to_the_other_pose(p1, q1, p2, q2):
    start, end = geometry.Pose(p1, q1), geometry.Pose(p2, q2)
    translation, rotation = start.motion_to(end)
    reached = start.moved(translation, rotation)
    assert np.allclose(reached.position, end.position, atol=TOLERANCE)
    assert geometry.angle_between(reached.quaternion, end.quaternion) < 1e-7
    assert np.linalg.norm(rotation) <= np.pi + TOLERANCE


@given(vectors(1.0), unit_quaternions(), vectors(1.0), unit_quaternions())
def test_compose_and_inverse_are_matrix_products(p1, q1, p2, q2):
    a, b = geometry.Pose(p1, q1), geometry.Pose(p2, q2)
    assert np.allclose(a.compose(b).matrix, a.matrix @ b.matrix, atol=TOLERANCE)
    assert np.allclose(a.compose(a.inverse()).matrix, np.eye(4), atol=TOLERANCE)
    assert np.allclose(geometry.Pose.from_matrix(a.matrix).matrix, a.matrix, atol=TOLERANCE)


def test_moved_rotates_about_the_end_effector_in_base_axes():
    pose = geometry.Pose([0.3, 0.0, 0.2], geometry.quaternion_from_rpy([0.0, np.pi / 2, 0.0]))
    turned = pose.moved([0.0, 0.0, 0.0], [0.0, 0.0, np.pi / 2])
    assert np.allclose(turned.position, pose.position)
    assert np.allclose(turned.rotation, Rotation.from_rotvec([0, 0, np.pi / 2]).as_matrix() @ pose.rotation)


@pytest.mark.parametrize("quaternion", [[0, 0, 0, 0], [np.nan, 0, 0, 1], [np.inf, 0, 0, 0], [0, 0, 1]])
def test_refuses_what_is_no_rotation(quaternion):
    with pytest.raises(ValueError, match="not a rotation"):
        geometry.Pose([0, 0, 0], quaternion)


def test_refuses_a_position_that_is_not_finite():
    with pytest.raises(ValueError, match="not a position"):
        geometry.Pose([0, np.nan, 0], [0, 0, 0, 1])
