"""Write what a training made as a checkpoint in the published layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from dream_vla_ros.model.checkpoint_writer import save_checkpoint
from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction


def publish_tabletop(layout: Path, work: Path, out: Path, model: DreamVLAForActionPrediction) -> Path:
    """Write the tabletop's checkpoint.

    :param layout: Folder of its tokenizer files.
    :param work: Folder of the training's stages.
    :param model: Of the right shape; gets the trained weights.
    """
    trained = torch.load(work / "actions" / "weights.pt", weights_only=True)
    own = {name.removeprefix("model."): t for name, t in trained.items() if name.startswith("model.")}
    model.load_state_dict(own)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_checkpoint(model.to(torch.float16), partial, like=layout)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return out
