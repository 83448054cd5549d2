"""Random weights in the published layout, so that untrained and trained models are read alike."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from .action_heads import ActionHead, TokenProjector
from .checkpoint import STATISTICS, load_statistics, open_folder
from .checkpoint_writer import SHARD_BYTES, save_checkpoint
from .config import DreamConfig
from .dream_vla import DreamVLAForActionPrediction
from .errors import CheckpointError
from .objective import Objective
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
    chosen = Objective.named(objective)
    config = with_token_ids(DreamConfig.from_folder(source), source, for_actions=True)
    statistics = load_statistics(source, config)
    if not statistics.keys:
        raise CheckpointError(f"{source / STATISTICS} is missing: it says how many numbers an action has")
    key = statistics.keys[0]
    action_dim, width = statistics.action[key].dim, config.hidden_size
    model = DreamVLAForActionPrediction(config, chosen, statistics=statistics)
    if chosen.continuous:
        model.action_head = ActionHead(width * action_dim, width, action_dim)
    if chosen.denoises:
        model.noisy_action_projector = TokenProjector(1, width)
    if key in statistics.proprio:
        model.proprio_projector = TokenProjector(statistics.proprio[key].dim, width)
    randomize(model, seed)
    return save_checkpoint(model.to(dtype), out_folder, like=source, shard_bytes=shard_bytes)


@torch.no_grad()
def randomize(model: DreamVLAForActionPrediction, seed: int) -> None:
    """Draw all weights anew: normal for matrices, zero biases, unit norms.

    The backbone spreads by its `initializer_range`, the action head and projectors by the inverse root of
    what
    goes in, so that they pass on signals of the size they get.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv3d, nn.Embedding)):
            beside = name.startswith(("action_head", "noisy_action_projector", "proprio_projector"))
            spread = module.weight[0].numel() ** -0.5 if beside else model.config.initializer_range
            module.weight.normal_(0.0, spread, generator=generator)
        elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
            module.weight.fill_(1.0)
        if isinstance(bias := getattr(module, "bias", None), nn.Parameter):
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
