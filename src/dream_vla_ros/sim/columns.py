"""Pictures of BlocksWorld states as in ViPlan: coloured blocks in labelled columns, seen from the front."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from dream_vla_ros.planning.terms import State
from dream_vla_ros.sim.appearance import COLOURS
from dream_vla_ros.sim.cameras import intrinsics, look_at

# ViPlan names blocks by the first letter of their colour.
_LETTERS = {name[0]: name for name in ("red", "green", "blue", "yellow", "orange", "purple", "white")}
_BLOCK_M = 0.1
_SPACING_M = 0.16
_PLATE_M = 0.012
_FOVY_DEG = 32.0
# The camera looks slightly down, so that the tops of blocks can be told from their fronts.
_RISE = 0.22
_BACKGROUND = (0.72, 0.74, 0.76, 1.0)
_CAMERA = "front"


class ColumnsError(ValueError):
    """A state that cannot be drawn; the message says why."""


class ColumnsScene:
    """Draws states of one BlocksWorld problem.

    :param objects: Type of each object, as a problem has them: ``block`` and ``column``.
    :param image_size: Height and width [pixels].
    :param colours: Colour name of each block; by default its own name or first letter tells.
    :raises ColumnsError: If there are no columns, or a block's colour is not known.
    """

    def __init__(
        self,
        objects: Mapping[str, str],
        image_size: tuple[int, int] = (224, 224),
        colours: Mapping[str, str] | None = None,
    ) -> None:
        self._blocks = [name for name, kind in objects.items() if kind == "block"]
        self._columns = sorted(name for name, kind in objects.items() if kind == "column")
        if not self._columns:
            raise ColumnsError("there are no columns to draw")
        self.image_size = image_size
        painted = [self._colour(name, colours or {}) for name in self._blocks]
        spec, self._camera = self._describe(painted)
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._renderer: mujoco.Renderer | None = None

    def render(self, state: State) -> tuple[NDArray[np.uint8], ...]:
        """Draw a state.

        :returns: One image, (height, width, 3) uint8 RGB.
        :raises ColumnsError: If a block is in no column, or blocks lie on each other in a circle.
        :raises RuntimeError: If there is no OpenGL to render with.
        """
        order = column_order(self._columns, state)
        places = stacks(self._blocks, order, state)
        for name, (column, height) in places.items():
            index = self._blocks.index(name)
            self._data.mocap_pos[index] = (self._across(column), 0.0, (height + 0.5) * _BLOCK_M + _PLATE_M)
        mujoco.mj_forward(self._model, self._data)
        renderer = self._open()
        renderer.update_scene(self._data, _CAMERA)
        image = renderer.render().copy()
        for column, name in enumerate(order):
            self._label(image, name, column)
        return (image,)

    def close(self) -> None:
        """Free the renderer; the next picture makes a new one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _open(self) -> mujoco.Renderer:
        if self._renderer is None:
            try:
                self._renderer = mujoco.Renderer(self._model, *self.image_size)
            except Exception as error:  # the class differs between OpenGL platforms
                raise RuntimeError(
                    f"no OpenGL with MUJOCO_GL={os.environ.get('MUJOCO_GL')}: {error}; "
                    "docs/installation.md says what to install"
                ) from error
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self._renderer.scene.flags[flag] = False
        return self._renderer

    def _across(self, column: int) -> float:
        return (column - (len(self._columns) - 1) / 2) * _SPACING_M

    def _colour(self, name: str, colours: Mapping[str, str]) -> tuple[float, float, float]:
        colour = colours.get(name, name if name in COLOURS else _LETTERS.get(name[:1], ""))
        if colour not in COLOURS or (len(name) > 1 and name not in COLOURS and name not in colours):
            raise ColumnsError(f"block '{name}': no colour is known for it; give one of {', '.join(COLOURS)}")
        return COLOURS[colour]

    def _describe(self, painted: Sequence[tuple[float, ...]]) -> tuple[mujoco.MjSpec, NDArray[np.float64]]:
        spec = mujoco.MjSpec()
        world = spec.worldbody
        wide = len(self._columns) * _SPACING_M + 0.04
        # All blocks may stand in one column.
        high = max(len(self._blocks), 2) * _BLOCK_M + 0.12
        middle = np.array([0.0, 0.0, high / 2 - 0.05])
        away = (
            max(high, wide * self.image_size[0] / self.image_size[1]) / 2 / np.tan(np.radians(_FOVY_DEG / 2))
        )
        position = middle + away * 1.08 * np.array([0.0, -np.cos(_RISE), np.sin(_RISE)])
        rotation = look_at(position, middle)
        quaternion = np.empty(4)
        mujoco.mju_mat2Quat(quaternion, rotation.ravel())
        world.add_camera(name=_CAMERA, pos=position, quat=quaternion, fovy=_FOVY_DEG)
        world.add_light(
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            pos=[0, -2, 3],
            dir=[0.25, 0.6, -1],
            castshadow=False,
        )
        plane = mujoco.mjtGeom.mjGEOM_PLANE
        world.add_geom(type=plane, size=[8, 8, 0.1], pos=[0, 0, -0.12], rgba=_BACKGROUND)
        box = mujoco.mjtGeom.mjGEOM_BOX
        world.add_geom(type=box, size=[8, 0.1, 8], pos=[0, 1.5, 0], rgba=_BACKGROUND)
        for column in range(len(self._columns)):
            half = [0.46 * _SPACING_M, 0.46 * _SPACING_M, _PLATE_M / 2]
            at = [self._across(column), 0, _PLATE_M / 2]
            world.add_geom(type=box, size=half, pos=at, rgba=(0.3, 0.3, 0.32, 1))
        for colour in painted:
            body = world.add_body(mocap=True)
            body.add_geom(type=box, size=[_BLOCK_M / 2] * 3, rgba=(*colour, 1.0))
        visual = spec.visual
        visual.global_.offheight, visual.global_.offwidth = self.image_size
        visual.quality.offsamples = 4
        visual.map.znear = 0.01
        visual.headlight.ambient = [0.45] * 3
        visual.headlight.diffuse = [0.3] * 3
        visual.headlight.specular = [0.0] * 3
        spec.stat.extent = 1.0
        return spec, np.column_stack([rotation, position])

    def _label(self, image: NDArray[np.uint8], text: str, column: int) -> None:
        """Write a column's name below its plate."""
        rotation, position = self._camera[:, :3], self._camera[:, 3]
        point = rotation.T @ (np.array([self._across(column), -0.46 * _SPACING_M, -0.055]) - position)
        pinhole = intrinsics(_FOVY_DEG, self.image_size)
        x = pinhole[0, 0] * point[0] / -point[2] + pinhole[0, 2]
        y = pinhole[1, 1] * point[1] / point[2] + pinhole[1, 2]
        scale, font = image.shape[0] / 420, cv2.FONT_HERSHEY_SIMPLEX
        thickness = max(round(image.shape[0] / 200), 1)
        (width, height), _ = cv2.getTextSize(text, font, scale, thickness)
        corner = (round(x - width / 2), round(y + height / 2))
        cv2.putText(image, text, corner, font, scale, (20, 20, 20), thickness, cv2.LINE_AA)


