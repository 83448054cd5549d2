"""LIBERO-style and Bridge-style actions arrive at the arm as the motion they meant."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
# Of the whole way. The spring's share of 27 % is itself a figure of two digits.
WAY, TURN = {"LIBERO": 0.03, "Bridge": 0.01}, {"LIBERO": 0.03, "Bridge": 0.01}


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("action_meaning", ROOT / "benchmarks" / "action_meaning.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def cases(benchmark):
    return {case.name: case for case in benchmark.cases()}


@pytest.mark.parametrize("name", ["LIBERO", "Bridge"])
def test_the_arm_ends_where_the_training_robot_did(cases, name: str):
    case = cases[name]
    moved, turned = case.ours.off(case.trained)
    way, turn = np.linalg.norm(case.trained.way[-1]), np.linalg.norm(case.trained.turn[-1])
    assert way > 0.1
    assert turn > 0.3
    assert moved < WAY[name] * way
    assert turned < TURN[name] * turn


@pytest.mark.parametrize("name", ["LIBERO", "Bridge"])
def test_the_arm_goes_along_the_same_path(cases, name: str):
    """Nowhere farther from the training robot's path than the controller lags: half a braking distance."""
    case = cases[name]
    path = case.trained.way
    dense = np.concatenate([np.linspace(a, b, 20) for a, b in itertools.pairwise(path)])
    off = [np.min(np.linalg.norm(dense - point, axis=1)) for point in case.ours.way]
    assert max(off) < 0.005


@pytest.mark.parametrize(("name", "least_m", "least_rad"), [("LIBERO", 0.1, 0.3), ("Bridge", 0.0, 0.3)])
def test_the_mistake_shown_would_be_noticed(cases, name: str, least_m: float, least_rad: float):
    moved, turned = cases[name].naive.off(cases[name].trained)
    assert moved >= least_m
    assert turned >= least_rad


def test_the_share_of_a_steady_motion_is_the_one_in_the_files(benchmark):
    """A spring pulled ahead steadily achieves 27 % of each offset."""
    embodiment = benchmark.variant("franka", action__rate=20.0, action__translation_scale=0.05)
    actions = np.zeros((60, 7))
    actions[:, 0] = 0.4
    start = benchmark.Pose(np.array([0.3, 0.0, 0.3]), np.array([1.0, 0.0, 0.0, 0.0]))
    way = benchmark.spring(actions, embodiment, start).way[:, 0]
    share = (way[-1] - way[-11]) / (10 * 0.4 * 0.05)
    assert share == pytest.approx(0.27, abs=0.01)


def test_the_figure_is_drawn(benchmark, cases, tmp_path: Path):
    benchmark.draw(list(cases.values()), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
