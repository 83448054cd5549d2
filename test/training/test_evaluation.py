"""Tries are seeded and counted honestly."""

from __future__ import annotations

import pytest

from dream_vla_ros.sim.goals import Lifted
from dream_vla_ros.sim.tasks import task_from_instruction
from dream_vla_ros.training.evaluation import Plan, Rate, evaluate, rates, save_records


def test_plans_repeat_and_words_ask_for_what_is_judged():
    plan = Plan(episodes=20)
    tries = plan.tries()
    assert tries == Plan(episodes=20).tries()
    assert [one.kind for one in tries] == ["pick"] * 20 + ["stack"] * 20 + ["push"] * 20
    assert all(task_from_instruction(one.words).goal == one.task.goal for one in tries)
    assert len({one.words for one in tries}) > 15
    assert all(one.scene == one.task for one in tries)


def test_wrong_scenes_are_made_for_another_block():
    tries = Plan(kinds=("pick",), episodes=20, wrong=True).tries()
    assert all(one.scene.goal != one.task.goal for one in tries)
    assert all(isinstance(one.scene.goal, Lifted) for one in tries)


@pytest.mark.parametrize(
    ("rate", "low", "high"),
    # Wilson's interval as tabulated elsewhere.
    [(Rate(0, 10), 0.0, 0.2775), (Rate(10, 10), 0.7225, 1.0), (Rate(81, 263), 0.2553, 0.3662)],
)
def test_intervals_are_wilsons(rate, low, high):
    assert rate.interval == pytest.approx((low, high), abs=1e-4)


def test_no_tries_say_nothing():
    assert Rate(0, 0).interval == (0.0, 1.0)


def test_unknown_kinds_are_refused(tmp_path, embodiment):
    with pytest.raises(ValueError, match="pick, stack, push"):
        evaluate(tmp_path, embodiment, Plan(kinds=("juggle",)))


def test_random_weights_fail_and_are_recorded(checkpoints, embodiment, tmp_path):
    told = []
    records = evaluate(
        checkpoints(),
        embodiment,
        Plan(kinds=("pick",), episodes=1, time_limit_s=1.0),
        progress=lambda done, total, last: told.append((done, total)),
    )
    assert told == [(1, 1)]
    assert rates(records) == {"pick": Rate(0, 1)}
    assert records[0]["time_s"] == pytest.approx(1.0, abs=0.05)
    save_records(tmp_path / "tries.jsonl", records)
    assert (tmp_path / "tries.jsonl").read_text().count("\n") == 1
