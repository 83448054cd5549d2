"""Tasks that begin with towers on the table: what can be done there, by the planning domain's own rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.terms import GroundAction, State
from dream_vla_ros.planning.transition import transition_model
from dream_vla_ros.sim.goals import Direction, Goal, Lifted, Pushed, Stacked
from dream_vla_ros.sim.layout import InitialStates, Layout
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.symbols import symbols
from dream_vla_ros.sim.tasks import Task
from dream_vla_ros.training.questions import draw_scene, tabletop_domain

# A task of several steps begins each where the one before ended, which may be anywhere above the table.
_ANYWHERE = InitialStates(ee_low_m=(0.18, -0.15, 0.14), ee_high_m=(0.36, 0.15, 0.22), ee_yaw_rad=0.7)


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
    """
    layout = draw_scene(colours, rng, tower_share=tower_share, states=_ANYWHERE)
    state: State = symbols(TableState(0.0, layout.end_effector, 1.0, layout.blocks))
    problem = Problem.create(tabletop_domain(), dict.fromkeys(layout.blocks, "block"), [])
    by_kind: dict[type, list[Goal]] = {}
    for action in transition_model(problem).possible(state):
        goal = _goal_of(action)
        by_kind.setdefault(type(goal), []).append(goal)
    kinds = sorted(by_kind, key=lambda kind: kind.__name__)
    weights = np.array([1.0 if shares is None else shares[kind] for kind in kinds])
    goals = by_kind[kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]]
    goal = goals[int(rng.integers(len(goals)))]
    return LaidOutTask(goal, layout=layout, time_limit_s=time_limit_s)


def _goal_of(action: GroundAction) -> Goal:
    if action.name == "put-on":
        return Stacked(*action.arguments)
    (block,) = action.arguments
    if action.name == "pick-up":
        return Lifted(block)
    return Pushed(block, Direction.LEFT if action.name == "push-left" else Direction.RIGHT)
