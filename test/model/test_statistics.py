"""Normalisation by dataset statistics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.model.errors import CheckpointError, ModelInputError
from dream_vla_ros.model.statistics import DatasetStatistics

ONE = {
    "action": {"q01": [-0.5, 0.1, 0.0], "q99": [0.5, 0.3, 1.0], "mask": [True, True, False]},
    "proprio": {"q01": [0.0, -2.0], "q99": [1.0, 2.0]},
}
TWO = {"action": {"q01": [0.0], "q99": [1.0]}}


def statistics(**entries):
    return DatasetStatistics(entries, "dataset_statistics.json")


def test_ends_of_the_range():
    action = statistics(one=ONE).unnormalize_actions([[-1, -1, 0.25], [1, 1, 0.75]], "one")
    np.testing.assert_allclose(action, [[-0.5, 0.1, 0.25], [0.5, 0.3, 0.75]], atol=1e-7)


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_there_and_back(values):
    known = statistics(one=ONE)
    np.testing.assert_allclose(known.normalize_actions(known.unnormalize_actions(values)), values, atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2))
def test_normalised_state_is_clipped(values):
    state = statistics(one=ONE).normalize_proprio(values, "one")
    assert np.abs(state).max() <= 1.0


def test_a_dimension_that_never_moves_stays_finite():
    still = statistics(one={"action": {"q01": [0.2], "q99": [0.2]}})
    assert np.isfinite(still.normalize_actions([0.2])).all()
    np.testing.assert_allclose(still.unnormalize_actions([0.7]), [0.2], atol=1e-7)


def test_the_only_key_is_the_default():
    known = statistics(one=ONE)
    np.testing.assert_array_equal(
        known.unnormalize_actions([0, 0, 0]), known.unnormalize_actions([0, 0, 0], "one")
    )


@pytest.mark.parametrize("key", [None, "three"])
def test_an_unknown_key_lists_what_there_is(key):
    with pytest.raises(ModelInputError, match=r"unnorm_key.*one, two.*dataset_statistics\.json"):
        statistics(one=ONE, two=TWO).unnormalize_actions([0], key)


def test_no_statistics_at_all():
    with pytest.raises(ModelInputError, match=r"dataset_statistics\.json"):
        statistics().unnormalize_actions([0.0])


def test_another_number_of_dimensions_is_refused():
    with pytest.raises(ModelInputError, match="3 numbers"):
        statistics(one=ONE).unnormalize_actions([[0.0, 0.0]], "one")


def test_missing_state_statistics_are_named():
    with pytest.raises(ModelInputError, match="two has no proprio"):
        statistics(two=TWO).normalize_proprio([0.0], "two")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, "no action"),
        ({"action": {"q01": [0.0]}}, "q99"),
        ({"action": {"q01": [0.0], "q99": [1.0, 2.0]}}, "one length"),
        ({"action": {"q01": [0.0], "q99": [1.0], "mask": [True, False]}}, "one length"),
        ({"action": {"q01": ["a"], "q99": [1.0]}}, "numbers"),
        ({"action": {"q01": [], "q99": []}}, "one length"),
        ({"action": {"q01": [float("nan")], "q99": [1.0]}}, "finite"),
        ({"action": [1, 2]}, "q01"),
        ({"action": {"q01": [0.0], "q99": [1.0]}, "proprio": {"q01": [0.0]}}, "proprio"),
    ],
)
def test_malformed_statistics_are_named(entry, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        statistics(broken=entry)
    assert "broken" in str(caught.value)
