"""Fixtures for tests that run a small checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.model.initialize import initialize_checkpoint

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tabletop() -> Embodiment:
    """Return the simulated robot."""
    return Embodiment.from_file(REPOSITORY / "config" / "tabletop.yaml")


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory) -> Path:
    """Return a folder with a small flow-matching checkpoint of random weights."""
    folder = tmp_path_factory.mktemp("checkpoints") / "random"
    return initialize_checkpoint(REPOSITORY / "models" / "tabletop_tiny", folder, "flow_matching", seed=3)


@pytest.fixture
def checkpoint(random_checkpoint, tmp_path) -> Path:
    """Return a copy of it to change."""
    return shutil.copytree(random_checkpoint, tmp_path / "checkpoint")
