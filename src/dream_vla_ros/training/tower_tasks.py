"""Tasks that begin with towers on the table: what can be done there, by the planning domain's own rules.

Also tasks that begin as others ended, whatever came of them: in the middle of a task of several steps, towers
have fallen, and blocks lie nearer to each other than any that were laid out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dream_vla_ros.geometry import Pose
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.terms import GroundAction, State
from dream_vla_ros.planning.transition import transition_model
from dream_vla_ros.sim.appearance import CLOSED_COLOURS
from dream_vla_ros.sim.arm import gripper_down, gripper_yaw
from dream_vla_ros.sim.goals import Direction, Goal, Lifted, Pushed, Stacked
from dream_vla_ros.sim.layout import InitialStates, Layout
from dream_vla_ros.sim.scene import BLOCK_SIZE_M
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.symbols import symbols
from dream_vla_ros.sim.tasks import Task
from dream_vla_ros.training.questions import draw_scene, tabletop_domain

# A task of several steps begins each where the one before ended: the arm may be anywhere above the table, and
# blocks that were pushed lie farther aside than where single tasks begin.
_ANYWHERE = InitialStates(
    block_x_m=(0.16, 0.42),
    block_y_m=(-0.26, 0.26),
    ee_low_m=(0.18, -0.15, 0.14),
    ee_high_m=(0.36, 0.15, 0.22),
    ee_yaw_rad=0.7,
)
# As far from the base the arm works on the table; it comes from above, so on towers not quite as far.
_REACH_M, _LESS_PER_M = 0.45, 0.5
# Open fingers and what they held before stay clear of blocks below.
_CLEAR_M, _BESIDE_M = 0.06, 0.08
_MAX_DRAWS = 100


@dataclass(frozen=True)
class LaidOutTask(Task):
    """A task that begins as it is told to.

    :param layout: The beginning.
    """

    layout: Layout = field(default_factory=lambda: InitialStates().draw((), np.random.default_rng(0)))

    def draw_layout(self, num_blocks: int, rng: np.random.Generator, also: Task | None = None) -> Layout:
        """Return the layout."""
        return self.layout


def tower_task(
    colours: Sequence[str],
    rng: np.random.Generator,
    *,
    tower_share: float = 0.5,
    shares: Mapping[type, float] | None = None,
    time_limit_s: float = 20.0,
) -> LaidOutTask:
    """Draw a table, where the gripper is above it, and something that can be done there.

    :param colours: The blocks.
    :param tower_share: How probable it is that a block begins on another one.
    :param shares: Weight of each kind of goal among those that can be reached; all alike by default.
    :raises ValueError: If no table turns up where a goal with a weight can be reached.
    """
    for _ in range(_MAX_DRAWS):
        layout = draw_scene(colours, rng, tower_share=tower_share, states=_ANYWHERE)
        if not all(_is_reached(pose) for pose in layout.blocks.values()):
            continue
        goal = _draw_goal(layout, rng, shares)
        if goal is not None:
            return LaidOutTask(goal, layout=layout, time_limit_s=time_limit_s)
    raise ValueError(f"nothing to do with {', '.join(colours)} turned up on {_MAX_DRAWS} tables")


def next_task(
    left: TableState,
    rng: np.random.Generator,
    *,
    shares: Mapping[type, float] | None = None,
    time_limit_s: float = 20.0,
) -> LaidOutTask | None:
    """Draw something that can be done on a table as it was left.

    The gripper begins open, straight down and where it was, or above the blocks that it would be in the way
    of; if it was outside the space in which tasks begin, where that is nearest.

    :param left: With blocks that a planning domain knows by their colours.
    :param shares: Weight of each kind of goal among those that can be reached; all alike by default.
    :returns: None if a block is out of reach, in the gripper or leans on something, or nothing can be done.
    """
    state = symbols(left)
    resting = {atom.arguments[0] for atom in state if atom.predicate in ("on", "ontable")}
    for name, pose in left.blocks.items():
        if name not in CLOSED_COLOURS or name not in resting or not _is_reached(pose):
            return None
    layout = Layout(_out_of_the_way(left), left.blocks)
    goal = _draw_goal(layout, rng, shares)
    return None if goal is None else LaidOutTask(goal, layout=layout, time_limit_s=time_limit_s)


def _is_reached(block: Pose) -> bool:
    x, y, z = block.position
    far = np.hypot(x, y) + _LESS_PER_M * (z - BLOCK_SIZE_M / 2)
    return bool(x >= _ANYWHERE.block_x_m[0] and far <= _REACH_M)


def _out_of_the_way(left: TableState) -> Pose:
    """Return the pose above the blocks that is nearest to where a gripper was and in reach for certain."""
    low, high = np.array(_ANYWHERE.ee_low_m), np.array(_ANYWHERE.ee_high_m)
    place = np.clip(left.end_effector.position, low, high)
    for pose in left.blocks.values():
        if np.hypot(*(pose.position - place)[:2]) < _BESIDE_M:
            place[2] = max(place[2], pose.position[2] + _CLEAR_M)
    yaw = np.clip(gripper_yaw(left.end_effector.quaternion), -_ANYWHERE.ee_yaw_rad, _ANYWHERE.ee_yaw_rad)
    return Pose(place, gripper_down(float(yaw)))


def _draw_goal(layout: Layout, rng: np.random.Generator, shares: Mapping[type, float] | None) -> Goal | None:
    state: State = symbols(TableState(0.0, layout.end_effector, 1.0, layout.blocks))
    problem = Problem.create(tabletop_domain(), dict.fromkeys(layout.blocks, "block"), [])
    by_kind: dict[type, list[Goal]] = {}
    for action in transition_model(problem).possible(state):
        goal = _goal_of(action)
        if shares is None or shares[type(goal)] > 0.0:
            by_kind.setdefault(type(goal), []).append(goal)
    if not by_kind:
        return None
    kinds = sorted(by_kind, key=lambda kind: kind.__name__)
    weights = np.array([1.0 if shares is None else shares[kind] for kind in kinds])
    goals = by_kind[kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]]
    return goals[int(rng.integers(len(goals)))]


def _goal_of(action: GroundAction) -> Goal:
    if action.name == "put-on":
        return Stacked(*action.arguments)
    (block,) = action.arguments
    if action.name == "pick-up":
        return Lifted(block)
    return Pushed(block, Direction.LEFT if action.name == "push-left" else Direction.RIGHT)
