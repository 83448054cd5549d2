"""The model that a fine-tuning starts from, with new heads where its checkpoint has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dream_vla_ros.model import checkpoint
from dream_vla_ros.model.action_heads import ActionHead, TokenProjector
from dream_vla_ros.model.config import DreamConfig
from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.model.errors import CheckpointError
from dream_vla_ros.model.objective import Objective
from dream_vla_ros.model.statistics import DatasetStatistics
from dream_vla_ros.model.tokenizer import with_token_ids
from dream_vla_ros.policy.sampling import SAMPLES, STEPS

ARCHITECTURE, MODEL_TYPE = "DreamVLAForActionPrediction", "dream-vla"


def load_start(
    folder: Path,
    objective: Objective,
    *,
    chunk_size: int,
    statistics: Mapping[str, Any],
    proprio_dim: int | None,
    images: Mapping[str, Any],
    dtype: torch.dtype,
    seed: int,
) -> tuple[DreamVLAForActionPrediction, tuple[str, ...]]:
    """Read Dream-VL, a base or a fine-tuned Dream-VLA, and put the heads of an objective on it.

    :param statistics: Of the datasets to train on, which the model carries from now on.
    :param proprio_dim: Numbers of the robot's state; None where the model sees none.
    :param images: What ``config.json`` shall say of images.
    :param dtype: Of the weights read; new heads are float32.
    :param seed: Of new heads.
    :returns: The model, and the names of the parts that are new.
    :raises CheckpointError: If the folder is no such checkpoint, or its backbone is damaged.
    """
    path = checkpoint.open_folder(folder)
    config = with_token_ids(DreamConfig.from_folder(path), path, for_actions=True)
    raw = {**config.raw, **images, "architectures": [ARCHITECTURE], "model_type": MODEL_TYPE}
    raw.pop("norm_stats", None)
    if objective is not Objective.FLOW_MATCHING:
        # How a checkpoint of flow matching wants its actions drawn says nothing of another objective's.
        for key in (STEPS, SAMPLES):
            raw.pop(key, None)
    config = replace(config, raw=raw, model_type=MODEL_TYPE, chunk_size=chunk_size)
    with torch.device("meta"):
        model = DreamVLAForActionPrediction(
            config, objective, chunk_size, statistics=DatasetStatistics(statistics, "the datasets")
        )
    checkpoint.load_backbone(model, path, dtype, torch.device("cpu"))
    new = _add_parts(model, path, proprio_dim, seed)
    return model, new


def _add_parts(
    model: DreamVLAForActionPrediction, path: Path, proprio_dim: int | None, seed: int
) -> tuple[str, ...]:
    """Put heads and projectors on, the checkpoint's own where they fit."""
    width, objective = model.config.hidden_size, model.objective
    action_dim = model.statistics.action_dim
    assert action_dim is not None
    known = _own_parts(path, model)
    wanted: dict[str, nn.Module] = {}
    torch.manual_seed(seed)  # of torch's own initialisation, as published
    if objective.continuous:
        wanted["action_head"] = ActionHead(width * action_dim, width, action_dim)
    if objective.denoises:
        wanted["noisy_action_projector"] = TokenProjector(1, width)
    if proprio_dim:
        wanted["proprio_projector"] = TokenProjector(proprio_dim, width)
    new = []
    for name, fresh in wanted.items():
        part = known.get(name)
        if part is None or _shapes(part) != _shapes(fresh):
            part = fresh
            new.append(name)
        setattr(model, name, part.float())
    return tuple(new)


def _own_parts(path: Path, model: DreamVLAForActionPrediction) -> dict[str, nn.Module]:
    """Read the heads that belong to the objective; a base checkpoint has none."""
    try:
        return checkpoint.load_parts(
            path, model.objective, model.config, checkpoint.load_statistics(path, model.config)
        )
    except CheckpointError:
        file = checkpoint.find_component(path, "proprio_projector")
        if file is None:
            return {}
        return {"proprio_projector": checkpoint.load_token_projector(file, model.config.hidden_size)}


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}
