"""From what a client asks for to a problem that can be planned on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dream_vla_ros.nodes.planner.goal import TaskRequest
from dream_vla_ros.nodes.planner.mind import Asker, Mind
from dream_vla_ros.nodes.planner.parameters import Mode, PlannerParameters
from dream_vla_ros.planning.domain import Domain, Scene
from dream_vla_ros.planning.errors import PlanningError, ProblemError
from dream_vla_ros.planning.grounding import Thresholds
from dream_vla_ros.planning.interfaces import Environment, Observation
from dream_vla_ros.planning.outcomes import Answer, AnswerCode, TaskCode, TaskInterrupted
from dream_vla_ros.planning.problem import Problem, check_atom
from dream_vla_ros.planning.terms import Literal, parse_literal


@dataclass(frozen=True)
class Prepared:
    """A task ready to be planned.

    :param problem: Its objects are those that are there; the goal is empty where the task is words only.
    :param asker: Answers about the scene.
    """

    problem: Problem
    asker: Asker


def known_scene(domain: Domain) -> Scene:
    """Return a domain with every object that it knows by name.

    :raises ProblemError: If it knows none.
    """
    objects = {name: known.type for name, known in domain.words.objects.items()}
    objects |= domain.signature.constants
    if not objects:
        raise ProblemError(
            f"domain '{domain.name}' names no objects: list them under 'objects' in a YAML file of your own"
        )
    return Scene(domain, objects)


def thresholds(parameters: PlannerParameters) -> Thresholds:
    """Return when a probability is an answer.

    :raises PlanningError: If the parameters contradict each other.
    """
    return Thresholds(parameters.yes_from, parameters.no_up_to)


def read_goal(request: TaskRequest, scene: Scene) -> tuple[Literal, ...]:
    """Read the predicates of a request.

    :raises ProblemError: Naming the predicate or object that does not exist.
    """
    if not request.task.strip() and not request.predicates:
        raise ProblemError("the goal is empty: give it in words (task) or in predicates (goal_predicates)")
    literals = [parse_literal(text) for text in request.predicates]
    for literal in literals:
        check_atom(scene, literal.atom)
    return tuple(dict.fromkeys(literals))


def prepare(
    request: TaskRequest,
    domain: Domain,
    mind: Mind,
    mode: Mode,
    parameters: PlannerParameters,
    world: Environment,
) -> Prepared:
    """Find out what is wanted and which objects are there.

    :raises PlanningError: If the request cannot be understood; the message says why.
    :raises TaskInterrupted: If an object of the goal is not there, or nothing can be seen.
    """
    scene = known_scene(domain)
    goal = read_goal(request, scene)
    asker = mind.asker(scene, thresholds(parameters))
    observation = world.observe()
    absent = _absent(scene, asker, observation)
    if not goal and (mode is Mode.GROUNDER or not mind.judges_words):
        goal = _understood(mind, scene, absent, request.task, observation)
    wanted = dict.fromkeys(name for literal in goal for name in literal.atom.arguments)
    for name in wanted:
        if name in absent and absent[name].code is AnswerCode.NO:
            raise TaskInterrupted(
                TaskCode.NO_PLAN,
                f"the goal needs the {scene.describe(name)}, which is not there ({_sureness(absent[name])})",
            )
    there = {
        name: kind
        for name, kind in scene.objects.items()
        if (name not in absent or name in wanted) and name not in domain.signature.constants
    }
    if not there and not domain.signature.constants:
        raise TaskInterrupted(
            TaskCode.NO_PLAN, f"none of the objects of domain '{domain.name}' seems to be there"
        )
    problem = Problem.create(domain, there, goal)
    return Prepared(problem, mind.asker(problem.scene, thresholds(parameters)))


def _absent(scene: Scene, asker: Asker, observation: Observation) -> dict[str, Answer]:
    """Return the objects that were not seen to be there, with the answers."""
    questions = {name: question for name in scene.objects if (question := scene.presence_question(name))}
    answers = asker.ask(list(questions.values()), observation)
    return {
        name: answer
        for name, answer in zip(questions, answers, strict=True)
        if answer.code is not AnswerCode.YES
    }


def _sureness(answer: Answer) -> str:
    return answer.message or f"yes is {answer.probability:.0%} probable"


def _understood(
    mind: Mind, scene: Scene, absent: Collection[str], task: str, observation: Observation
) -> tuple[Literal, ...]:
    """Put a task in words into predicates, over the objects that are there if there are any."""
    there = {name: kind for name, kind in scene.objects.items() if name not in absent}
    try:
        goal = mind.goal(Scene(scene.domain, there or scene.objects), task, observation)
        for literal in goal:
            check_atom(scene, literal.atom)
    except PlanningError as error:
        raise ProblemError(
            f"the task '{task}' could not be put into predicates: {error}; give goal_predicates"
        ) from error
    return goal
