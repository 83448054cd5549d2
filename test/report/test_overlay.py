"""The overlay: what is drawn lies where the camera sees it, and nowhere else."""

from __future__ import annotations

import numpy as np

from dream_vla_ros.geometry import Pose
from dream_vla_ros.report.overlay import AHEAD, BEHIND, BOX, HERE, Scene, box_edges, draw_overlay
from dream_vla_ros.report.projection import PinholeCamera

SIZE = 600
# 1 m above the origin, looking straight down; the image's right is the base's x, its bottom the base's -y.
OPTICS = PinholeCamera(np.array([[300.0, 0.0, 299.5], [0.0, 300.0, 299.5], [0.0, 0.0, 1.0]]), SIZE, SIZE)
CAMERA = Pose(np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 0.0]))
NOTHING = np.empty((0, 3))
FAR = np.array([5.0, 5.0, 0.0]), np.array([6.0, 6.0, 0.1])


def scene(**parts) -> Scene:
    given = {"ahead": NOTHING, "behind": NOTHING, "here": None, "low": FAR[0], "high": FAR[1]}
    return Scene(**(given | parts))


def pixels(image: np.ndarray, colour) -> np.ndarray:
    """Return x, y of the pixels that have nearly a colour."""
    near = np.abs(image.astype(int) - np.array(colour)).max(axis=2) < 40
    rows, columns = np.nonzero(near)
    return np.column_stack([columns, rows])


def drawn(**parts) -> np.ndarray:
    return draw_overlay(np.zeros((SIZE, SIZE, 3), np.uint8), OPTICS, CAMERA, scene(**parts))


def test_the_chunk_runs_along_its_projection():
    image = drawn(ahead=np.array([[0.0, 0.0, 0.0], [0.2, 0.0, 0.0], [0.4, 0.0, 0.0]]))
    found = pixels(image, AHEAD)
    assert abs(found[:, 0].min() - 299.5) <= 4
    assert abs(found[:, 0].max() - 419.5) <= 6
    assert np.abs(found[:, 1] - 299.5).max() <= 6


def test_the_way_back_is_drawn_apart_from_the_way_ahead():
    image = drawn(behind=np.array([[0.0, 0.0, 0.0], [0.0, 0.3, 0.0]]))
    found = pixels(image, BEHIND)
    # The base's y points up in this image.
    assert abs(found[:, 1].min() - 209.5) <= 4
    assert not len(pixels(image, AHEAD))


def test_the_end_effector_is_where_it_is():
    found = pixels(drawn(here=np.array([-0.3, -0.4, 0.0])), HERE)
    np.testing.assert_allclose(found.mean(axis=0), [209.5, 419.5], atol=1.0)


def test_the_box_is_seen_where_only_part_of_it_is_before_the_camera():
    # Its upper half is behind the camera.
    low, high = np.array([-0.5, -0.5, 0.0]), np.array([0.5, 0.5, 2.0])
    found = pixels(drawn(low=low, high=high), BOX)
    assert len(found) > 300
    assert found.min() < 155
    assert found.max() > 445


def test_edges_are_those_of_a_box():
    edges = box_edges(np.zeros(3), np.array([1.0, 2.0, 3.0]))
    lengths = np.sort(np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1))
    np.testing.assert_allclose(lengths, [1.0] * 4 + [2.0] * 4 + [3.0] * 4)


def test_the_image_given_is_left_alone():
    image = np.full((60, 80, 3), 7, np.uint8)
    out = draw_overlay(image, OPTICS, CAMERA, scene(here=np.zeros(3)))
    assert (image == 7).all()
    assert out.shape == image.shape
    assert (out != 7).any()
