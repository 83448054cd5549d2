"""Fine-tuning over two processes: each with a copy of the model, and each with a part of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from training_sets import write_dataset

from dream_vla_ros.training.finetune import RUN
from dream_vla_ros.training.metrics import read_metrics

PATIENCE_S = 300.0
COPIES = """
import sys
import torch
torch.set_num_threads(1)
{spread}
from dream_vla_ros.nodes.cli.main import main
status = main(sys.argv[1:])
torch.distributed.destroy_process_group()
raise SystemExit(status)
"""
# accelerate takes FSDP for devices that are no processors; torch does not mind.
IN_PARTS = """
from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
state = Accelerator(cpu=True, mixed_precision="bf16").state
state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
PartialState._shared_state["distributed_type"] = DistributedType.FSDP
"""


@pytest.mark.timeout(2 * PATIENCE_S)
@pytest.mark.parametrize("trained", ["lora", "full"])
def test_parts_learn_what_copies_learn(embodiment, checkpoints, layout, tmp_path, trained):
    robot = layout.parents[1] / "config" / "tabletop.yaml"
    dataset = write_dataset(tmp_path / "set", embodiment, robot)
    for name, spread in (("copies", ""), ("parts", IN_PARTS)):
        script = tmp_path / f"{name}.py"
        script.write_text(COPIES.format(spread=spread))
        folders = ["--out", str(tmp_path / name), "--work", str(tmp_path / f"{name}-work")]
        numbers = "--steps 4 --batch 4 --rate 1e-3 --ema 0.9 --lora-rank 4 --lora-alpha 4 --validation 0.25"
        done = subprocess.run(
            [
                *[sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"],
                *[str(script), "finetune", "--dataset", str(dataset), "--checkpoint", str(checkpoints())],
                *[*folders, *numbers.split(), "--validate-every", "2", "--train", trained],
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
    curves = [read_metrics(tmp_path / f"{name}-work" / RUN) for name in ("copies", "parts")]
    assert [entry["step"] for entry in curves[0]] == [4]
    for copies, parts in zip(*curves, strict=True):
        for key in ("loss", "gradient_norm", "action_error"):
            assert parts.get(key) == pytest.approx(copies.get(key), rel=0.02), (copies["step"], key)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("copies", "parts")]
    assert weights[0].keys() == weights[1].keys()
    torch.testing.assert_close(weights[1], weights[0], atol=2e-3, rtol=2e-2)
