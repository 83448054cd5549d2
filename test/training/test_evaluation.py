"""Tries are seeded and counted honestly."""

from __future__ import annotations

import av
import pytest

from dream_vla_ros.sim.goals import Lifted
from dream_vla_ros.sim.tasks import task_from_instruction
from dream_vla_ros.training.evaluation import Plan, Rate, evaluate, failures, film, rates, save_records
from dream_vla_ros.training.evaluation_table import obedience_table, success_table


def test_plans_repeat_and_words_ask_for_what_is_judged():
    plan = Plan(episodes=20)
    tries = plan.tries()
    assert tries == Plan(episodes=20).tries()
    assert [one.kind for one in tries] == ["pick"] * 20 + ["stack"] * 20 + ["push"] * 20
    assert all(task_from_instruction(one.words).goal == one.task.goal for one in tries)
    assert len({one.words for one in tries}) > 15
    assert all(one.scene == one.task for one in tries)


def test_conditions_share_seeds_and_tasks():
    tries = Plan(kinds=("stack",), episodes=3, conditions=("standard", "words", "five_blocks")).tries()
    assert [one.condition for one in tries] == ["standard"] * 3 + ["words"] * 3 + ["five_blocks"] * 3
    tasks = [(one.seed, one.task) for one in tries]
    assert tasks[:3] == tasks[3:6] == tasks[6:]
    assert all(one.words in one.task.instructions() for one in tries[:3])
    assert all(one.words not in one.task.instructions() for one in tries[3:6])


def test_wrong_scenes_are_made_for_another_block():
    tries = Plan(kinds=("pick",), episodes=20, wrong=True).tries()
    assert all(one.scene.goal != one.task.goal for one in tries)
    assert all(isinstance(one.scene.goal, Lifted) for one in tries)


@pytest.mark.parametrize("plan", [{"kinds": ("juggle",)}, {"conditions": ("dark",)}])
def test_unknown_kinds_and_conditions_are_refused(plan):
    with pytest.raises(ValueError, match="there are"):
        Plan(**plan)


@pytest.mark.timeout(600)
def test_random_weights_fail_are_recorded_and_filmed(checkpoints, embodiment, tmp_path):
    told = []
    plan = Plan(kinds=("pick",), episodes=1, time_limit_s=1.0)
    records = evaluate(
        checkpoints(),
        embodiment,
        plan,
        progress=lambda done, total, last: told.append((done, total)),
    )
    assert told == [(1, 1)]
    assert rates(records) == {"pick": Rate(0, 1)}
    assert records[0]["time_s"] == pytest.approx(1.0, abs=0.05)
    assert records[0]["end"] == "time limit"
    save_records(tmp_path / "tries.jsonl", records)
    assert (tmp_path / "tries.jsonl").read_text().count("\n") == 1
    chosen = failures(plan, records, 3)
    assert [one.seed for one in chosen] == [plan.seed]
    (path,) = film(checkpoints(), embodiment, plan, chosen, tmp_path / "videos")
    with av.open(str(path)) as video:
        frames = sum(1 for _ in video.decode(video=0))
    assert frames == pytest.approx(10 + 15, abs=1)


def test_failures_are_the_first_of_each_kind():
    plan = Plan(kinds=("pick", "push"), episodes=4)
    records = [{"success": bool(at % 2)} for at in range(8)]
    assert [one.name for one in failures(plan, records, 1)] == [
        "standard-pick-500000000",
        "standard-push-500000000",
    ]


def test_tables_tell_what_was_obeyed_and_what_settled():
    common = {"condition": "standard", "kind": "pick"}
    records = [
        {**common, "success": True, "settled": True, "obeyed": "asked"},
        {**common, "success": False, "settled": True, "obeyed": "scene"},
        {**common, "success": False, "settled": False, "obeyed": ""},
    ]
    success, obedience = success_table(records), obedience_table(records)
    assert success.splitlines()[-1].split() == [
        *("standard", "pick", "1/3", "33%"),
        *("6%", "to", "79%", "1/1", "1/2"),
    ]
    assert obedience.splitlines()[-1].split()[-2:] == ["1", "1"]
