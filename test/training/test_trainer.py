"""The loop: what it trains, what it saves, and that a killed training goes on as if it had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.metrics import read_metrics
from dream_vla_ros.training.order import SampleOrder
from dream_vla_ros.training.settings import TrainSettings
from dream_vla_ros.training.trainer import STATE, Trainer, parameter_groups

SETTINGS = {
    "batch_size": 8,
    "learning_rate": 0.05,
    "warmup_steps": 3,
    "ema_decay": 0.9,
    "log_every": 1,
    "save_every": 7,
}
PATIENCE_S = 300.0
pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


class Line(nn.Module):
    """Learns a line from noisy points: enough to see order, draws and optimizer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)
        self.unused = nn.Linear(3, 1)

    def forward(self, batch):
        points, values = batch
        return {"loss": (self.layer(points)[:, 0] - values).pow(2).mean()}


def feed(indices, rng):
    points = np.stack([np.cos(indices), np.sin(indices), indices / 50.0], axis=1)
    values = points @ [1.0, -2.0, 0.5] + rng.normal(0.0, 0.05, len(indices))
    return torch.from_numpy(points).float(), torch.from_numpy(values).float()


def trainer(folder, steps=30, learner=None, **settings):
    order = SampleOrder(range(50), SETTINGS["batch_size"], seed=4)
    return Trainer(
        learner or Line(),
        feed,
        order,
        TrainSettings(steps, **(SETTINGS | {"save_every": 7} | settings)),
        folder,
    )


def curve(folder):
    return [(entry["step"], entry["loss"]) for entry in read_metrics(folder)]


def test_it_learns_and_averages(tmp_path):
    made = trainer(tmp_path, steps=200)
    assert made.run()
    losses = [loss for _, loss in curve(tmp_path)]
    assert np.mean(losses[-20:]) < 0.05 * np.mean(losses[:5])
    last = made._learner.layer.weight.detach().clone()
    with made.averaged():
        averaged = made._learner.layer.weight.detach().clone()
    assert not torch.equal(last, averaged)
    torch.testing.assert_close(averaged, torch.tensor([[1.0, -2.0, 0.5]]), atol=0.1, rtol=0.0)


def test_interrupted_anywhere_it_ends_the_same(tmp_path):
    trainer(tmp_path / "whole").run()
    whole = torch.load(tmp_path / "whole" / STATE, weights_only=True)
    for begun in (1, 7, 16):
        folder = tmp_path / f"cut{begun}"
        made = trainer(folder)
        assert not made.run(stop=lambda made=made, begun=begun: made.step == begun)
        assert trainer(folder).run()
        assert curve(folder) == curve(tmp_path / "whole")
        again = torch.load(folder / STATE, weights_only=True)
        for part in ("learner", "average"):
            for name, values in whole[part].items():
                assert torch.equal(again[part][name], values), (begun, part, name)


KILLED = """
import sys, time
sys.path[:0] = {path!r}
from test_trainer import trainer
made = trainer({folder!r}, steps=60)
made._progress = lambda step, values: time.sleep(0.02)
made.run()
"""


def test_killed_at_any_moment_it_ends_the_same(tmp_path):
    trainer(tmp_path / "whole", steps=60).run()
    folder = tmp_path / "killed"
    code = KILLED.format(path=[os.path.dirname(__file__), *sys.path], folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE_S
    while len(read_metrics(folder)) < 20:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_S)
    process.stderr.close()
    assert len(read_metrics(folder)) < 60
    trainer(folder, steps=60).run()
    assert curve(folder) == curve(tmp_path / "whole")


def test_other_settings_are_not_resumed_into(tmp_path):
    trainer(tmp_path).run()
    with pytest.raises(TrainingError, match=r"learning_rate 0.05 is now 0.01"):
        trainer(tmp_path, learning_rate=0.01).run()
    assert trainer(tmp_path, log_every=3).run()


def test_a_damaged_state_is_named(tmp_path):
    trainer(tmp_path).run()
    (tmp_path / STATE).write_bytes(b"torn")
    with pytest.raises(TrainingError, match=STATE):
        trainer(tmp_path).run()


def test_accumulated_parts_make_the_same_step(tmp_path):
    results = []
    for parts in (1, 4):
        made = trainer(tmp_path / str(parts), steps=5, accumulation=parts)
        made._feed = lambda indices, rng: noiseless(indices)
        made.run()
        results.append(made._learner.layer.weight.detach())
    torch.testing.assert_close(*results)


def noiseless(indices):
    points = np.stack([np.cos(indices), np.sin(indices), indices / 50.0], axis=1)
    return torch.from_numpy(points).float(), torch.from_numpy(points @ [1.0, -2.0, 0.5]).float()


def test_a_gradient_that_is_not_finite_is_passed_over(tmp_path):
    made = trainer(tmp_path, steps=6)
    made._feed = lambda indices, rng: (torch.full((8, 3), torch.inf), torch.zeros(8))
    before = made._learner.layer.weight.detach().clone()
    made.run()
    assert torch.equal(made._learner.layer.weight, before)


def test_validation_sees_the_average_and_is_written_down(tmp_path):
    made = trainer(tmp_path, steps=10, validate_every=4)
    made._validate = lambda: {"validation_loss": float(made._learner.layer.weight.detach().sum())}
    made.run()
    written = {e["step"]: e["validation_loss"] for e in read_metrics(tmp_path) if "validation_loss" in e}
    assert set(written) == {4, 8, 10}
    with made.averaged():
        assert written[10] == pytest.approx(float(made._learner.layer.weight.detach().sum()))


def test_only_matrices_are_decayed():
    model = nn.Sequential(nn.Embedding(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    model[1].weight.requires_grad_(False)
    decayed, others = (group["params"] for group in parameter_groups(model, 0.1))
    assert [p.shape for p in decayed] == [(2, 3)]
    assert sorted(tuple(p.shape) for p in others) == [(2,), (3,), (4, 3)]


def test_a_batch_that_does_not_divide_is_refused(tmp_path):
    with pytest.raises(ValueError, match="accumulation"):
        trainer(tmp_path, accumulation=3)
