"""Fine-tuning in miniature: from a dataset to a checkpoint that the policy runs, and on after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_sets import write_dataset

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.model import DreamVLAForActionPrediction
from dream_vla_ros.model.checkpoint import HEADS
from dream_vla_ros.model.objective import Objective
from dream_vla_ros.policy.dream_vla import DreamVLAPolicy
from dream_vla_ros.policy.policy import warm_up_observation
from dream_vla_ros.policy.sampling import Sampling, sampling_of
from dream_vla_ros.policy.settings import ModelSettings, ObjectiveName
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.finetune import RUN, FineTuning, finetune
from dream_vla_ros.training.lora import LoraSettings, Trained
from dream_vla_ros.training.metrics import read_metrics
from dream_vla_ros.training.publish import EMBODIMENT
from dream_vla_ros.training.settings import TrainSettings
from dream_vla_ros.training.starting_point import load_start
from dream_vla_ros.training.trainer import STATE

SETTINGS = TrainSettings(
    steps=4, batch_size=4, learning_rate=1e-3, log_every=1, validate_every=2, ema_decay=0.9
)
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def dataset(embodiment, tmp_path_factory, layout):
    robot = layout.parents[1] / "config" / "tabletop.yaml"
    return write_dataset(tmp_path_factory.mktemp("data") / "set", embodiment, robot)


@pytest.fixture
def plan(dataset, checkpoints, tmp_path):
    return FineTuning(
        datasets=((dataset, 1.0),),
        checkpoint=checkpoints(),
        out=tmp_path / "out",
        work=tmp_path / "work",
        objective=Objective.FLOW_MATCHING,
        chunk_size=8,
        settings=SETTINGS,
        lora=LoraSettings(rank=4, alpha=4),
        validation=0.25,
        validation_samples=2,
    )


@pytest.mark.parametrize("objective", [Objective.FLOW_MATCHING, Objective.DIFFUSION])
def test_how_actions_are_drawn_is_kept_for_the_same_objective_only(checkpoints, tmp_path, objective):
    folder = tmp_path / "start"
    shutil.copytree(checkpoints(), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"inference_steps": 1, "inference_samples": 4}))
    statistics = json.loads((folder / "dataset_statistics.json").read_text())
    model, _ = load_start(
        folder,
        objective,
        chunk_size=8,
        statistics=statistics,
        proprio_dim=8,
        images={},
        dtype=torch.float32,
        seed=0,
    )
    sampling = sampling_of(model.config.raw, "config.json", ModelSettings())
    assert sampling == (Sampling(1, 4) if objective is Objective.FLOW_MATCHING else Sampling(None, 1))


@pytest.mark.parametrize("objective", list(Objective))
def test_every_objective_makes_a_checkpoint_that_the_policy_runs(plan, checkpoints, embodiment, objective):
    start = checkpoints(objective.value)
    plan = replace(plan, objective=objective, checkpoint=start, settings=replace(SETTINGS, bf16=True))
    assert finetune(plan)
    entries = read_metrics(plan.work / RUN)
    assert [entry["step"] for entry in entries] == [1, 2, 3, 4]
    assert all(np.isfinite(entry["loss"]) for entry in entries)
    assert {"action_error", "error_x", "error_gripper"} <= set(entries[1])
    settings = ModelSettings(checkpoint=str(plan.out), objective=ObjectiveName(objective.value))
    policy = DreamVLAPolicy.load(settings, Embodiment.from_file(plan.out / EMBODIMENT))
    assert policy.notes[0].endswith("of 112 x 112 pixels, through JPEG, cropped to 90% of the area")
    assert len(policy.infer(warm_up_observation(embodiment)).motion) == 8
    assert (plan.out / "lora_adapter" / "adapter_model.safetensors").is_file()
    card = (plan.out / "README.md").read_text()
    assert "4 episodes, 36 frames" in card
    assert "error_x" in card


@pytest.mark.parametrize("trained", list(Trained))
def test_everything_that_is_trained_moves_and_nothing_else(plan, trained):
    plan = replace(plan, trained=trained, settings=replace(SETTINGS, ema_decay=0.0, validate_every=0))
    assert finetune(plan)
    before = DreamVLAForActionPrediction.from_pretrained(plan.checkpoint)
    after = DreamVLAForActionPrediction.from_pretrained(plan.out)
    old = dict(before.named_parameters())
    moved = {name for name, p in after.named_parameters() if not torch.equal(p, old[name])}
    heads = {name for name in old if name.partition(".")[0].endswith(("_head", "_projector"))} - {
        "lm_head.weight"
    }
    matrices = {
        f"{name}.weight"
        for name, module in before.named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith(("visual.", "projector.", "model."))
    }
    expected = {
        Trained.LORA: heads | matrices,
        Trained.LORA_LANGUAGE: heads | {name for name in matrices if name.startswith("model.")},
        Trained.PROJECTOR: heads | {name for name in old if name.startswith("projector.")},
        Trained.FULL: set(old) - {"lm_head.weight"},
    }[trained]
    # Keys' biases shift all scores of a query alike, so nothing depends on them.
    without_effect = {name for name in expected if name.endswith("k_proj.bias")}
    assert moved - without_effect == expected - without_effect


def test_a_base_checkpoint_gets_new_heads(plan, checkpoints, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    for path in checkpoints().iterdir():
        if path.suffix != ".pt" and path.name not in (HEADS, "dataset_statistics.json"):
            (base / path.name).symlink_to(path)
    told = []
    assert finetune(replace(plan, checkpoint=base), told.append)
    assert "new, with random weights: action_head, noisy_action_projector, proprio_projector" in told


def test_datasets_are_drawn_by_weight_with_statistics_each(plan, embodiment, layout, tmp_path):
    robot = layout.parents[1] / "config" / "tabletop.yaml"
    other = write_dataset(tmp_path / "other", embodiment, robot, episodes=2, key="second", first=10)
    plan = replace(plan, datasets=(*plan.datasets, (other, 3.0)), settings=replace(SETTINGS, steps=1))
    assert finetune(plan)
    model = DreamVLAForActionPrediction.from_pretrained(plan.out)
    assert model.statistics.keys == ["tabletop", "second"]
    assert not np.allclose(model.statistics.action["second"].low, model.statistics.action["tabletop"].low)
    with pytest.raises(TrainingError, match="call their statistics 'tabletop'"):
        finetune(replace(plan, datasets=(plan.datasets[0], plan.datasets[0]), work=tmp_path / "twice"))


def test_computing_twice_changes_nothing(plan, tmp_path):
    losses = []
    for recompute in (False, True):
        finetune(replace(plan, recompute=recompute, work=tmp_path / f"work-{recompute}"))
        losses.append([entry["loss"] for entry in read_metrics(tmp_path / f"work-{recompute}" / RUN)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_another_training_in_the_work_folder_is_refused(plan):
    finetune(replace(plan, settings=replace(SETTINGS, steps=1)))
    with pytest.raises(TrainingError, match="trained lora is now full"):
        finetune(replace(plan, trained=Trained.FULL))


@pytest.mark.timeout(2 * PATIENCE_S)
def test_a_killed_training_goes_on_as_if_it_had_not_been(plan, dataset, tmp_path):
    settings = replace(SETTINGS, steps=12, save_every=3, validate_every=0, constant_share=1.0)
    whole = replace(plan, settings=settings)
    finetune(whole)
    expected = [entry["loss"] for entry in read_metrics(whole.work / RUN)]
    work = tmp_path / "killed"
    command = [
        *[sys.executable, "-m", "dream_vla_ros.nodes.cli.main", "finetune"],
        *["--dataset", str(dataset), "--checkpoint", str(plan.checkpoint), "--out", str(tmp_path / "other")],
        *[
            "--work",
            str(work),
            "--steps",
            "12",
            "--batch",
            "4",
            "--rate",
            "1e-3",
            "--ema",
            "0.9",
            "--no-bf16",
        ],
        *["--lora-rank", "4", "--lora-alpha", "4", "--validation", "0.25", "--save-every", "3"],
        *["--validate-every", "100"],
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    process = subprocess.Popen(command, env=environment)
    deadline_s = time.monotonic() + PATIENCE_S
    while not (work / RUN / STATE).exists():
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert subprocess.run(command, env=environment, check=False, timeout=PATIENCE_S).returncode == 0
    entries = {entry["step"]: entry["loss"] for entry in read_metrics(work / RUN)}
    assert entries[12] == pytest.approx(expected[-1], rel=1e-3)
    assert (tmp_path / "other" / "config.json").is_file()
