"""Tasks of several steps on the simulated tabletop: planned, and carried out by a policy one after the other.

What the graph's planner, policy and controller do is done here in one process, in simulated time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np

from dream_vla_ros.images import RGBImage
from dream_vla_ros.planning.belief import Belief
from dream_vla_ros.planning.calibration import Calibration
from dream_vla_ros.planning.domain import Scene
from dream_vla_ros.planning.executor import ActionExecutor
from dream_vla_ros.planning.grammar import plan_grammar
from dream_vla_ros.planning.grounding import TrueGrounder, VisualGrounder, present_objects
from dream_vla_ros.planning.interfaces import (
    Execution,
    ExecutionStatus,
    Grounder,
    Observation,
    VisionLanguageModel,
)
from dream_vla_ros.planning.oracle import Oracle
from dream_vla_ros.planning.outcomes import TaskCode, TaskInterrupted, TaskResult
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.session import Limits
from dream_vla_ros.planning.terms import GroundAction, Literal, State
from dream_vla_ros.planning.vlm_grounder import VlmGrounder
from dream_vla_ros.planning.vlm_planner import VlmPlanner
from dream_vla_ros.sim.appearance import CLOSED_COLOURS, OPEN_COLOURS
from dream_vla_ros.sim.layout import Layout
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.symbols import symbols
from dream_vla_ros.training.closed_loop import ClosedLoop, Film
from dream_vla_ros.training.environment import Moment
from dream_vla_ros.training.questions import (
    draw_goal,
    draw_scene,
    plans_over,
    tabletop_domain,
    tabletop_scene,
    task_in_words,
)
from dream_vla_ros.training.tabletop_environment import Scenario, TabletopEnvironment
from dream_vla_ros.training.tower_tasks import LaidOutTask

_MAX_DRAWS = 200
# Nearer to the line between the halves, a block may lie on the other half once it is on top of another.
_MIDDLE_M = 0.02
# A plan's actions may each go wrong once, and one twice.
_SPARE_STEPS = 1


class Mode(str, Enum):
    """What the model is for."""

    GROUNDER = "grounder"
    """It answers what holds; a classical planner plans."""

    PLANNER = "planner"
    """It writes the plans."""


class AnsweringModel(VisionLanguageModel, Protocol):
    """A model that answers, and knows how sure it may be."""

    @property
    def calibration(self) -> Calibration | None:
        """Of its answers; None if there is none."""
        ...


@dataclass(frozen=True)
class Literals:
    """A goal that holds when literals of the domain ``tabletop`` do."""

    literals: tuple[Literal, ...]

    @property
    def blocks(self) -> tuple[str, ...]:
        """Colours of the blocks it speaks of, all different."""
        return tuple(dict.fromkeys(name for literal in self.literals for name in literal.atom.arguments))

    def reached(self, start: TableState, now: TableState) -> bool:
        """Say whether all of them hold."""
        state = symbols(now)
        return all(literal.holds(state) for literal in self.literals)


@dataclass(frozen=True)
class PlannedTask:
    """A table and what is wanted of it.

    :param words: The goal as a person would say it.
    :param steps: Length of a shortest plan.
    """

    layout: Layout
    goal: tuple[Literal, ...]
    words: str
    steps: int

    @property
    def scenario(self) -> Scenario:
        """For :class:`TabletopEnvironment`."""
        task = LaidOutTask(Literals(self.goal), layout=self.layout)
        return Scenario(task, task)


def draw_planned_task(seed: int, steps: int, *, num_blocks: int = 4) -> PlannedTask:
    """Draw a task whose shortest plans have so many steps.

    Which half of the table a block lies on is clear: none begins within 2 cm of the line between them.

    :raises ValueError: If none turns up.
    """
    rng = np.random.default_rng([seed, 5])
    for _ in range(_MAX_DRAWS):
        colours = [str(colour) for colour in rng.choice(CLOSED_COLOURS, num_blocks, replace=False)]
        layout = draw_scene(colours, rng, tower_share=0.3)
        if min(abs(pose.position[1]) for pose in layout.blocks.values()) < _MIDDLE_M:
            continue
        state = symbols(TableState(0.0, layout.end_effector, 1.0, layout.blocks))
        goal = draw_goal(state, colours, rng, steps)
        if not goal:
            continue
        plan = plans_over(colours).plan(state, goal, longest=steps)
        if plan is not None and len(plan) == steps:
            return PlannedTask(layout, goal, task_in_words(goal, colours, rng), steps)
    raise ValueError(f"no task of {steps} steps with {num_blocks} blocks found in {_MAX_DRAWS} draws")


class TabletopWorld:
    """A tabletop that planning looks at, acts in, and, as an oracle, reads off.

    :param loop: Drives ``environment`` by a policy; has to go on until that settles.
    """

    def __init__(
        self,
        loop: ClosedLoop[Scenario],
        environment: TabletopEnvironment,
        task: PlannedTask,
        seed: int,
        film: Film | None = None,
    ) -> None:
        self._loop = loop
        self._environment = environment
        self._seed = seed
        self._film = film
        self._now: Moment = environment.reset(task.scenario, seed)
        self.instructions: list[str] = []

    @property
    def state(self) -> State:
        """The atoms that are true now."""
        return symbols(self._environment.sim.state())

    @property
    def time_s(self) -> float:
        """Simulated time so far."""
        return self._now.time_s

    def observe(self) -> Observation:
        """Look."""
        images: Sequence[RGBImage] = tuple(self._environment.look().values())
        return Observation(tuple(images), self._now.state.stamp_ns, self._now.state)

    def execute(self, action: GroundAction, instruction: str) -> Execution:
        """Have the policy carry out an instruction until it settles or its time is up."""
        self.instructions.append(instruction)
        trial, self._now = self._loop.go_on(
            self._now, self._seed, instruction, self._film, number=len(self.instructions)
        )
        return Execution(ExecutionStatus.DONE, trial.end.value, trial.time_s)


def carry_out(
    task: PlannedTask,
    world: TabletopWorld,
    model: AnsweringModel | None,
    *,
    mode: Mode = Mode.GROUNDER,
    constrained: bool = True,
) -> TaskResult:
    """Plan a task and carry it out.

    :param model: Answers or plans; None reads the simulation's own state in its place.
    :param constrained: Keep what the model writes within the grammar of plans.
    """
    scene = tabletop_scene(OPEN_COLOURS)
    there = dict.fromkeys(sorted(task.layout.blocks), "block")
    if model is not None:
        seen = _visual(model, scene)
        there, _ = present_objects(scene, lambda questions: seen.ask(questions, world.observe()))
        absent = [name for name in Literals(task.goal).blocks if name not in there]
        if absent:
            return TaskResult(TaskCode.NO_PLAN, f"the goal needs the {absent[0]} block, which is not seen")
    problem = Problem.create(tabletop_domain(), there, list(task.goal))
    grounder: Grounder = TrueGrounder(world) if model is None else _visual(model, problem.scene)
    executor = ActionExecutor(problem, world, grounder, Belief())
    limits = Limits(2 * task.steps + _SPARE_STEPS)
    try:
        if mode is Mode.GROUNDER:
            return VlmGrounder(executor, limits=limits).run()
        writer = Oracle(problem, world) if model is None else model
        grammar = plan_grammar(problem.scene) if model is not None and constrained else None
        return VlmPlanner(executor, writer, world, task=task.words, grammar=grammar, limits=limits).run()
    except TaskInterrupted as interruption:
        return TaskResult(interruption.code, interruption.message)


def record_of(task: PlannedTask, seed: int, world: TabletopWorld, result: TaskResult) -> dict[str, Any]:
    """Say what came of a task, as JSON can hold it; ``success`` is what is true, not what is believed."""
    truth = world.state
    return {
        "seed": seed,
        "steps": task.steps,
        "task": task.words,
        "goal": [str(literal) for literal in task.goal],
        "success": all(literal.holds(truth) for literal in task.goal),
        "outcome": result.code.name,
        "message": result.message,
        "actions": [
            {"action": str(one.action), "outcome": one.code.name, "message": one.message}
            for one in result.actions
        ],
        "time_s": round(world.time_s, 2),
    }


def _visual(model: AnsweringModel, scene: Scene) -> VisualGrounder:
    return VisualGrounder(model, scene, calibration=model.calibration)


LoadModel = Callable[[], AnsweringModel]
