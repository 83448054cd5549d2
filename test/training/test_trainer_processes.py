"""Several processes train as one does, and go on from what they saved."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dream_vla_ros.training.metrics import read_metrics
from dream_vla_ros.training.trainer import STATE

PATIENCE_S = 300.0
CODE = """
import sys
sys.path[:0] = {path!r}
import torch
torch.set_num_threads(1)
from test_trainer import trainer, noiseless
made = trainer({folder!r}, steps=12, ema_decay=0.0)
made._feed = lambda indices, rng: noiseless(indices)
made.run(stop=lambda: made.step == {stop})
torch.distributed.destroy_process_group()
"""


@pytest.fixture
def line():
    """The learner and its data, from the test beside."""
    path = Path(__file__).with_name("test_trainer.py")
    spec = importlib.util.spec_from_file_location("trainer_line", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launch(folder, stop, script):
    script.write_text(CODE.format(path=[os.path.dirname(__file__), *sys.path], folder=str(folder), stop=stop))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(script),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr


def test_two_processes_stop_resume_and_learn_what_one_does(tmp_path, line):
    alone = line.trainer(tmp_path / "alone", steps=12, ema_decay=0.0)
    alone._feed = lambda indices, rng: line.noiseless(indices)
    alone.run()
    both = tmp_path / "both"
    launch(both, 5, tmp_path / "first.py")
    assert torch.load(both / STATE, weights_only=True, map_location="cpu")["step"] == 5
    launch(both, -1, tmp_path / "second.py")
    ours, theirs = (
        torch.load(folder / STATE, weights_only=True, map_location="cpu")["learner"]
        for folder in (both, tmp_path / "alone")
    )
    # Sums in another order round otherwise.
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    losses = [[entry["loss"] for entry in read_metrics(tmp_path / name)] for name in ("both", "alone")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
