"""Fold a LoRA adapter into the checkpoint it was trained from.

The adapter folder holds lora_adapter/ and the action head and projectors that were trained with it. What is
written is a whole checkpoint that the policy node and the published code read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dream_vla_ros.policy.settings import ObjectiveName


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("adapter", type=Path, help="folder with lora_adapter/ and the trained heads")
    parser.add_argument("--checkpoint", required=True, type=Path, help="checkpoint it was trained from")
    parser.add_argument("--out", required=True, type=Path, help="checkpoint folder to write")
    parser.add_argument(
        "--objective",
        default=ObjectiveName.FLOW_MATCHING.value,
        choices=[one.value for one in ObjectiveName],
        help="of the adapter (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Merge.

    :returns: The exit status.
    """
    from dream_vla_ros.model import ModelError
    from dream_vla_ros.training.errors import TrainingError
    from dream_vla_ros.training.publish import merge_adapter

    try:
        print(merge_adapter(arguments.checkpoint, arguments.adapter, arguments.out, arguments.objective))
    except (TrainingError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
