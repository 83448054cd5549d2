"""Which samples each step takes."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.training.order import MixedOrder, SampleOrder


def test_every_epoch_takes_every_sample_once_in_a_new_order():
    order = SampleOrder(np.arange(10, 22), 5, seed=1)
    drawn = np.concatenate([order.batch(step) for step in range(12)]).reshape(5, 12)
    assert (np.sort(drawn, axis=1) == np.arange(10, 22)).all()
    assert len({tuple(epoch) for epoch in drawn}) == 5


def test_a_step_is_the_same_whenever_it_is_asked_for():
    ahead = SampleOrder(range(7), 3, seed=1).batch(40)
    order = SampleOrder(range(7), 3, seed=1)
    for step in range(40):
        order.batch(step)
    np.testing.assert_array_equal(order.batch(40), ahead)
    assert (
        SampleOrder(range(700), 50, seed=2).batch(0) != SampleOrder(range(700), 50, seed=1).batch(0)
    ).any()


def test_epochs_are_counted():
    assert SampleOrder(range(10), 5, seed=0).epochs(steps=4) == pytest.approx(2.0)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="no samples"):
        SampleOrder([], 2, seed=0)


def test_mixtures_keep_their_weights():
    order = MixedOrder([range(100), range(100, 110)], [1.0, 3.0], 64, seed=0)
    drawn = np.concatenate([order.batch(step) for step in range(60)])
    # Three standard deviations of so many draws.
    assert np.mean(drawn >= 100) == pytest.approx(0.75, abs=3 * np.sqrt(0.75 * 0.25 / len(drawn)))
    np.testing.assert_array_equal(order.batch(7), order.batch(7))


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [-1.0, 2.0], [np.nan, 1.0]])
def test_bad_weights_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        MixedOrder([range(3), range(3, 6)], weights, 2, seed=0)
