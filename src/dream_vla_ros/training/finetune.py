"""Fine-tuning of a checkpoint: from recorded datasets to a folder that the policy runs."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from torch import nn

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.images import Preprocessing
from dream_vla_ros.model.checkpoint import open_folder
from dream_vla_ros.model.config import read_json
from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.model.objective import Objective
from dream_vla_ros.model.objectives import Weighting
from dream_vla_ros.model.processor import DreamVLAProcessor
from dream_vla_ros.policy.preprocessing import preprocessing_of
from dream_vla_ros.training.augment import Augmentation
from dream_vla_ros.training.batches import BatchMaker
from dream_vla_ros.training.dataset_samples import TrainingSet, write_samples
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.learners import ActionLearner
from dream_vla_ros.training.lora import LoraSettings, Trained, prepare
from dream_vla_ros.training.mixture import Mixture
from dream_vla_ros.training.order import MixedOrder
from dream_vla_ros.training.progress import TrainingProgress
from dream_vla_ros.training.publish import Publication, configuration_of, publish
from dream_vla_ros.training.recompute import recompute_layers
from dream_vla_ros.training.settings import TrainSettings
from dream_vla_ros.training.starting_point import load_start
from dream_vla_ros.training.store import SampleStore
from dream_vla_ros.training.trainer import Trainer
from dream_vla_ros.training.validation import ActionError

RUN = "run"
"""Folder of the state to resume from and of the metrics, within the work folder."""
_CONFIGURATION = "configuration.json"


@dataclass(frozen=True)
class FineTuning:
    """Everything that decides what comes out.

    :param datasets: Folders of datasets and their weights.
    :param checkpoint: What to start from.
    :param out: Checkpoint folder to write.
    :param work: Folder for samples, metrics and the state to resume from.
    :param chunk_size: Actions predicted at once.
    :param weighting: Of masked tokens, for discrete diffusion.
    :param start_share: Of the examples that start from pure noise, for flow matching.
    :param validation: Share of the episodes that is held back.
    :param validation_samples: Moments of those to predict for at each validation.
    :param recompute: Save memory by computing twice; see ``recompute``.
    """

    datasets: tuple[tuple[Path, float], ...]
    checkpoint: Path
    out: Path
    work: Path
    objective: Objective
    chunk_size: int
    settings: TrainSettings
    trained: Trained = Trained.LORA
    lora: LoraSettings = field(default_factory=LoraSettings)
    augmentation: Augmentation = field(default_factory=Augmentation)
    weighting: Weighting = "cart"
    start_share: float = 0.0
    validation: float = 0.05
    validation_samples: int = 64
    recompute: bool = False


def finetune(plan: FineTuning, tell: Callable[[str], object] = lambda text: None) -> bool:
    """Fine-tune; begun again after it was cut short, it goes on where it was.

    A signal to end (SIGTERM, SIGINT) saves the state and leaves.

    :param tell: Gets what a user should know, one sentence each.
    :returns: Whether the training is complete and the checkpoint written.
    :raises TrainingError: If datasets, checkpoint and settings do not fit together, or the work folder holds
        another training.
    """
    # Unless told, accelerate does not look for other processes on a machine without accelerators.
    on_processor = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    state = PartialState(cpu=on_processor)
    sets = [TrainingSet.open(path, weight) for path, weight in plan.datasets]
    statistics = _statistics(sets)
    images = _preprocessing(plan)
    with state.main_process_first():
        robots = [_robot(one, plan.work / f"dataset-{at}") for at, one in enumerate(sets)]
        _check(plan)
        for at, (one, robot) in enumerate(zip(sets, robots, strict=True)):
            folder = plan.work / f"dataset-{at}"
            write_samples(folder, one, robot, images, plan.chunk_size, progress=_told(one, tell))
    stores = [SampleStore(plan.work / f"dataset-{at}") for at in range(len(sets))]
    model, new = load_start(
        plan.checkpoint,
        plan.objective,
        chunk_size=plan.chunk_size,
        statistics=statistics,
        proprio_dim=_state_size(robots),
        images={
            "image_size": images.size,
            "image_jpeg": images.jpeg,
            "image_crop_area": plan.augmentation.crop_area,
            "num_images": len(robots[0].cameras),
        },
        dtype=torch.bfloat16 if plan.settings.bf16 and plan.trained is not Trained.FULL else torch.float32,
        seed=plan.settings.seed,
    )
    if new:
        tell(f"new, with random weights: {', '.join(new)}")
    learner = _learner(plan, model, state.device)
    maker = BatchMaker(model, cast(DreamVLAProcessor, DreamVLAProcessor.from_pretrained(plan.checkpoint)))
    mixture = Mixture(stores, [one.key for one in sets], maker, plan.augmentation)
    training, held = mixture.split(plan.validation, plan.settings.seed)
    validate = None
    if plan.settings.validate_every and sum(map(len, held)):
        validate = ActionError(model, mixture, held, most=plan.validation_samples, seed=plan.settings.seed)
    order = MixedOrder(training, [one.weight for one in sets], plan.settings.batch_size, plan.settings.seed)
    tell(f"{sum(map(len, training))} samples to train on, {sum(map(len, held))} to validate on")
    trainer = Trainer(
        learner,
        mixture,
        order,
        plan.settings,
        plan.work / RUN,
        validate=validate,
        progress=TrainingProgress("fine-tuning", plan.settings.steps),
    )
    with _until_signal() as asked:
        complete = trainer.run(asked)
    if complete:
        with trainer.averaged():
            if trainer.is_main:
                _publish(plan, model, sets, new)
                tell(f"wrote {plan.out}")
    return complete


def trained_numbers(model: nn.Module) -> int:
    """Count the numbers that are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _learner(plan: FineTuning, model: DreamVLAForActionPrediction, device: torch.device) -> ActionLearner:
    prepare(model, plan.trained, plan.lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # steps are smaller than bfloat16 can tell
    if plan.recompute:
        recompute_layers(model)
    model.to(device)
    return ActionLearner(model, weighting=plan.weighting, start_share=plan.start_share)


def _statistics(sets: Sequence[TrainingSet]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in sets:
        if one.key in found:
            raise TrainingError(
                f"two datasets call their statistics '{one.key}': convert {one.dataset.path} with another "
                "--statistics-key"
            )
        found[one.key] = one.statistics
    return found


def _robot(one: TrainingSet, folder: Path) -> Embodiment:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "embodiment.yaml"
    path.write_text(one.embodiment_text, encoding="utf-8")
    return Embodiment.from_file(path)


def _state_size(robots: Sequence[Embodiment]) -> int | None:
    sizes = {robot.proprio.layout.size for robot in robots}
    if len(sizes) > 1:
        raise TrainingError(f"datasets with states of {sorted(sizes)} numbers cannot be mixed")
    return sizes.pop() or None


def _preprocessing(plan: FineTuning) -> Preprocessing:
    source = open_folder(plan.checkpoint) / "config.json"
    base = preprocessing_of(read_json(source), str(source))
    return Preprocessing(base.size, jpeg=base.jpeg, crop_area=plan.augmentation.crop_area)


def _configuration(plan: FineTuning) -> dict[str, Any]:
    return cast(dict[str, Any], configuration_of(asdict(plan)))


def _check(plan: FineTuning) -> None:
    """Refuse a work folder that holds another training; how often to save may differ."""
    path = plan.work / _CONFIGURATION
    now = _configuration(plan)
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key in now if key not in ("settings", "out") and before.get(key) != now[key]]
        if differing:
            told = ", ".join(f"{key} {before.get(key)} is now {now[key]}" for key in differing)
            raise TrainingError(f"{plan.work} holds another training ({told}): give another --work folder")
    path.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")


def _told(one: TrainingSet, tell: Callable[[str], object]) -> Callable[[int, int], object]:
    return lambda done, total: tell(f"{one.dataset.path.name}: samples of {done} of {total} frames written")


@contextmanager
def _until_signal() -> Iterator[Callable[[], bool]]:
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {
        number: signal.signal(number, lambda *_: asked.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _publish(
    plan: FineTuning, model: DreamVLAForActionPrediction, sets: Sequence[TrainingSet], new: Sequence[str]
) -> None:
    counted = trained_numbers(model)
    about = Publication(
        title=f"{plan.out.name}: {plan.checkpoint.name}, fine-tuned",
        summary="A Dream-VLA checkpoint fine-tuned by `dream_vla finetune`.",
        configuration=_configuration(plan),
        embodiment=sets[0].embodiment_text,
        stages=[("finetune", plan.work / RUN)],
        base=plan.checkpoint.name,
        notes=(
            f"Trained: {plan.trained.value}, {counted / 1e6:.2f} million numbers"
            + (f"; begun anew: {', '.join(new)}" if new else ""),
            *(
                f"Data: {one.dataset.path.name}, {len(one.dataset.episodes)} episodes, "
                f"{one.dataset.frames} frames, weight {one.weight:g}"
                for one in sets
            ),
            f"Validation: {plan.validation:.0%} of the episodes were held back; errors are mean absolute "
            "ones of normalised actions",
        ),
    )
    dtype = torch.bfloat16 if plan.settings.bf16 else torch.float32
    publish(model, plan.out, plan.checkpoint, about, dtype=dtype)
