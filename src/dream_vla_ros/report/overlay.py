"""What the robot is about to do, drawn into what a camera sees."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from dream_vla_ros.geometry import Array, Pose
from dream_vla_ros.images import RGBImage
from dream_vla_ros.report.canvas import Canvas, Colour
from dream_vla_ros.report.projection import PinholeCamera

AHEAD: Colour = (90, 200, 250)
BEHIND: Colour = (88, 200, 120)
HERE: Colour = (255, 190, 40)
BOX: Colour = (200, 120, 220)
_RIM: Colour = (16, 16, 16)
# Lines are drawn for an image this wide, and thinner in smaller ones.
_REFERENCE_WIDTH = 576
# Edges are drawn in pieces, so that the part in front of the camera is seen where the rest is behind it.
_EDGE_POINTS = 24


@dataclass(frozen=True, eq=False)
class Scene:
    """What is drawn, all in the base frame [m].

    :param ahead: (n, 3) path that the chunk leads along, from where it begins; may be empty.
    :param behind: (n, 3) path the end effector went.
    :param here: (3,) where the end effector is; None where that is not known.
    :param low: (3,) lower corner of the workspace.
    :param high: (3,) upper corner of the workspace.
    """

    ahead: Array
    behind: Array
    here: Array | None
    low: Array
    high: Array


def box_edges(low: Array, high: Array) -> Array:
    """Return the twelve edges of a box.

    :returns: (12, 2, 3) start and end of each.
    """
    corners = np.array([[(low, high)[bit][axis] for axis, bit in enumerate(bits)] for bits in _BITS])
    return np.array(
        [
            (corners[i], corners[j])
            for i, j in itertools.combinations(range(8), 2)
            if sum(a != b for a, b in zip(_BITS[i], _BITS[j], strict=True)) == 1
        ]
    )


_BITS = tuple(itertools.product((0, 1), repeat=3))


def draw_overlay(image: RGBImage, optics: PinholeCamera, camera: Pose, scene: Scene) -> RGBImage:
    """Draw the scene into a copy of an image.

    :param optics: The camera, for an image of any size with the same edges.
    :param camera: Pose of its optical frame in the base.
    """
    height, width = image.shape[:2]
    canvas = Canvas(width, height)
    canvas.paste(image, 0, 0)
    scaled = optics.scaled(width, height)
    scale = max(width / _REFERENCE_WIDTH, 0.35)
    for start, end in box_edges(scene.low, scene.high):
        edge = start + np.linspace(0.0, 1.0, _EDGE_POINTS)[:, None] * (end - start)
        canvas.line(scaled.project(edge, camera), BOX, 1.0)
    for points, colour in ((scene.behind, BEHIND), (scene.ahead, AHEAD)):
        if len(points) > 1:
            path = scaled.project(points, camera)
            canvas.line(path, _RIM, 4.0 * scale)
            canvas.line(path, colour, 2.0 * scale)
    if len(scene.ahead):
        for point in scaled.project(scene.ahead[1:], camera) if len(scene.ahead) > 1 else ():
            if np.all(np.isfinite(point)):
                canvas.disc(point, 3.0 * scale, AHEAD)
    if scene.here is not None:
        point = scaled.project(scene.here, camera)[0]
        if np.all(np.isfinite(point)):
            canvas.disc(point, 6.0 * scale, _RIM)
            canvas.disc(point, 4.5 * scale, HERE)
    return canvas.pixels