def column_order(columns: Sequence[str], state: State) -> tuple[str, ...]:
    """Return columns from left to right, as the state's ``leftof`` says; by name where it says nothing."""
    left = {a.arguments[1]: a.arguments[0] for a in state if a.predicate.lower() == "leftof"}

    def rank(name: str) -> tuple[int, str]:
        seen = {name}
        at = name
        while at in left and left[at] not in seen:
            at = left[at]
            seen.add(at)
        return len(seen), name

    return tuple(sorted(columns, key=rank))


def stacks(blocks: Sequence[str], order: Sequence[str], state: State) -> dict[str, tuple[int, int]]:
    """Return column, counted from the left, and height of each block, 0 at the bottom.

    :raises ColumnsError: If a block is in no column, or blocks lie on each other in a circle.
    """
    column = {a.arguments[0]: a.arguments[1] for a in state if a.predicate.lower() == "incolumn"}
    below = {a.arguments[0]: a.arguments[1] for a in state if a.predicate == "on"}
    places = {}
    for name in blocks:
        if column.get(name) not in order:
            raise ColumnsError(f"block '{name}' is in no column")
        under = [name]
        while under[-1] in below:
            under.append(below[under[-1]])
            if len(under) > len(blocks):
                raise ColumnsError(f"block '{name}' lies on itself, over others")
        places[name] = (order.index(column[name]), len(under) - 1)
    return places
