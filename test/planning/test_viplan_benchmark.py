from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = """(define (problem {name}) (:domain blocksworld)
  (:objects R B - block C1 C2 C3 - column)
  (:init (on R B) (clear R) (inColumn R C1) (inColumn B C1) (leftOf C1 C2) (leftOf C2 C3))
  (:goal (and {goal})))"""
HOME = """(define (problem tidy) (:domain igibson) (:objects cup_1 - movable sink_1 - object) (:init)
  (:goal (and (ontop cup_1 sink_1))))"""


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DREAM_VLA_VIPLAN", raising=False)
    # As when it is run as a program; what it shares with other benchmarks lies beside it.
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("viplan_benchmark", ROOT / "benchmarks" / "viplan.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    folder = tmp_path / "problems"
    for tier, name, goal in (
        ("simple", "one", "(inColumn R C2)"),
        ("hard", "three", "(on B R) (inColumn R C3)"),
    ):
        (folder / "blocks" / tier).mkdir(parents=True, exist_ok=True)
        (folder / "blocks" / tier / f"{name}.pddl").write_text(BLOCKS.format(name=name, goal=goal))
    (folder / "home" / "simple").mkdir(parents=True)
    (folder / "home" / "simple" / "tidy.pddl").write_text(HOME)
    (folder / "home" / "domain.pddl").write_text("(define (domain igibson))")
    return folder


def test_every_problem_is_played_in_both_modes(benchmark, problems: Path, tmp_path: Path, capsys):
    arguments = [str(problems), "--failure-probability", "0", "0.5", "--out", str(tmp_path / "out")]
    assert benchmark.main(arguments) == 0
    report = json.loads((tmp_path / "out" / "viplan.json").read_text())
    assert len(report["plays"]) == 3 * 2 * 2
    rows = {
        (row["domain"], row["tier"], row["mode"], row["failure_probability"]): row for row in report["rows"]
    }
    assert next(iter(rows)) == ("blocksworld", "simple", "planner", 0.0)
    assert rows["blocksworld", "simple", "grounder", 0.0]["problems"] == 1
    assert rows["blocksworld", "simple", "grounder", 0.0]["actions"] == 1.0
    for key, row in rows.items():
        assert row["task_accuracy"] == 1.0
        assert row["answer_accuracy"] == 1.0
        assert (row["action_accuracy"] == 1.0) or key[3] > 0.0
    assert any(row["action_accuracy"] < 1.0 for row in rows.values())
    assert (tmp_path / "out" / "viplan.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "12 of 12 plays solved" in printed
    assert "household" in (tmp_path / "out" / "viplan.md").read_text()


def test_what_is_not_solved_is_named_and_fails(benchmark, problems: Path, tmp_path: Path, capsys):
    arguments = [str(problems), "--tier", "hard", "--max-steps", "1", "--out", str(tmp_path / "out")]
    assert benchmark.main(arguments) == 1
    printed = capsys.readouterr().out
    assert "not solved" in printed
    assert "three.pddl" in printed
    assert "0 of 2 plays solved" in printed


def test_without_problems_it_says_so(benchmark, tmp_path: Path, capsys):
    assert benchmark.main([]) == 0
    assert "skipped" in capsys.readouterr().out
    assert benchmark.main([str(tmp_path)]) == 1
    (tmp_path / "p.pddl").write_text(HOME.replace("igibson", "kitchen"))
    assert benchmark.main([str(tmp_path)]) == 1
    assert "no planning domain 'kitchen'" in capsys.readouterr().err


def test_actions_that_fail_lower_their_accuracy_only(benchmark, problems: Path, tmp_path: Path):
    arguments = [str(problems), "--mode", "planner", "--failure-probability", "0.6", "--seed", "3"]
    benchmark.main([*arguments, "--out", str(tmp_path / "a")])
    benchmark.main([*arguments, "--out", str(tmp_path / "b")])
    first, second = (json.loads((tmp_path / name / "viplan.json").read_text())["plays"] for name in "ab")
    for one, other in zip(first, second, strict=True):
        del one["seconds"], other["seconds"]
    assert first == second
    assert sum(one["worked"] for one in first) < sum(one["actions"] for one in first)


def test_a_model_sees_rendered_scenes_only_and_its_failures_are_counted(
    benchmark, problems: Path, tmp_path: Path, capsys
):
    out = tmp_path / "out"
    arguments = ["--untrained", "--tier", "simple", "--max-steps", "2", "--passes", "4", "--tokens", "64"]
    assert benchmark.main([str(problems), *arguments, "--image-size", "56", "--out", str(out)]) == 0
    report = json.loads((out / "viplan.json").read_text())
    assert "untrained" in report["model"]
    assert {play["domain"] for play in report["plays"]} == {"blocksworld"}
    assert {play["mode"] for play in report["plays"]} == {"planner", "grounder"}
    # Random weights may be right by chance, but cannot be all the time.
    assert any(play["right"] < play["answers"] for play in report["plays"])
    assert "uncalibrated" in capsys.readouterr().out
