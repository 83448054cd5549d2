"""What may look different from one episode to the next: colours, light and the third-person camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np

from dream_vla_ros.geometry import Array
from dream_vla_ros.sim.cameras import CAMERA_MOUNTS, THIRD_PERSON, look_at
from dream_vla_ros.sim.scene import TABLE_RGBA

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.08, 0.08),
    "green": (0.10, 0.58, 0.16),
    "blue": (0.10, 0.22, 0.85),
    "yellow": (0.95, 0.80, 0.06),
    "purple": (0.48, 0.12, 0.66),
    "orange": (0.96, 0.42, 0.04),
    "cyan": (0.10, 0.75, 0.80),
    "pink": (0.95, 0.50, 0.65),
    "white": (0.95, 0.95, 0.95),
}
# The colours of the closed task set; the open set uses all of them.
CLOSED_COLOURS: tuple[str, ...] = ("red", "green", "blue", "yellow")
OPEN_COLOURS: tuple[str, ...] = tuple(COLOURS)
# Of blocks that nobody speaks of, so that a policy learns to leave alone what it has no word for. None is a
# colour of the open set: those are for trying what it makes of colours it never saw.
BYSTANDER_COLOURS: dict[str, tuple[float, float, float]] = {
    "brown": (0.40, 0.22, 0.08),
    "grey": (0.50, 0.50, 0.50),
    "black": (0.07, 0.07, 0.07),
    "magenta": (0.85, 0.10, 0.60),
    "mint": (0.55, 0.90, 0.65),
    "lavender": (0.65, 0.60, 0.95),
    "olive": (0.50, 0.50, 0.05),
    "teal": (0.02, 0.42, 0.45),
    "plum": (0.32, 0.08, 0.36),
    "beige": (0.85, 0.72, 0.52),
}
_PAINTS = COLOURS | BYSTANDER_COLOURS


@dataclass(frozen=True)
class Variation:
    """How far the looks may stray from the standard ones; all zero changes nothing.

    :param camera_position_m: Third-person camera, uniform in a cube of this half side.
    :param camera_target_m: The point it looks at, likewise.
    :param camera_fovy_deg: Its field of view, plus or minus.
    :param brightness: Light, plus or minus this share.
    :param table_shade: Table colour channels, plus or minus.
    :param block_shade: Block colour channels, plus or minus.
    :param camera_shift_m: Third-person camera, by exactly this much in a random direction, on top of that.
    :param camera_turn_deg: Likewise turned about a random axis.
    :param brightness_shift: Light, by exactly this share up or down, on top of that.
    """

    camera_position_m: float = 0.0
    camera_target_m: float = 0.0
    camera_fovy_deg: float = 0.0
    brightness: float = 0.0
    table_shade: float = 0.0
    block_shade: float = 0.0
    camera_shift_m: float = 0.0
    camera_turn_deg: float = 0.0
    brightness_shift: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 <= value < np.inf:
                raise ValueError(f"variation {name} is {value}, not a finite number of 0 or more")


# Enough to keep a policy from reading absolute pixels, little enough that everything stays in view.
MODEST_VARIATION = Variation(0.02, 0.015, 1.5, 0.15, 0.05, 0.05)


def dress(model: mujoco.MjModel, colours: list[str], variation: Variation, rng: np.random.Generator) -> None:
    """Paint the blocks and vary light, table and camera.

    :param model: A tabletop model; changed in place.
    :param colours: Colour of ``block_0``, ``block_1`` and so on.
    """
    for index, colour in enumerate(colours):
        model.geom(f"block_{index}").rgba[:3] = _shade(_PAINTS[colour], variation.block_shade, rng)
    model.geom("table").rgba[:3] = _shade(TABLE_RGBA[:3], variation.table_shade, rng)
    light = 1.0 + rng.uniform(-1.0, 1.0) * variation.brightness
    model.light("lamp").diffuse[:] = 0.6 * light
    mount = CAMERA_MOUNTS[THIRD_PERSON]
    position = mount.position + rng.uniform(-1.0, 1.0, 3) * variation.camera_position_m
    target = mount.target + rng.uniform(-1.0, 1.0, 3) * variation.camera_target_m
    camera = model.camera(THIRD_PERSON)
    camera.pos[:] = position
    mujoco.mju_mat2Quat(camera.quat, look_at(position, target).ravel())
    camera.fovy[:] = mount.fovy_deg + rng.uniform(-1.0, 1.0) * variation.camera_fovy_deg
    _shift(model, variation, light, rng)


def _shift(model: mujoco.MjModel, variation: Variation, light: float, rng: np.random.Generator) -> None:
    camera = model.camera(THIRD_PERSON)
    if variation.camera_shift_m:
        camera.pos[:] += _direction(rng) * variation.camera_shift_m
    if variation.camera_turn_deg:
        turn, before = np.empty(4), camera.quat.copy()
        mujoco.mju_axisAngle2Quat(turn, _direction(rng), math.radians(variation.camera_turn_deg))
        mujoco.mju_mulQuat(camera.quat, turn, before)
    if variation.brightness_shift:
        light += rng.choice((-1.0, 1.0)) * variation.brightness_shift
        model.light("lamp").diffuse[:] = 0.6 * light


def _direction(rng: np.random.Generator) -> Array:
    direction = rng.normal(size=3)
    return direction / np.linalg.norm(direction)


def _shade(colour: tuple[float, ...], amount: float, rng: np.random.Generator) -> Array:
    return np.clip(np.asarray(colour) + rng.uniform(-amount, amount, 3), 0.0, 1.0)
