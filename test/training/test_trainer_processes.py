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
pytestmark = pytest.mark.timeout(3 * PATIENCE_S)
CODE = """
import sys
sys.path[:0] = {path!r}
import torch
torch.set_num_threads(1)
from test_trainer import trainer, noiseless
{spread}
made = trainer({folder!r}, steps=12, ema_decay={ema})
made._feed = lambda indices, rng: noiseless(indices)
made.run(stop=lambda: made.step == {stop})
{after}
torch.distributed.destroy_process_group()
"""
# accelerate takes FSDP for devices that are no processors; torch does not mind.
IN_PARTS = """
from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
state = Accelerator(cpu=True).state
state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
PartialState._shared_state["distributed_type"] = DistributedType.FSDP
"""
HOLDS_A_PART = """
from torch.distributed.tensor import DTensor
assert all(isinstance(parameter, DTensor) for parameter in made._learner.parameters())
with made.averaged():
    averaged = made._learner.layer.weight.detach()
    assert not isinstance(averaged, DTensor)
    written = torch.load({folder!r} + "/state.pt", weights_only=True)
    assert torch.equal(averaged, written["average"]["layer.weight"])
"""


@pytest.fixture
def line():
    """The learner and its data, from the test beside."""
    path = Path(__file__).with_name("test_trainer.py")
    spec = importlib.util.spec_from_file_location("trainer_line", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launch(folder, stop, script, *, spread="", ema=0.0, after=""):
    path = [os.path.dirname(__file__), *sys.path]
    values = {"path": path, "folder": str(folder), "stop": stop, "spread": spread, "ema": ema}
    script.write_text(CODE.format(**values, after=after.format(folder=str(folder))))
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


def test_two_processes_that_hold_parts_go_on_from_one_that_held_all(tmp_path, line):
    folders = [tmp_path / name for name in ("alone", "parts")]
    for folder in folders:
        made = line.trainer(folder, steps=12, ema_decay=0.9)
        made._feed = lambda indices, rng: line.noiseless(indices)
        made.run(stop=lambda made=made, folder=folder: folder.name == "parts" and made.step == 5)
    launch(folders[1], -1, tmp_path / "parts.py", spread=IN_PARTS, ema=0.9, after=HOLDS_A_PART)
    alone, parts = (torch.load(folder / STATE, weights_only=True) for folder in folders)
    assert alone["step"] == parts["step"] == 12
    for key in ("learner", "average", "optimizer"):
        torch.testing.assert_close(parts[key], alone[key], atol=1e-5, rtol=1e-5)
    assert line.trainer(folders[1], steps=12, ema_decay=0.9).run(), "one process reads it again"
