"""Which chunks are refused, and why."""

from __future__ import annotations

import pytest
from control_bench import GOAL, OTHER_GOAL, SECOND, chunk, embodiment

from dream_vla_ros.control import Cause
from dream_vla_ros.control.intake import ChunkIntake

NOW = 1000 * SECOND
TIMING = embodiment(timing__chunk_max_age=2.0, timing__clock_tolerance=0.05).timing


@pytest.fixture
def intake() -> ChunkIntake:
    return ChunkIntake(TIMING)


def ago(seconds: float) -> int:
    return NOW - round(seconds * SECOND)


def test_a_fresh_chunk_of_the_active_goal_is_taken(intake: ChunkIntake):
    assert intake.check(chunk(ago(0.3)), GOAL, 0.0, NOW) is None
    assert intake.check(chunk(ago(-0.04)), GOAL, 0.0, NOW) is None
    assert intake.check(chunk(ago(2.0)), GOAL, 1.5, NOW) is None


@pytest.mark.parametrize(
    ("made", "goal", "skip_s", "cause", "words"),
    [
        (chunk(NOW, goal=OTHER_GOAL), GOAL, 0.0, Cause.CHUNK_WRONG_GOAL, GOAL.hex()),
        (chunk(NOW), None, 0.0, Cause.CHUNK_WRONG_GOAL, "none is active"),
        (chunk(ago(-0.3)), GOAL, 0.0, Cause.CHUNK_FUTURE, "0.300 s in the future"),
        (chunk(ago(2.1)), GOAL, 0.0, Cause.CHUNK_LATE, "2.100 s ago, more than timing.chunk_max_age 2.0 s"),
        (chunk(ago(1.7)), GOAL, 1.6, Cause.CHUNK_LATE, "lasts 1.600 s, but 1.600 s were executed"),
        (chunk(NOW, steps=1001), GOAL, 0.0, Cause.CHUNK_INVALID, "1001 steps"),
        (chunk(NOW, period_s=1e-6), GOAL, 0.0, Cause.CHUNK_INVALID, "1e-06 s"),
    ],
)
def test_a_refusal_says_why(intake: ChunkIntake, made, goal, skip_s, cause, words):
    refusal = intake.check(made, goal, skip_s, NOW)
    assert refusal.cause is cause
    assert words in refusal.message
    assert "chunk 1" in refusal.message


def test_chunks_come_in_order(intake: ChunkIntake):
    intake.accept(chunk(ago(0.5), chunk_id=5))
    assert intake.check(chunk(ago(0.5), chunk_id=6), GOAL, 0.0, NOW) is None
    duplicate = intake.check(chunk(ago(0.4), chunk_id=5), GOAL, 0.0, NOW)
    assert duplicate.cause is Cause.CHUNK_OUT_OF_ORDER
    assert "chunk 5 comes after chunk 5" in duplicate.message
    older = intake.check(chunk(ago(0.75), chunk_id=6), GOAL, 0.0, NOW)
    assert older.cause is Cause.CHUNK_OUT_OF_ORDER
    assert "0.250 s before" in older.message


def test_a_new_goal_counts_anew(intake: ChunkIntake):
    intake.accept(chunk(ago(0.1), chunk_id=5))
    intake.begin()
    assert intake.check(chunk(ago(0.5), chunk_id=1), GOAL, 0.0, NOW) is None


def test_unnumbered_chunks_are_ordered_by_their_stamps(intake: ChunkIntake):
    intake.accept(chunk(ago(0.5), chunk_id=0))
    assert intake.check(chunk(ago(0.4), chunk_id=0), GOAL, 0.0, NOW) is None
    assert intake.check(chunk(ago(0.6), chunk_id=0), GOAL, 0.0, NOW).cause is Cause.CHUNK_OUT_OF_ORDER


def test_after_an_interruption_older_images_are_refused(intake: ChunkIntake):
    intake.bar_before(ago(0.2))
    refusal = intake.check(chunk(ago(0.3)), GOAL, 0.0, NOW)
    assert refusal.cause is Cause.CHUNK_LATE
    assert "captured before the arm was stopped" in refusal.message
    assert intake.check(chunk(ago(0.1)), GOAL, 0.0, NOW) is None


def test_stamps_of_another_clock_are_forgotten(intake: ChunkIntake):
    intake.accept(chunk(NOW + 100 * SECOND, chunk_id=3))
    intake.forget_times()
    assert intake.check(chunk(NOW, chunk_id=4), GOAL, 0.0, NOW) is None
