"""Random weights in the published layout, so that untrained and trained models are read alike."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from .action_heads import ActionHead, TokenProjector
from .backbone import DreamBackbone
from .checkpoint import COMPONENTS, STATISTICS, load_statistics, open_folder
from .checkpoint_writer import SHARD_BYTES, save_checkpoint
from .config import DreamConfig
from .dream_vla import DreamVLAForActionPrediction
from .errors import CheckpointError
from .objective import Objective
from .statistics import DatasetStatistics
from .tokenizer import with_token_ids


def initialize_checkpoint(
    config_folder: str | Path,
    out_folder: str | Path,
    objective: Objective | str = Objective.FLOW_MATCHING,
    seed: int = 0,
    *,
    dtype: torch.dtype = torch.float32,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Write a checkpoint with random weights, the same for the same seed.

    :param config_folder: holds `config.json`, tokenizer files and `dataset_statistics.json`; nothing is
        written there. Action and state sizes are those of its first dataset.
    :param out_folder: made if it does not exist.
    :param objective: which action head and projectors to write.
    :returns: the folder written.
    :raises CheckpointError: if a file of the configuration is missing or malformed.
    """
    source = open_folder(config_folder)
    config = with_token_ids(DreamConfig.from_folder(source), source, for_actions=True)
    statistics = load_statistics(source, config)
    if not statistics.keys:
        raise CheckpointError(f"{source / STATISTICS} is missing: it says how many numbers an action has")
    key = statistics.keys[0]
    model = random_model(
        config,
        objective,
        action_dim=statistics.action[key].dim,
        proprio_dim=statistics.proprio[key].dim if key in statistics.proprio else None,
        statistics=statistics,
        seed=seed,
    )
    return save_checkpoint(model.to(dtype), out_folder, like=source, shard_bytes=shard_bytes)


def random_model(
    config: DreamConfig,
    objective: Objective | str = Objective.FLOW_MATCHING,
    chunk_size: int | None = None,
    *,
    action_dim: int = 7,
    proprio_dim: int | None = 8,
    statistics: DatasetStatistics | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> DreamVLAForActionPrediction:
    """Make a model with random weights in memory, the same for the same seed and device."""
    chosen, width = Objective.named(objective), config.hidden_size
    with torch.device(device):
        model = DreamVLAForActionPrediction(config, chosen, chunk_size, statistics=statistics)
        if chosen.continuous:
            model.action_head = ActionHead(width * action_dim, width, action_dim)
        if chosen.denoises:
            model.noisy_action_projector = TokenProjector(1, width)
        if proprio_dim is not None:
            model.proprio_projector = TokenProjector(proprio_dim, width)
    model.to(dtype)
    randomize(model, seed)
    return model.eval()


@torch.no_grad()
def randomize(model: DreamBackbone, seed: int) -> None:
    """Draw all weights anew, as the published training starts.

    In the backbone, matrices are normal with its `initializer_range` and biases zero; the action head and the
    projectors, which keep torch's default, are uniform within the inverse root of what goes in.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    for name, module in model.named_modules():
        bias = getattr(module, "bias", None)
        if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
            module.weight.fill_(1.0)
            if isinstance(bias, nn.Parameter):
                bias.zero_()
        elif isinstance(module, nn.Linear) and name.startswith(COMPONENTS):
            bound = module.in_features**-0.5
            module.weight.uniform_(-bound, bound, generator=generator)
            module.bias.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, (nn.Linear, nn.Conv3d, nn.Embedding)):
            module.weight.normal_(0.0, model.config.initializer_range, generator=generator)
            if isinstance(bias, nn.Parameter):
                bias.zero_()


def main() -> None:
    """Write a random checkpoint from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config_folder", type=Path)
    parser.add_argument("out_folder", type=Path)
    parser.add_argument(
        "--objective", default=Objective.FLOW_MATCHING.value, choices=[o.value for o in Objective]
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = initialize_checkpoint(
        arguments.config_folder, arguments.out_folder, arguments.objective, arguments.seed
    )
    print(f"wrote random weights to {folder}")


if __name__ == "__main__":
    main()
