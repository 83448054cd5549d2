"""Teach a trained tabletop checkpoint to answer questions about what it sees, without touching how it acts.

The last stage of the joint training: low-rank matrices beside the weights, word embeddings and output layer
learn from rendered scenes and the simulation's truth. First image tokens learn where the blocks are that they
show, which is cheap and what answers wait for; then answers are learned, and what the words for blocks should
know. The result is ``answer_adapter.safetensors`` in the checkpoint, which is used when the planner asks and
never when the policy acts: actions stay the same bit for bit. Resumed where it was cut short.
``dream_vla calibrate`` measures it.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.images import Preprocessing
from dream_vla_ros.model.answer_adapter import FILE_NAME, read_answer_adapter, save_answer_adapter
from dream_vla_ros.model.checkpoint import COMPONENTS, EMBEDDING_WEIGHT, OUTPUT_WEIGHT
from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.model.processor import DreamVLAProcessor
from dream_vla_ros.policy.preprocessing import preprocessing_of
from dream_vla_ros.training.answers import AnswerFeeder, AnswerLearner, SceneLearner
from dream_vla_ros.training.augment import Augmentation
from dream_vla_ros.training.batches import BatchMaker
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.lora import LoraSettings, Trained, compute_at_once, prepare
from dream_vla_ros.training.order import MixedOrder
from dream_vla_ros.training.precision import has_fast_bfloat16
from dream_vla_ros.training.processes import run_in_processes
from dream_vla_ros.training.progress import TrainingProgress
from dream_vla_ros.training.settings import TrainSettings
from dream_vla_ros.training.still_scenes import StillRecipe, write_still_scenes
from dream_vla_ros.training.store import SampleStore
from dream_vla_ros.training.table_scenes import SceneRecipe, write_scenes
from dream_vla_ros.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[3]
STILL = "still"
SCENES = "scenes"
STAGES = ("images", "answers")
_MODULE = "dream_vla_ros.training.answering"
_WORDS = (EMBEDDING_WEIGHT, OUTPUT_WEIGHT)


@dataclass(frozen=True)
class AnswerPlan:
    """Everything that decides what is learned.

    :param still: Tables with nothing happening; there can be many of them, and towers are common.
    :param scenes: Moments of tasks that begin with towers; see :class:`SceneRecipe`.
    :param mixture: Shares of still tables, of such moments, and of demonstrations where those are given.
    :param facts_weight: Of what words and image tokens are taught beside the answers.
    :param questions: About each scene of a batch.
    :param texts: Goals and plans that are to be written in each step, and their weight in the loss.
    :param shares: Weights of predicates among them: what is there is learned in some hundred steps, what lies
        on what last.
    :param lora: Alpha equal to the rank: the products count as they are.
    :param images: How image tokens learn where the blocks are that they show; ``batch_size`` counts scenes.
    :param training: How answers are learned; ``batch_size`` counts scenes.
    """

    embodiment: Path = ROOT / "config" / "tabletop.yaml"
    still: StillRecipe = field(default_factory=lambda: StillRecipe(scenes=12_000))
    scenes: SceneRecipe = field(default_factory=lambda: SceneRecipe(episodes=500))
    mixture: tuple[float, float, float] = (0.5, 0.2, 0.3)
    facts_weight: float = 0.5
    questions: int = 8
    texts: int = 4
    text_weight: float = 0.5
    shares: Mapping[str, float] = field(
        default_factory=lambda: (
            {"present": 0.2, "holding": 0.5, "on": 2.0, "ontable": 2.0, "clear": 1.2}
            | {"onleft": 0.6, "onright": 0.6}
        )
    )
    lora: LoraSettings = field(default_factory=lambda: LoraSettings(rank=32, alpha=32))
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(1.0, 0.08, 0.1, 0.1, 0.0))
    images: TrainSettings = field(
        default_factory=lambda: replace(_stage(), steps=1500, batch_size=64, learning_rate=3e-3, seed=4)
    )
    training: TrainSettings = field(default_factory=lambda: replace(_stage(), steps=4500, seed=3))


def _stage() -> TrainSettings:
    """Return what both stages have in common."""
    return TrainSettings(
        steps=1,
        batch_size=16,
        learning_rate=2e-3,
        warmup_steps=50,
        constant_share=0.5,
        final_rate=0.02,
        betas=(0.9, 0.98),
        ema_decay=0.99,
        bf16=has_fast_bfloat16(),
        save_every=100,
    )


def answer_model(checkpoint: Path, lora: LoraSettings) -> DreamVLAForActionPrediction:
    """Read a checkpoint and make trainable what answering may change: adapters and words."""
    model = DreamVLAForActionPrediction.from_pretrained(checkpoint)
    torch.manual_seed(0)  # of the adapters
    prepare(model, Trained.LORA_LANGUAGE, lora)
    for name in COMPONENTS:
        if isinstance(part := getattr(model, name), nn.Module):
            part.requires_grad_(False)
    for name in _WORDS:
        model.get_parameter(name).requires_grad_(True)
    return model


@torch.no_grad()
def begin_with(model: DreamVLAForActionPrediction, folder: Path) -> None:
    """Begin with what another checkpoint of the same shape learned to answer by.

    :param model: From :func:`answer_model`.
    :raises TrainingError: If shapes differ.
    """
    path = folder / FILE_NAME
    tensors = read_answer_adapter(path).tensors
    for name, parameter in model.named_parameters():
        stored = name.replace(".default.", ".")
        if not parameter.requires_grad:
            continue
        if stored not in tensors or tensors[stored].shape != parameter.shape:
            raise TrainingError(f"{path} is of a network or of adapters of another shape ({stored})")
        parameter.copy_(tensors[stored])


def train_answers(
    plan: AnswerPlan,
    checkpoint: Path,
    stores: Sequence[SampleStore],
    work: Path,
    *,
    begin: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train, from where an earlier call was cut short; then write the adapter into the checkpoint.

    :param checkpoint: Folder of the trained Dream-VLA; gets the adapter.
    :param stores: Still tables, scenes, then demonstrations if there are any, as ``mixture`` counts them.
    :param work: Gets metrics and the state to resume from.
    :param begin: Another checkpoint to take answers over from; None begins with none.
    :param stop: Asked after each step whether to save and leave.
    :returns: Whether the training is complete; only then the adapter is written.
    """
    model = answer_model(checkpoint, plan.lora)
    if begin is not None:
        begin_with(model, begin)
    compute_at_once(model)
    processor = cast(DreamVLAProcessor, DreamVLAProcessor.from_pretrained(checkpoint))
    torch.manual_seed(1)  # of the heads
    learner = AnswerLearner(model, processor, facts_weight=plan.facts_weight, text_weight=plan.text_weight)
    ends = np.cumsum([0, *(len(store) for store in stores)])
    groups = [np.arange(*bounds) for bounds in itertools.pairwise(ends)]
    shares = plan.mixture[: len(stores)]
    maker = BatchMaker(model, processor)
    processes = int(os.environ.get("WORLD_SIZE", "1"))

    def run(
        name: str, part: AnswerLearner | SceneLearner, questions: int, texts: int, settings: TrainSettings
    ) -> bool:
        feed = AnswerFeeder(
            stores,
            maker,
            processor,
            plan.augmentation,
            questions=questions,
            shares=plan.shares,
            texts=-(-texts // processes),
        )
        order = MixedOrder(groups, shares, settings.batch_size, settings.seed)
        progress = TrainingProgress(name, settings.steps)
        trainer = Trainer(part, feed, order, settings, work / name, progress=progress)
        if not trainer.run(stop):
            return False
        with trainer.averaged():
            average = [parameter.detach().clone() for parameter in part.parameters()]
        with torch.no_grad():
            for parameter, value in zip(part.parameters(), average, strict=True):
                parameter.copy_(value)
        if part is learner and trainer.is_main:
            write_answers(model, checkpoint, plan.lora)
        return True

    images, answers = STAGES
    return run(images, SceneLearner(learner), 1, 0, plan.images) and run(
        answers, learner, plan.questions, plan.texts, plan.training
    )


def write_answers(model: DreamVLAForActionPrediction, folder: Path, lora: LoraSettings) -> Path:
    """Write what a model learned to answer by beside the weights it was trained from.

    :param model: From :func:`answer_model`.
    :returns: The file.
    """
    layers: dict[str, tuple[Tensor, Tensor]] = {}
    base: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            adapters: Any = module
            (key,) = adapters.lora_A
            layers[name] = (adapters.lora_A[key].weight, adapters.lora_B[key].weight)
            base[name] = cast(Tensor, module.get_base_layer().weight)
    if not layers:
        raise TrainingError("the model has no adapters to write")
    whole = {name: model.get_parameter(name) for name in _WORDS}
    reads_state = model.proprio_projector is not None
    return save_answer_adapter(folder, layers, whole, base, lora.alpha / lora.rank, reads_state=reads_state)


def main(argv: Sequence[str] | None = None) -> int:
    """Train from the command line.

    :param argv: Arguments, ``sys.argv[1:]`` by default.
    :returns: The exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="folder of a trained tabletop checkpoint")
    parser.add_argument("--work", type=Path, default=Path("out/train-answers"), help="where stages are kept")
    parser.add_argument(
        "--demonstrations",
        type=Path,
        help="store of demonstrations to ask about, too (out/train-tabletop/...)",
    )
    parser.add_argument("--begin", type=Path, help="checkpoint with an adapter to begin with")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--still", type=int, default=AnswerPlan().still.scenes, help="tables to draw")
    parser.add_argument(
        "--episodes", type=int, default=AnswerPlan().scenes.episodes, help="to take scenes of"
    )
    parser.add_argument("--image-steps", type=int, default=AnswerPlan().images.steps)
    parser.add_argument("--steps", type=int, default=AnswerPlan().training.steps)
    parser.add_argument(
        "--texts", type=int, default=AnswerPlan().texts, help="goals and plans to write in each step"
    )
    parser.add_argument("--train-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    defaults = AnswerPlan()
    plan = replace(
        defaults,
        still=replace(defaults.still, scenes=arguments.still),
        scenes=replace(defaults.scenes, episodes=arguments.episodes),
        images=replace(defaults.images, steps=arguments.image_steps),
        training=replace(defaults.training, steps=arguments.steps),
        texts=arguments.texts,
    )
    if arguments.train_only:
        torch.set_num_threads(1)
        folders = [arguments.work / STILL, arguments.work / SCENES, *filter(None, [arguments.demonstrations])]
        stores = [SampleStore(one) for one in folders]
        train_answers(plan, arguments.checkpoint, stores, arguments.work, begin=arguments.begin)
        return 0
    robot, images = Embodiment.from_file(plan.embodiment), _preprocessing(arguments.checkpoint)
    write_still_scenes(
        arguments.work / STILL,
        plan.still,
        robot,
        images,
        workers=arguments.processes,
        progress=functools.partial(_told, "still tables"),
    )
    write_scenes(
        arguments.work / SCENES,
        plan.scenes,
        robot,
        images,
        workers=arguments.processes,
        progress=functools.partial(_told, "scenes"),
    )
    given = list(argv if argv is not None else sys.argv[1:])
    if status := run_in_processes(_MODULE, arguments.processes, [*given, "--train-only"]):
        return status
    print(f"wrote {arguments.checkpoint / FILE_NAME}; measure and calibrate it with 'dream_vla calibrate'")
    return 0


def _told(what: str, done: int, total: int) -> None:
    print(f"{what}: {done} of {total} shards", flush=True)


def _preprocessing(checkpoint: Path) -> Preprocessing:
    raw = DreamVLAForActionPrediction.from_pretrained(checkpoint).config.raw
    return replace(preprocessing_of(raw, str(checkpoint)), jpeg=False)


if __name__ == "__main__":
    raise SystemExit(main())
