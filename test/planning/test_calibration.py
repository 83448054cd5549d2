from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from dream_vla_ros.planning.calibration import (
    FILE_NAME,
    Calibration,
    CalibrationError,
    accuracy,
    expected_calibration_error,
    fit_held_out,
    fit_temperature,
)


def overconfident(temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Answers whose log-odds are too large by a factor."""
    rng = np.random.default_rng(1)
    log_odds = rng.normal(scale=2.0, size=count)
    return expit(log_odds * temperature), rng.random(count) < expit(log_odds)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found(temperature: float):
    given_probabilities, truths = overconfident(temperature)
    fitted = fit_temperature(given_probabilities, truths)
    assert fitted.temperature == pytest.approx(temperature, rel=0.05)
    assert fitted.error_after < 0.015
    assert fitted.answers == len(truths)
    assert fitted.error_before == pytest.approx(expected_calibration_error(given_probabilities, truths))
    if temperature != 1.0:
        assert fitted.error_before > 0.05


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.05, 50.0))
def test_calibrating_keeps_the_order_and_the_middle(first: float, second: float, temperature: float):
    calibration = Calibration(temperature, 0.1, 0.0, 10)
    low, high = sorted((first, second))
    assert 0.0 <= calibration.apply(low) <= calibration.apply(high) <= 1.0
    assert calibration.apply(0.5) == pytest.approx(0.5)


def test_calibrating_divides_the_log_odds():
    assert Calibration(2.0, 0.1, 0.0, 10).apply(0.9) == pytest.approx(float(expit(logit(0.9) / 2.0)))
    assert 0.0 < Calibration(2.0, 0.1, 0.0, 10).apply(0.0) < 0.001


def test_the_error_is_the_mean_gap_of_the_bins():
    # Two bins: 0.1 with one of four right, 0.9 with three of four right.
    probabilities = [0.1] * 4 + [0.9] * 4
    truths = [1, 0, 0, 0, 1, 1, 1, 0]
    assert expected_calibration_error(probabilities, truths, bins=10) == pytest.approx(0.15)
    assert expected_calibration_error([1.0, 0.0], [True, False]) == 0.0
    assert expected_calibration_error([1.0, 0.0], [False, True]) == 1.0


def test_accuracy_counts_yes_above_one_half():
    assert accuracy([0.9, 0.4, 0.6, 0.5], [True, False, False, False]) == 0.75


@pytest.mark.parametrize(
    ("probabilities", "truths"),
    [([], []), ([0.5], [True, False]), ([1.5], [True]), ([float("nan")], [True]), ([[0.5]], [[True]])],
)
def test_what_cannot_be_judged_is_refused(probabilities, truths):
    with pytest.raises(CalibrationError):
        expected_calibration_error(probabilities, truths)


def test_answers_that_are_all_the_same_calibrate_nothing():
    with pytest.raises(CalibrationError, match="yes and ones where it is no"):
        fit_temperature([0.2, 0.9], [True, True])


def test_a_calibration_is_kept_with_the_checkpoint(tmp_path):
    calibration = Calibration(1.75, 0.08, 0.012, 500)
    assert Calibration.load(tmp_path) is None
    calibration.save(tmp_path)
    assert Calibration.load(tmp_path) == calibration


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"temperature": 0}', "null"])
def test_a_broken_calibration_is_named(tmp_path, text: str):
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(CalibrationError, match=FILE_NAME):
        Calibration.load(tmp_path)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), 1e6])
def test_a_temperature_out_of_range_is_refused(tmp_path, temperature: float):
    with pytest.raises(CalibrationError, match="temperature"):
        Calibration(temperature, 0.1, 0.1, 10)
    Calibration(1.0, 0.1, 0.1, 10).save(tmp_path)
    data = json.loads((tmp_path / FILE_NAME).read_text()) | {"temperature": temperature}
    (tmp_path / FILE_NAME).write_text(json.dumps(data))
    with pytest.raises(CalibrationError):
        Calibration.load(tmp_path)


def test_errors_are_measured_on_scenes_it_was_not_fitted_on():
    rng = np.random.default_rng(0)
    scenes = np.repeat(np.arange(300), 20)
    log_odds = rng.normal(0, 2, len(scenes))
    right = rng.random(len(scenes)) < 1 / (1 + np.exp(-log_odds))
    # Three times too sure of itself.
    given = 1 / (1 + np.exp(-3 * log_odds))
    fitted = fit_held_out(given, right, scenes, seed=1)
    assert fitted.temperature == pytest.approx(3.0, rel=0.25)
    assert fitted.answers == 3000
    assert fitted.error_after < 0.05 < fitted.error_before


def test_one_scene_is_no_held_out_split():
    with pytest.raises(CalibrationError, match="two scenes"):
        fit_held_out([0.2, 0.8], [False, True], [0, 0])
    with pytest.raises(CalibrationError, match="equal rows"):
        fit_held_out([0.2, 0.8], [False, True], [0])
