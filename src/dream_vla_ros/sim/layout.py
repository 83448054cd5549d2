"""Where everything is when an episode begins, and how such beginnings are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector
from dream_vla_ros.sim.arm import gripper_down
from dream_vla_ros.sim.scene import BLOCK_SIZE_M

_MAX_DRAWS = 1000
_DRAWS_PER_BLOCK = 20


@dataclass(frozen=True)
class Layout:
    """Where everything is when an episode begins, in ``base_link``.

    :param end_effector: Pose of ``ee_link``; the gripper is open.
    :param blocks: Pose of each block's centre by its colour.
    """

    end_effector: Pose
    blocks: Mapping[str, Pose]


@dataclass(frozen=True)
class InitialStates:
    """The distribution layouts are drawn from: blocks apart from each other, gripper above the table.

    :param block_x_m: Range of block centres, forward.
    :param block_y_m: Range of block centres, to the left.
    :param block_yaw_rad: Blocks are turned by up to this, either way.
    :param separation_m: Least distance between block centres: open fingers must fit in between.
    :param ee_low_m: Low corner of the box the end-effector point starts in.
    :param ee_high_m: High corner of it.
    :param ee_yaw_rad: The gripper is turned about the vertical by up to this, either way.
    """

    block_x_m: tuple[float, float] = (0.20, 0.37)
    block_y_m: tuple[float, float] = (-0.16, 0.16)
    block_yaw_rad: float = math.pi / 4
    separation_m: float = 0.09
    ee_low_m: tuple[float, float, float] = (0.20, -0.06, 0.14)
    ee_high_m: tuple[float, float, float] = (0.30, 0.06, 0.20)
    ee_yaw_rad: float = 0.2

    def draw(
        self,
        colours: Sequence[str],
        rng: np.random.Generator,
        allowed: Callable[[Mapping[str, Pose]], bool] = lambda blocks: True,
    ) -> Layout:
        """Draw a layout.

        :param colours: The blocks to place.
        :param allowed: Says of a placement whether it may be used.
        :raises ValueError: If no allowed placement turns up.
        """
        for _ in range(_MAX_DRAWS):
            blocks = self._place(colours, rng)
            if blocks is not None and allowed(blocks):
                position = rng.uniform(self.ee_low_m, self.ee_high_m)
                yaw = rng.uniform(-self.ee_yaw_rad, self.ee_yaw_rad)
                return Layout(Pose(position, gripper_down(yaw)), blocks)
        raise ValueError(f"no allowed placement of {len(colours)} blocks found in {_MAX_DRAWS} draws")

    def _place(self, colours: Sequence[str], rng: np.random.Generator) -> dict[str, Pose] | None:
        low, high = zip(self.block_x_m, self.block_y_m, strict=True)
        places: list[np.ndarray] = []
        for _ in colours:
            for _ in range(_DRAWS_PER_BLOCK):
                place = rng.uniform(low, high)
                if all(np.linalg.norm(place - other) >= self.separation_m for other in places):
                    break
            else:
                return None
            places.append(place)
        yaws = rng.uniform(-self.block_yaw_rad, self.block_yaw_rad, len(places))
        return {
            colour: Pose(
                np.array([*place, BLOCK_SIZE_M / 2]), quaternion_from_rotation_vector([0.0, 0.0, float(yaw)])
            )
            for colour, place, yaw in zip(colours, places, yaws, strict=True)
        }
