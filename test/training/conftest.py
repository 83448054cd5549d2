"""What the training tests share: one robot, one small checkpoint, a few samples."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.model import DreamVLAForActionPrediction, DreamVLAProcessor
from dream_vla_ros.model.initialize import initialize_checkpoint
from dream_vla_ros.training.store import Samples

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = ROOT / "models" / "tabletop_tiny"

torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent / "helpers"))


@pytest.fixture(autouse=True)
def own_precision():
    """Let each test choose its precision; accelerate keeps one for the whole process."""
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def embodiment():
    return Embodiment.from_file(ROOT / "config" / "tabletop.yaml")


@pytest.fixture(scope="session")
def layout():
    return LAYOUT


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Random checkpoints by objective."""
    folders = {}

    def folder(objective="flow_matching"):
        if objective not in folders:
            out = tmp_path_factory.mktemp(objective)
            folders[objective] = initialize_checkpoint(LAYOUT, out, objective, seed=3)
        return folders[objective]

    return folder


@pytest.fixture
def load(checkpoints):
    def read(objective="flow_matching"):
        return DreamVLAForActionPrediction.from_pretrained(checkpoints(objective), objective)

    return read


@pytest.fixture(scope="session")
def processor():
    return DreamVLAProcessor.from_pretrained(LAYOUT)


@pytest.fixture
def samples():
    return make_samples()


def make_samples(count=6, seed=0):
    """Samples of noise in the tabletop's shapes."""
    rng = np.random.default_rng(seed)
    words = ["pick up the red block", "put the blue block on the green one"]
    labels = rng.normal(0.0, 0.1, (count, 4, 5)).astype(np.float32)
    labels[0, 3] = np.nan
    sight = rng.uniform(0.0, 1.0, (count, 2, 4, 11)).astype(np.float32)
    sight[0, :, 3] = np.nan
    return Samples(
        images=rng.integers(0, 256, (count, 2, 112, 112, 3), dtype=np.uint8),
        actions=rng.uniform(-0.03, 0.03, (count, 8, 7)).astype(np.float32),
        proprio=rng.uniform(0.0, 0.03, (count, 8)).astype(np.float32),
        instructions=[words[at % 2] for at in range(count)],
        episode=np.arange(count, dtype=np.int64) // 2,
        labels={"blocks": labels, "sight": sight},
    )
