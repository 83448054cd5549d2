"""A checkpoint that answers by images and the measured state of the arm."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from dream_vla_ros.model.answer_adapter import save_answer_adapter

_LAYER = "model.layers.0.self_attn.q_proj"


def answering_by_state(checkpoint: Path, folder: Path) -> Path:
    """Copy a Dream-VLA checkpoint and give it an adapter that nobody trained."""
    copy = Path(shutil.copytree(checkpoint, folder))
    base = load_file(copy / "model.safetensors")[f"{_LAYER}.weight"]
    low_rank = (torch.ones(1, base.shape[1]), torch.ones(base.shape[0], 1))
    save_answer_adapter(copy, {_LAYER: low_rank}, {}, {_LAYER: base}, 0.1, reads_state=True)
    return copy
