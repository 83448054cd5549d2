"""Tests for the statistics of datasets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dream_vla_ros.data.frame_statistics import ColourCount, model_statistics, number_statistics

numbers = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 30), st.integers(1, 8)), elements=st.floats(-1e3, 1e3)
)


@given(numbers)
def test_numbers_are_described_exactly(values):
    found = number_statistics(values)
    assert found["count"] == [len(values)]
    assert np.allclose(found["mean"], values.mean(axis=0))
    assert np.allclose(found["std"], values.std(axis=0))
    for name, share in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        assert np.allclose(found[name], np.quantile(values, share, axis=0))
    ordered = [found[name] for name in ("min", "q01", "q10", "q50", "q90", "q99", "max")]
    assert np.all(np.diff(ordered, axis=0) >= -1e-9)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=6), st.integers(0, 2))
def test_colours_are_counted_and_merged(levels, channel):
    counts = [ColourCount() for _ in levels]
    for count, level in zip(counts, levels, strict=True):
        image = np.zeros((8, 8, 3), np.uint8)
        image[..., channel] = level
        count.add(image)
    total = ColourCount()
    for count in counts:
        total = total.merge(ColourCount(count.counts.tolist(), count.frames))
    found = total.statistics()
    shares = np.array(levels) / 255.0
    assert found["count"] == [len(levels)]
    assert np.isclose(found["mean"][channel][0][0], shares.mean())
    assert np.isclose(found["std"][channel][0][0], shares.std(), atol=1e-7)
    assert np.isclose(found["min"][channel][0][0], shares.min())
    assert np.isclose(found["max"][channel][0][0], shares.max())
    assert found["q01"][channel][0][0] == shares.min()
    other = (channel + 1) % 3
    assert found["max"][other][0][0] == 0.0


def test_the_gripper_is_not_normalised():
    found = model_statistics("robot", np.zeros((5, 7)), np.zeros((5, 0)), 2)
    assert found["robot"]["action"]["mask"] == [True] * 6 + [False]
    assert "proprio" not in found["robot"]
    assert (found["robot"]["num_transitions"], found["robot"]["num_trajectories"]) == (5, 2)
    assert (
        model_statistics("robot", np.zeros((5, 7)), np.ones((5, 8)), 2)["robot"]["proprio"]["mean"]
        == [1.0] * 8
    )
