"""Chunk, path, target and workspace as markers for RViz."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from dream_vla_ros.geometry import Array
from dream_vla_ros.report.canvas import Colour
from dream_vla_ros.report.overlay import AHEAD, BEHIND, BOX, HERE, Scene, box_edges

_LINE_M = 0.003
_POINT_M = 0.008
_BOX_LINE_M = 0.002


def markers(scene: Scene, frame_id: str, stamp: Time) -> MarkerArray:
    """Write a scene as markers; what there is nothing of is deleted from displays.

    :param frame_id: The base frame.
    """
    here = [] if scene.here is None else [scene.here]
    edges = box_edges(scene.low, scene.high).reshape(-1, 3)
    drawn = (
        _marker("chunk", Marker.LINE_STRIP, _LINE_M, AHEAD, scene.ahead),
        _marker("chunk_steps", Marker.SPHERE_LIST, _POINT_M, AHEAD, scene.ahead[1:]),
        _marker("path", Marker.LINE_STRIP, _LINE_M, BEHIND, scene.behind),
        _marker("end_effector", Marker.SPHERE_LIST, 1.5 * _POINT_M, HERE, here),
        _marker("workspace", Marker.LINE_LIST, _BOX_LINE_M, BOX, edges),
    )
    for marker in drawn:
        marker.header.frame_id = frame_id
        marker.header.stamp = stamp
    return MarkerArray(markers=list(drawn))


def _marker(namespace: str, kind: int, size: float, colour: Colour, points: Array | list[Array]) -> Marker:
    marker = Marker(ns=namespace, type=kind)
    # A strip of a single point is an error in RViz.
    if len(points) < (1 if kind == Marker.SPHERE_LIST else 2):
        marker.action = Marker.DELETE
        return marker
    marker.action = Marker.ADD
    marker.pose.orientation.w = 1.0
    marker.scale.x = size
    if kind == Marker.SPHERE_LIST:
        marker.scale.y = marker.scale.z = size
    red, green, blue = (channel / 255.0 for channel in colour)
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    marker.points = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in points]
    return marker
