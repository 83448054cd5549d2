"""How many of ViPlan's problems are solved, with the model as planner and as grounder.

Runs all problems below a folder in a symbolic simulation whose actions may fail as ViPlan's do. Without
`--model` the model is an oracle that sees and plans without fault: what is left is planning, looking and
repairing. With a Dream-VL checkpoint, BlocksWorld states are rendered and the model sees nothing but the
pictures; problems of other domains, of which there are no pictures, are left out. Writes `viplan.json`,
`viplan.md` and `viplan.png` into the output folder.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from support.viplan_report import MODES, Play, lay_out, plot, summarise

from dream_vla_ros.planning.belief import Belief
from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.errors import DomainError
from dream_vla_ros.planning.executor import ActionExecutor
from dream_vla_ros.planning.grammar import plan_grammar
from dream_vla_ros.planning.grounding import VisualGrounder
from dream_vla_ros.planning.interfaces import (
    Execution,
    Grounder,
    Image,
    Observation,
    VisionLanguageModel,
)
from dream_vla_ros.planning.library import load_domain
from dream_vla_ros.planning.oracle import Oracle
from dream_vla_ros.planning.outcomes import Answer, AnswerCode
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.session import Limits
from dream_vla_ros.planning.symbolic_environment import SymbolicEnvironment
from dream_vla_ros.planning.terms import Atom, GroundAction, State
from dream_vla_ros.planning.transition import transition_model
from dream_vla_ros.planning.vlm_grounder import VlmGrounder
from dream_vla_ros.planning.vlm_planner import VlmPlanner

if TYPE_CHECKING:
    from dream_vla_ros.nodes.planner.model import DreamVlModel

ROOT = Path(__file__).resolve().parents[1]
FOLDER_VARIABLE = "DREAM_VLA_VIPLAN"
RENDERED = "blocksworld"
ORACLE = "an oracle"


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
    problem: Problem,
    tier: str,
    mode: str,
    failure_probability: float,
    rng: np.random.Generator,
    steps: int,
    dream_vl: DreamVlModel | None = None,
    renderer: Callable[[State], Sequence[Image]] | None = None,
) -> Play:
    """Play a problem to its end.

    :param dream_vl: Sees and plans; None is an oracle.
    :param renderer: Draws what it sees.
    """
    world = ScoredWorld(problem, failure_probability=failure_probability, rng=rng, renderer=renderer)
    model: VisionLanguageModel = Oracle(problem, world) if dream_vl is None else dream_vl
    calibration = None if dream_vl is None else dream_vl.calibration
    grounder = ScoredGrounder(VisualGrounder(model, problem.scene, calibration=calibration), world)
    grammar = plan_grammar(problem.scene) if dream_vl is not None else None
    # What is never asked for has to be given: in BlocksWorld, how the columns stand.
    asked = problem.domain.asked_predicates()
    given = frozenset(atom for atom in problem.initial if atom.predicate not in asked)
    executor = ActionExecutor(problem, world, grounder, Belief(given))
    limits = Limits(steps=steps)
    loop = (
        VlmPlanner(executor, model, world, grammar=grammar, limits=limits)
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
    parser.add_argument(
        "--model", type=Path, metavar="CHECKPOINT", help="Dream-VL checkpoint that sees rendered scenes"
    )
    parser.add_argument(
        "--untrained", action="store_true", help="random weights for a model, to try the way there"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="most problems of each tier")
    parser.add_argument("--device", default="auto", help="of the model")
    parser.add_argument("--tokens", type=int, default=192, help="longest plan the model may write")
    parser.add_argument("--passes", type=int, default=32, help="forward passes in which it writes a plan")
    parser.add_argument("--image-size", type=int, default=224, metavar="PX", help="side of its pictures")
    parser.add_argument("--out", type=Path, default=ROOT / "out")
    parsed = parser.parse_args(arguments)
    if any(not 0.0 <= probability <= 1.0 for probability in parsed.failure_probability):
        parser.error("failure probabilities lie between 0 and 1")
    if parsed.folder is not None and not parsed.folder.is_dir():
        parser.error(f"{parsed.folder} is not a folder")
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """Play everything; 1 if the oracle fails where no action does."""
    parsed = parse(arguments)
    if parsed.folder is None:
        print(f"skipped: name the folder of ViPlan's problems, or set {FOLDER_VARIABLE}")
        return 0
    domains: dict[str, Domain | None] = {}
    plays: list[Play] = []
    dream_vl = _model(parsed)
    name_of_model = ORACLE if dream_vl is None else dream_vl.name
    for note in () if dream_vl is None else dream_vl.notes:
        print(f"{name_of_model}: {note}")
    played: dict[tuple[str, str], int] = {}
    for index, (name, path) in enumerate(find_problems(parsed.folder)):
        if name not in domains:
            domains[name] = _domain(name)
        domain, tier = domains[name], path.parent.name
        if domain is None or (parsed.tier and tier not in parsed.tier):
            continue
        if dream_vl is not None and domain.name != RENDERED:
            continue
        played[name, tier] = played.get((name, tier), 0) + 1
        if parsed.limit is not None and played[name, tier] > parsed.limit:
            continue
        problem = Problem.from_file(domain, path)
        renderer = None if dream_vl is None else _renderer(problem, parsed.image_size)
        for probability in parsed.failure_probability:
            for mode in parsed.mode:
                rng = np.random.default_rng([parsed.seed, index, int(1e6 * probability)])
                one = play(problem, tier, mode, probability, rng, parsed.max_steps, dream_vl, renderer)
                plays.append(one)
                if not one.solved and dream_vl is None:
                    print(f"not solved: {path} as {mode}, failures {probability:.0%}: {one.message}")
    if not plays:
        print(f"no problems found below {parsed.folder}", file=sys.stderr)
        return 1
    rows = summarise(plays)
    text = lay_out(rows)
    print(text)
    solved = sum(one.solved for one in plays)
    seconds = sum(one.seconds for one in plays)
    print(f"\n{solved} of {len(plays)} plays solved with {name_of_model}, in {seconds:.0f} s")
    outcomes = sorted({one.outcome for one in plays})
    print(", ".join(f"{sum(one.outcome == code for one in plays)} {code}" for code in outcomes))
    parsed.out.mkdir(parents=True, exist_ok=True)
    report = {
        "model": name_of_model,
        "rows": [asdict(row) for row in rows],
        "plays": [asdict(one) for one in plays],
    }
    (parsed.out / "viplan.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (parsed.out / "viplan.md").write_text(f"```\n{text}\n```\n", encoding="utf-8")
    plot(rows, parsed.out / "viplan.png", name_of_model)
    print(f"written to {parsed.out}")
    if dream_vl is not None:
        return 0
    return int(any(not one.solved and one.failure_probability == 0.0 for one in plays))


def _model(parsed: argparse.Namespace) -> DreamVlModel | None:
    """Load the model that is to see and plan; None for the oracle."""
    folder = parsed.model
    if parsed.untrained:
        from dream_vla_ros.nodes.policy.untrained import untrained_tabletop_checkpoint

        folder = untrained_tabletop_checkpoint(parsed.out, "flow_matching", parsed.seed)
    if folder is None:
        return None
    from dream_vla_ros.nodes.planner.model import DreamVlModel
    from dream_vla_ros.nodes.planner.model_settings import DreamVlSettings

    return DreamVlModel.load(
        DreamVlSettings(
            checkpoint=str(folder),
            device=parsed.device,
            max_new_tokens=parsed.tokens,
            steps=parsed.passes,
            seed=parsed.seed,
        )
    )


def _renderer(problem: Problem, size: int) -> Callable[[State], Sequence[Image]]:
    from dream_vla_ros.sim.columns import ColumnsScene

    return ColumnsScene(problem.objects, (size, size)).render


def _domain(name: str) -> Domain | None:
    try:
        return load_domain(name)
    except DomainError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    sys.exit(main())
