"""The pipeline's benchmark: notes of two processes become stages that add up."""

import numpy as np
import pytest

pytest.importorskip("rclpy")

MS = 1_000_000
STAMP = 1_000 * MS


def notes():
    """One prediction whose stages are 2, 3, 1, 4, 5, 40, 6, 7, 8, 9 and 10 ms, in the order of the stages."""
    policy = {
        "received": [[STAMP, STAMP, STAMP + MS], [STAMP + MS, STAMP, STAMP + 2 * MS]],
        "conversion": [[0, STAMP + 5 * MS, STAMP + 6 * MS]],
        "infer": [[STAMP, STAMP + 6 * MS, STAMP + 59 * MS]],
        "preprocessing": [
            [0, STAMP + 7 * MS, STAMP + 9 * MS],
            [0, STAMP + 9 * MS, STAMP + 11 * MS],
        ],
        "patches and prompt": [[0, STAMP + 11 * MS, STAMP + 16 * MS]],
        "inference": [[0, STAMP + 16 * MS, STAMP + 56 * MS]],
        "publishing": [[STAMP, STAMP + 61 * MS, STAMP + 68 * MS]],
    }
    controller = {
        "chunk": [[STAMP, STAMP + 76 * MS, STAMP + 77 * MS]],
        "tick": [[0, STAMP + k * MS, STAMP + (k + 11) * MS] for k in (65, 85, 105)],
        "command": [[1, STAMP + (k + 1) * MS, STAMP + (k + 10) * MS] for k in (65, 85, 105)],
    }
    return policy, controller


def test_stages_are_told_apart_and_add_up(benchmark):
    pipeline = benchmark("pipeline.py")
    stages = pipeline.breakdown(*notes())
    assert [stages[name].tolist() for name in pipeline.STAGES] == [
        [ms] for ms in (2, 3, 1, 4, 5, 40, 6, 7, 8, 9, 10)
    ]
    assert np.sum([stages[name] for name in pipeline.STAGES]) == 95


@pytest.mark.parametrize("missing", ["publishing", "received"])
def test_predictions_that_were_cut_do_not_count(benchmark, missing):
    pipeline = benchmark("pipeline.py")
    policy, controller = notes()
    policy[missing] = []
    with pytest.raises(RuntimeError, match="images"):
        pipeline.breakdown(policy, controller)


def test_jitter_is_the_distance_from_the_period(benchmark):
    seen = benchmark("pipeline.py")._jitter([0, 20 * MS, 41 * MS, 60 * MS], rate=50.0)
    assert seen["rate_hz"] == pytest.approx(50.0)
    assert seen["median"] == pytest.approx(1.0)
    assert seen["p99"] == pytest.approx(1.0)
