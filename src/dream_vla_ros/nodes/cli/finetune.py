"""Fine-tune a checkpoint on datasets that 'dream_vla convert' made.

Starts from Dream-VL, Dream-VLA or a fine-tuned checkpoint and writes one that the policy node runs. Begun
again with the same options it goes on where it was. On several devices or machines:
accelerate launch -m dream_vla_ros.nodes.cli.main finetune ...
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dream_vla_ros.policy.settings import ObjectiveName

if TYPE_CHECKING:
    from dream_vla_ros.training.finetune import FineTuning

TRAINED = ("lora", "lora_language", "projector", "full")
PRESET_NAMES = ("libero", "bridge", "fractal")
WEIGHTINGS = ("cart", "none", "original", "linear")
DEFAULT_STEPS, DEFAULT_BATCH, DEFAULT_RATE = 20_000, 64, 1e-4
VALIDATIONS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--dataset",
        action="append",
        nargs="+",
        required=True,
        metavar=("FOLDER", "WEIGHT"),
        help="dataset, and its share in the draw of samples (default: 1); may be repeated",
    )
    parser.add_argument("--checkpoint", required=True, type=Path, help="folder to start from")
    parser.add_argument("--out", required=True, type=Path, help="checkpoint folder to write")
    parser.add_argument(
        "--work", type=Path, help="folder for samples, metrics and state (default: OUT-training)"
    )
    parser.add_argument(
        "--objective",
        default=ObjectiveName.FLOW_MATCHING.value,
        choices=[one.value for one in ObjectiveName],
        help="what is learned (default: %(default)s)",
    )
    parser.add_argument("--preset", choices=PRESET_NAMES, help="the paper's settings for a benchmark")
    parser.add_argument(
        "--train",
        choices=TRAINED,
        default=TRAINED[0],
        help="besides heads and projectors of numbers, which always are (default: %(default)s)",
    )
    parser.add_argument("--lora-rank", type=int, default=32, metavar="N")
    parser.add_argument("--lora-alpha", type=int, default=16, metavar="N")
    parser.add_argument("--chunk", type=int, metavar="N", help="actions at once (default: the robot's)")
    group = parser.add_argument_group("optimisation")
    group.add_argument("--steps", type=int, help=f"optimizer steps (default: {DEFAULT_STEPS})")
    group.add_argument(
        "--batch", type=int, help=f"samples per step, over all devices (default: {DEFAULT_BATCH})"
    )
    group.add_argument(
        "--accumulation", type=int, default=1, help="parts of each device's share (default: %(default)s)"
    )
    group.add_argument("--rate", type=float, help=f"highest learning rate (default: {DEFAULT_RATE})")
    group.add_argument("--warmup", type=int, default=0, metavar="STEPS")
    group.add_argument(
        "--constant",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="of the steps at the highest rate before it falls (default: all)",
    )
    group.add_argument("--ema", type=float, default=0.0, metavar="DECAY", help="average weights (0.999 ...)")
    group.add_argument("--no-bf16", action="store_true", help="compute in float32")
    group.add_argument(
        "--recompute", action="store_true", help="gradient checkpointing: less memory, a third slower"
    )
    group.add_argument(
        "--weighting", choices=WEIGHTINGS, default=WEIGHTINGS[0], help="for discrete_diffusion"
    )
    group.add_argument(
        "--start-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="for flow_matching: of the examples that start from pure noise, where times as published hardly "
        "ever are; 0.5 for a checkpoint that is run in one step (steps:=1, samples:=4)",
    )
    group.add_argument("--seed", type=int, default=0)
    group = parser.add_argument_group("images")
    group.add_argument(
        "--crop",
        type=float,
        default=0.9,
        metavar="AREA",
        help="random crops of this share of the area, the middle at inference (default: %(default)s)",
    )
    group.add_argument("--no-colour", action="store_true", help="leave colours as they are")
    group = parser.add_argument_group("validation and saving")
    group.add_argument(
        "--validation", type=float, default=0.05, metavar="SHARE", help="of the episodes, held back"
    )
    group.add_argument("--validate-every", type=int, metavar="STEPS", help="(default: 20 times in all)")
    group.add_argument("--save-every", type=int, default=500, metavar="STEPS")


def run(arguments: argparse.Namespace) -> int:
    """Fine-tune.

    :returns: 0 when complete, 1 on an error, 2 when it was asked to stop and can be resumed.
    """
    from dream_vla_ros.data.errors import DataError
    from dream_vla_ros.model import ModelError
    from dream_vla_ros.policy.policy import PolicyError
    from dream_vla_ros.training.errors import TrainingError
    from dream_vla_ros.training.finetune import finetune

    try:
        plan = plan_of(arguments)
        complete = finetune(plan, lambda text: print(text, file=sys.stderr, flush=True))
    except (TrainingError, ModelError, DataError, PolicyError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not complete:
        print(f"stopped; the same command goes on from {plan.work}", file=sys.stderr)
        return 2
    return 0


def plan_of(arguments: argparse.Namespace) -> FineTuning:
    """Make a plan of the command line."""
    from dream_vla_ros.model.objective import Objective
    from dream_vla_ros.training.augment import Augmentation
    from dream_vla_ros.training.finetune import FineTuning
    from dream_vla_ros.training.lora import LoraSettings, Trained
    from dream_vla_ros.training.presets import PRESETS
    from dream_vla_ros.training.settings import TrainSettings

    datasets = tuple(_weighted(words) for words in arguments.dataset)
    preset = PRESETS.get(arguments.preset or "")
    steps = arguments.steps or (preset.steps if preset else DEFAULT_STEPS)
    settings = TrainSettings(
        steps=steps,
        batch_size=arguments.batch or (preset.batch_size if preset else DEFAULT_BATCH),
        accumulation=arguments.accumulation,
        learning_rate=arguments.rate or (preset.learning_rate if preset else DEFAULT_RATE),
        warmup_steps=arguments.warmup,
        constant_share=arguments.constant,
        ema_decay=arguments.ema,
        bf16=not arguments.no_bf16,
        seed=arguments.seed,
        save_every=arguments.save_every,
        validate_every=arguments.validate_every or max(steps // VALIDATIONS, 1),
    )
    augmentation = Augmentation(crop_area=arguments.crop)
    if arguments.no_colour:
        augmentation = Augmentation(arguments.crop, 0.0, 0.0, 0.0, 0.0)
    chunk = arguments.chunk or (preset.chunk_size if preset else _chunk_of(datasets[0][0]))
    return FineTuning(
        datasets=datasets,
        checkpoint=arguments.checkpoint,
        out=arguments.out,
        work=arguments.work or arguments.out.with_name(f"{arguments.out.name}-training"),
        objective=Objective.named(arguments.objective),
        chunk_size=chunk,
        settings=settings,
        trained=Trained(arguments.train),
        lora=LoraSettings(arguments.lora_rank, arguments.lora_alpha),
        augmentation=augmentation,
        weighting=arguments.weighting,
        start_share=arguments.start_share,
        validation=arguments.validation,
        recompute=arguments.recompute,
    )


def _weighted(words: list[str]) -> tuple[Path, float]:
    if len(words) > 2:
        raise ValueError(f"--dataset takes a folder and a weight, not {' '.join(words)}")
    return Path(words[0]), float(words[1]) if len(words) == 2 else 1.0


def _chunk_of(dataset: Path) -> int:
    import yaml

    from dream_vla_ros.training.dataset_samples import TrainingSet

    text = TrainingSet.open(dataset).embodiment_text
    return int(yaml.safe_load(text)["/**"]["ros__parameters"]["action"]["chunk_size"])
