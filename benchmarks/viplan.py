"""How many of ViPlan's problems are solved, with the model as planner and as grounder.

Runs all problems below a folder in a symbolic simulation whose actions may fail as ViPlan's do. The model is
an oracle that sees and plans without fault: what is left is planning, looking and repairing. Writes
`viplan.json`, `viplan.md` and `viplan.png` into the output folder.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from dream_vla_ros.planning.belief import Belief
from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.errors import DomainError
from dream_vla_ros.planning.executor import ActionExecutor
from dream_vla_ros.planning.grounding import VisualGrounder
from dream_vla_ros.planning.interfaces import Execution, Grounder, Observation
from dream_vla_ros.planning.library import load_domain
from dream_vla_ros.planning.oracle import Oracle
from dream_vla_ros.planning.outcomes import Answer, AnswerCode
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.session import Limits
from dream_vla_ros.planning.symbolic_environment import SymbolicEnvironment
from dream_vla_ros.planning.terms import Atom, GroundAction
from dream_vla_ros.planning.transition import transition_model
from dream_vla_ros.planning.vlm_grounder import VlmGrounder
from dream_vla_ros.planning.vlm_planner import VlmPlanner
from dream_vla_ros.report.table import number, table

ROOT = Path(__file__).resolve().parents[1]
MODES = ("planner", "grounder")
TIERS = ("simple", "medium", "hard")  # ViPlan's, from easy to hard; others come after them
FOLDER_VARIABLE = "DREAM_VLA_VIPLAN"


@dataclass(frozen=True)
class Play:
    """One problem played in one mode.

    :param solved: Whether the goal truly held at the end.
    :param outcome: What the planning loop said.
    :param actions: Actions tried.
    :param worked: Of those, how many truly did what the domain says.
    :param answers: Questions asked about the scene.
    :param right: Of those, how many were answered as things are.
    """

    problem: str
    domain: str
    tier: str
    mode: str
    failure_probability: float
    solved: bool
    outcome: str
    message: str
    actions: int
    worked: int
    answers: int
    right: int
    plans: int
    seconds: float


class ScoredWorld(SymbolicEnvironment):
    """A simulation that counts the actions which did what the domain says."""

    worked = 0

    def execute(self, action: GroundAction, instruction: str) -> Execution:
        """Do an action and see whether it had its effects."""
        expected = transition_model(self.problem).apply(self.state, action)
        execution = super().execute(action, instruction)
        self.worked += expected is not None and self.state == expected
        return execution


class ScoredGrounder:
    """Compares the answers of a grounder with the truth."""

    def __init__(self, grounder: Grounder, world: ScoredWorld) -> None:
        self.answers = 0
        self.right = 0
        self._grounder = grounder
        self._world = world

    def ground(self, atoms: Sequence[Atom], observation: Observation) -> list[Answer]:
        """Answer, and count what is right."""
        answers = self._grounder.ground(atoms, observation)
        self.answers += len(answers)
        self.right += sum(
            answer.code == (AnswerCode.YES if atom in self._world.state else AnswerCode.NO)
            for atom, answer in zip(atoms, answers, strict=True)
        )
        return answers


def find_problems(folder: Path) -> Iterator[tuple[str, Path]]:
    """List the problems below a folder with the name of the domain each is for."""
    for path in sorted(folder.rglob("*.pddl")):
        text = path.read_text(encoding="utf-8").lower()
        named = re.search(r"\(\s*:domain\s+([\w-]+)\s*\)", text)
        if re.search(r"\(\s*define\s*\(\s*problem\b", text) and named is not None:
            yield named.group(1), path


def play(
    problem: Problem, tier: str, mode: str, failure_probability: float, rng: np.random.Generator, steps: int
) -> Play:
    """Play a problem to its end."""
    world = ScoredWorld(problem, failure_probability=failure_probability, rng=rng)
    model = Oracle(problem, world)
    grounder = ScoredGrounder(VisualGrounder(model, problem.scene), world)
    # What is never asked for has to be given: in BlocksWorld, how the columns stand.
    asked = problem.domain.asked_predicates()
    given = frozenset(atom for atom in problem.initial if atom.predicate not in asked)
    executor = ActionExecutor(problem, world, grounder, Belief(given))
    limits = Limits(steps=steps)
    loop = (
        VlmPlanner(executor, model, world, limits=limits)
        if mode == "planner"
        else VlmGrounder(executor, limits=limits)
    )
    started = time.perf_counter()
    result = loop.run()
    return Play(
        problem.name,
        problem.domain.name,
        tier,
        mode,
        failure_probability,
        problem.reached(world.state),
        result.code.name.lower(),
        result.message,
        len(result.actions),
        world.worked,
        grounder.answers,
        grounder.right,
        result.plans,
        time.perf_counter() - started,
    )


@dataclass(frozen=True)
class Row:
    """All plays of one domain, tier, mode and failure probability together."""

    domain: str
    tier: str
    mode: str
    failure_probability: float
    problems: int
    task_accuracy: float
    action_accuracy: float
    answer_accuracy: float
    actions: float
    plans: float
    seconds: float


def summarise(plays: Sequence[Play]) -> list[Row]:
    """Put plays together, in the order of domain, tier, failure probability and mode."""

    def order(key: tuple[str, str, float, str]) -> tuple:
        domain, tier, probability, mode = key
        return (
            domain,
            TIERS.index(tier) if tier in TIERS else len(TIERS),
            tier,
            probability,
            MODES.index(mode),
        )

    groups: dict[tuple[str, str, float, str], list[Play]] = {}
    for one in plays:
        groups.setdefault((one.domain, one.tier, one.failure_probability, one.mode), []).append(one)
    rows = []
    for key in sorted(groups, key=order):
        group = groups[key]
        domain, tier, probability, mode = key
        rows.append(
            Row(
                domain,
                tier,
                mode,
                probability,
                len(group),
                float(np.mean([one.solved for one in group])),
                _share(sum(one.worked for one in group), sum(one.actions for one in group)),
                _share(sum(one.right for one in group), sum(one.answers for one in group)),
                float(np.mean([one.actions for one in group])),
                float(np.mean([one.plans for one in group])),
                float(np.mean([one.seconds for one in group])),
            )
        )
    return rows


def lay_out(rows: Sequence[Row]) -> str:
    """Write the table."""
    header = ["domain", "tier", "failures", "mode", "problems", "task acc.", "action acc.", "answers right"]
    header += ["actions", "plans", "s"]
    cells = [
        [
            row.domain,
            row.tier,
            number(100 * row.failure_probability, 0, "%"),
            row.mode,
            str(row.problems),
            number(100 * row.task_accuracy, 1, "%"),
            number(100 * row.action_accuracy, 1, "%"),
            number(100 * row.answer_accuracy, 1, "%"),
            number(row.actions, 1),
            number(row.plans, 1),
            number(row.seconds, 2),
        ]
        for row in rows
    ]
    return table(header, cells, right=[2, *range(4, len(header))], width=120)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw task and action accuracy of every tier."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    places = list(dict.fromkeys((row.domain, row.tier) for row in rows))
    series = list(dict.fromkeys((row.mode, row.failure_probability) for row in rows))
    width = 0.8 / len(series)
    figure, axes = pyplot.subplots(
        2, 1, figsize=(3 + 1.6 * len(places), 6.5), sharex=True, layout="constrained"
    )
    for axis, (name, key) in zip(
        axes, (("tasks finished", "task_accuracy"), ("actions that worked", "action_accuracy")), strict=True
    ):
        for number_of, (mode, probability) in enumerate(series):
            shown = [row for row in rows if (row.mode, row.failure_probability) == (mode, probability)]
            x = [
                places.index((row.domain, row.tier)) + (number_of - (len(series) - 1) / 2) * width
                for row in shown
            ]
            label = f"{mode}, {probability:.0%} of actions fail" if probability else mode
            axis.bar(x, [100 * getattr(row, key) for row in shown], 0.92 * width, label=label)
        axis.set_ylabel(f"{name} [%]")
        axis.set_ylim(0, 105)
        axis.grid(axis="y", alpha=0.3)
    axes[1].set_xticks(range(len(places)), [f"{domain}\n{tier}" for domain, tier in places])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle("ViPlan's problems with an oracle for a model")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = os.environ.get(FOLDER_VARIABLE)
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(default) if default else None,
        help=f"ViPlan's problems, anywhere below it; default: ${FOLDER_VARIABLE}",
    )
    parser.add_argument("--mode", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--failure-probability", nargs="+", type=float, default=[0.0], metavar="P")
    parser.add_argument("--tier", nargs="+", help="default: all")
    parser.add_argument("--max-steps", type=int, default=60, help="most actions tried in a problem")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "out")
    parsed = parser.parse_args(arguments)
    if any(not 0.0 <= probability <= 1.0 for probability in parsed.failure_probability):
        parser.error("failure probabilities lie between 0 and 1")
    if parsed.folder is not None and not parsed.folder.is_dir():
        parser.error(f"{parsed.folder} is not a folder")
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """Play everything; 1 if an oracle fails where no action does."""
    parsed = parse(arguments)
    if parsed.folder is None:
        print(f"skipped: name the folder of ViPlan's problems, or set {FOLDER_VARIABLE}")
        return 0
    domains: dict[str, Domain | None] = {}
    plays: list[Play] = []
    for index, (name, path) in enumerate(find_problems(parsed.folder)):
        if name not in domains:
            domains[name] = _domain(name)
        domain, tier = domains[name], path.parent.name
        if domain is None or (parsed.tier and tier not in parsed.tier):
            continue
        problem = Problem.from_file(domain, path)
        for probability in parsed.failure_probability:
            for mode in parsed.mode:
                rng = np.random.default_rng([parsed.seed, index, int(1e6 * probability)])
                one = play(problem, tier, mode, probability, rng, parsed.max_steps)
                plays.append(one)
                if not one.solved:
                    print(f"not solved: {path} as {mode}, failures {probability:.0%}: {one.message}")
    if not plays:
        print(f"no problems found below {parsed.folder}", file=sys.stderr)
        return 1
    rows = summarise(plays)
    text = lay_out(rows)
    print(text)
    solved = sum(one.solved for one in plays)
    print(f"\n{solved} of {len(plays)} plays solved, in {sum(one.seconds for one in plays):.0f} s")
    parsed.out.mkdir(parents=True, exist_ok=True)
    report = {"rows": [asdict(row) for row in rows], "plays": [asdict(one) for one in plays]}
    (parsed.out / "viplan.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (parsed.out / "viplan.md").write_text(f"```\n{text}\n```\n", encoding="utf-8")
    plot(rows, parsed.out / "viplan.png")
    print(f"written to {parsed.out}")
    return int(any(not one.solved and one.failure_probability == 0.0 for one in plays))


def _domain(name: str) -> Domain | None:
    try:
        return load_domain(name)
    except DomainError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


if __name__ == "__main__":
    sys.exit(main())
