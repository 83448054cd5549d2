"""A MuJoCo tabletop with a WidowX-like arm, cameras, tasks and a scripted expert; no ROS."""

from __future__ import annotations

import os

# Servers and containers have no display; EGL renders without one. Must be set before mujoco is imported.
os.environ.setdefault("MUJOCO_GL", "egl")
