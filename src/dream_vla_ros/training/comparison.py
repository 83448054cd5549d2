"""Train variants of the small Dream-VLA at equal budget and set them side by side.

The five objectives (the paper's Table 9), chunk sizes (its Figure 6), and with against without the alignment
stage (its Figure 7). All share one set of demonstrations and one alignment; who goes without alignment takes
its steps as steps of actions. Begun again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import yaml
from numpy.typing import ArrayLike, NDArray

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.model.config import DreamConfig
from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.model.initialize import random_model
from dream_vla_ros.model.objective import Objective
from dream_vla_ros.model.processor import DreamVLAProcessor
from dream_vla_ros.model.tokenizer import with_token_ids
from dream_vla_ros.policy.settings import ObjectiveName
from dream_vla_ros.report.table import table
from dream_vla_ros.sim.appearance import CLOSED_COLOURS
from dream_vla_ros.training.alignment import NamedPlaces, PlaceHead, SceneHead, SightHead
from dream_vla_ros.training.batches import BatchMaker
from dream_vla_ros.training.comparison_plot import write_comparison
from dream_vla_ros.training.demonstrations import (
    BLOCK_LABEL,
    BLOCK_NUMBERS,
    SIGHT_LABEL,
    write_demonstrations,
)
from dream_vla_ros.training.evaluation import KINDS, evaluate, rates
from dream_vla_ros.training.evaluation import Plan as Tries
from dream_vla_ros.training.learners import ActionLearner, Alignment, AlignmentLearner, Feeder
from dream_vla_ros.training.metrics import read_metrics
from dream_vla_ros.training.order import SampleOrder
from dream_vla_ros.training.progress import TrainingProgress
from dream_vla_ros.training.publish import Publication, configuration_of, publish
from dream_vla_ros.training.settings import TrainSettings
from dream_vla_ros.training.store import Samples, SampleStore
from dream_vla_ros.training.tabletop import INITIAL_SPREAD, KEY, images_of, tabletop_statistics
from dream_vla_ros.training.tabletop_plan import Plan
from dream_vla_ros.training.trainer import Trainer

LONGEST_CHUNK = 12
CHUNKS = (1, 2, 4, 5, 8, 12)
_CHUNK = 8
_DEMONSTRATIONS, _ALIGNMENT, _BACKBONE = "demonstrations", "alignment", "backbone.pt"


@dataclass(frozen=True)
class Variant:
    """One way to train.

    :param aligned: Whether it begins from the alignment stage and keeps its loss.
    """

    objective: Objective = Objective.FLOW_MATCHING
    chunk: int = _CHUNK
    aligned: bool = True

    @property
    def name(self) -> str:
        """For a folder and a table."""
        return f"{self.objective.value}-chunk{self.chunk}{'' if self.aligned else '-unaligned'}"


COMPARISONS: dict[str, tuple[Variant, ...]] = {
    "objectives": tuple(Variant(objective) for objective in Objective),
    "chunks": tuple(Variant(chunk=chunk) for chunk in CHUNKS),
    "alignment": (Variant(), Variant(aligned=False)),
}


@dataclass(frozen=True)
class Budget:
    """What every variant gets.

    :param alignment_steps: Of the alignment that all share.
    :param action_steps: Of each variant.
    :param tries: Of each kind of task, to judge it by.
    """

    episodes: int
    alignment_steps: int
    action_steps: int
    batch_size: int
    tries: int
    seed: int = 0

    def settings(self, steps: int, base: TrainSettings) -> TrainSettings:
        """Return how a stage of so many steps is trained."""
        warmup = min(base.warmup_steps, max(steps // 10, 1))
        return replace(
            base, steps=steps, batch_size=self.batch_size, seed=self.seed, warmup_steps=warmup, log_every=1
        )


class Shortened:
    """A store whose chunks end sooner.

    :param chunk: Actions that are left of each.
    """

    def __init__(self, store: SampleStore, chunk: int) -> None:
        self._store = store
        self._chunk = chunk

    def take(self, indices: ArrayLike) -> Samples:
        """Copy samples by their numbers."""
        samples = self._store.take(indices)
        return replace(samples, actions=np.ascontiguousarray(samples.actions[:, : self._chunk]))


class Comparison:
    """Trains and tries variants.

    :param folder: Keeps demonstrations, stages, checkpoints and results.
    """

    def __init__(self, folder: Path, budget: Budget, plan: Plan | None = None) -> None:
        self._folder = folder
        self._budget = budget
        self._plan = plan or Plan()
        self._store: SampleStore | None = None

    def prepare(self, workers: int = 1) -> None:
        """Make the demonstrations and the alignment that are missing."""
        plan, budget = self._plan, self._budget
        write_demonstrations(
            self._folder / _DEMONSTRATIONS,
            replace(plan.demonstrations, episodes=budget.episodes),
            self.robot(LONGEST_CHUNK),
            images_of(plan),
            workers=workers,
        )
        self._store = SampleStore(self._folder / _DEMONSTRATIONS)
        if (self._folder / _ALIGNMENT / _BACKBONE).exists() or not budget.alignment_steps:
            return
        model = self._model(Variant())
        learner = AlignmentLearner(model, self._alignment(model))
        settings = budget.settings(budget.alignment_steps, plan.alignment)
        self._train(learner, model, Variant(), settings, _ALIGNMENT, align=True)
        torch.save(learner.state_dict(), self._folder / _ALIGNMENT / _BACKBONE)

    def run(self, variant: Variant) -> dict[str, Any]:
        """Train and try a variant, or read what came of it before.

        :returns: Its name, last losses and successes by kind of task.
        """
        result = self._folder / variant.name / "result.json"
        if result.exists():
            return cast(dict[str, Any], json.loads(result.read_text(encoding="utf-8")))
        budget = self._budget
        steps, checkpoint = self.train(variant)
        tries = Tries(episodes=budget.tries, objective=ObjectiveName(variant.objective.value))
        records = evaluate(checkpoint, self.robot(variant.chunk), tries)
        losses = [entry["action_loss"] for entry in read_metrics(self._folder / variant.name)]
        found = {
            "variant": variant.name,
            "steps": steps,
            "tries": budget.tries,
            "action_loss": float(np.mean(losses[-max(len(losses) // 10, 1) :])),
            "successes": {kind: rate.successes for kind, rate in rates(records).items()},
            "rates": {kind: rate.words for kind, rate in rates(records).items()},
        }
        result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return found

    def train(self, variant: Variant) -> tuple[int, Path]:
        """Train a variant.

        :returns: The steps it took, and its checkpoint.
        """
        plan, budget = self._plan, self._budget
        model = self._model(variant)
        aligned = variant.aligned and budget.alignment_steps > 0
        learner = ActionLearner(
            model, self._alignment(model) if aligned else None, alignment_weight=plan.alignment_weight
        )
        steps = budget.action_steps
        if aligned:
            self._begin_from_alignment(learner)
        else:
            steps += budget.alignment_steps
        settings = budget.settings(steps, plan.actions)
        trainer = self._train(learner, model, variant, settings, variant.name, align=False)
        checkpoint = self._folder / variant.name / "checkpoint"
        with trainer.averaged():
            self._publish(model, variant, checkpoint)
        return steps, checkpoint

    def robot(self, chunk: int) -> Embodiment:
        """Return the tabletop's embodiment with another chunk."""
        path = self._folder / f"robot-chunk{chunk}.yaml"
        self._folder.mkdir(parents=True, exist_ok=True)
        path.write_text(self._robot_text(chunk), encoding="utf-8")
        return Embodiment.from_file(path)

    def _robot_text(self, chunk: int) -> str:
        content = yaml.safe_load(self._plan.embodiment.read_text(encoding="utf-8"))
        content["/**"]["ros__parameters"]["action"]["chunk_size"] = chunk
        return str(yaml.safe_dump(content, sort_keys=False))

    def _model(self, variant: Variant) -> DreamVLAForActionPrediction:
        assert self._store is not None
        plan = self._plan
        config = with_token_ids(DreamConfig.from_folder(plan.layout), plan.layout, for_actions=True)
        images = images_of(plan)
        raw = dict(config.raw) | {
            "image_jpeg": images.jpeg,
            "image_crop_area": images.crop_area,
            "initializer_range": INITIAL_SPREAD,
        }
        config = replace(config, raw=raw, initializer_range=INITIAL_SPREAD)
        statistics = tabletop_statistics(plan.layout, self._store)
        return random_model(
            config,
            variant.objective,
            variant.chunk,
            action_dim=statistics.action[KEY].dim,
            proprio_dim=statistics.proprio[KEY].dim,
            statistics=statistics,
            seed=self._budget.seed,
        )

    def _alignment(self, model: DreamVLAForActionPrediction) -> Alignment:
        assert self._store is not None
        torch.manual_seed(self._budget.seed)  # of the heads
        processor, maker = self._inputs(model)
        width, size = model.config.hidden_size, self._store.take([0]).images.shape[1:3]
        prompt = maker.prompts([self._store.instructions()[0]], *size).input_ids
        tokens = int((prompt == model.config.tokens.image).sum())
        return Alignment(
            PlaceHead(width, BLOCK_NUMBERS),
            NamedPlaces(processor, CLOSED_COLOURS),
            SceneHead(width, tokens, len(CLOSED_COLOURS), BLOCK_NUMBERS),
            SightHead(width, len(CLOSED_COLOURS)),
        )

    def _inputs(self, model: DreamVLAForActionPrediction) -> tuple[DreamVLAProcessor, BatchMaker]:
        processor = cast(DreamVLAProcessor, DreamVLAProcessor.from_pretrained(self._plan.layout))
        return processor, BatchMaker(model, processor, KEY)

    def _train(
        self,
        learner: AlignmentLearner | ActionLearner,
        model: DreamVLAForActionPrediction,
        variant: Variant,
        settings: TrainSettings,
        name: str,
        *,
        align: bool,
    ) -> Trainer:
        assert self._store is not None
        model.requires_grad_(True)
        model.lm_head.requires_grad_(not variant.objective.continuous)
        labelled = align or getattr(learner, "alignment", None) is not None
        feed = Feeder(
            cast(SampleStore, Shortened(self._store, variant.chunk)),
            self._inputs(model)[1],
            self._plan.augmentation,
            label=BLOCK_LABEL if labelled else None,
            sight=SIGHT_LABEL if labelled else None,
            names=CLOSED_COLOURS,
            align=align,
        )
        numbers: NDArray[np.int64] = np.arange(len(self._store))
        order = SampleOrder(numbers, settings.batch_size, settings.seed)
        progress = TrainingProgress(name, settings.steps)
        trainer = Trainer(learner, feed, order, settings, self._folder / name, progress=progress)
        trainer.run()
        return trainer

    def _begin_from_alignment(self, learner: ActionLearner) -> None:
        saved = torch.load(self._folder / _ALIGNMENT / _BACKBONE, weights_only=True)
        own = learner.state_dict()
        # Heads belong to an objective and were not trained by the alignment.
        beside = ("model.action_head.", "model.noisy_action_projector.")
        shared = {name: t for name, t in saved.items() if name in own and not name.startswith(beside)}
        missing = learner.load_state_dict(shared, strict=False).missing_keys
        assert all(name.startswith(beside) for name in missing), missing

    def _publish(self, model: DreamVLAForActionPrediction, variant: Variant, checkpoint: Path) -> None:
        configuration = {**asdict(variant), "objective": variant.objective.value, **asdict(self._budget)}
        about = Publication(
            title=variant.name,
            summary="One variant of a comparison at equal budget.",
            configuration=configuration_of(configuration),
            embodiment=self._robot_text(variant.chunk),
            stages=[(variant.name, self._folder / variant.name)],
            base="random weights",
        )
        publish(model, checkpoint, self._plan.layout, about)


def comparison_table(results: Sequence[dict[str, Any]]) -> str:
    """Lay out what came of variants."""
    rows = [
        (one["variant"], str(one["steps"]), f"{one['action_loss']:.4f}", *(one["rates"][k] for k in KINDS))
        for one in results
    ]
    return table(("variant", "steps", "loss", *KINDS), rows, right=(1, 2), width=160)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare from the command line.

    :param argv: Arguments, ``sys.argv[1:]`` by default.
    :returns: The exit status.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="+", choices=(*COMPARISONS, "all"))
    parser.add_argument("--work", type=Path, default=Path("out/comparison"), help="where everything is kept")
    parser.add_argument("--episodes", type=int, default=2000, help="demonstrations (default: %(default)s)")
    parser.add_argument("--alignment-steps", type=int, default=1500, help="shared (default: %(default)s)")
    parser.add_argument("--action-steps", type=int, default=2000, help="of each (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tries", type=int, default=50, help="of each kind of task (default: %(default)s)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="variants that are trained at a time"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    budget = Budget(
        arguments.episodes,
        arguments.alignment_steps,
        arguments.action_steps,
        arguments.batch,
        arguments.tries,
        arguments.seed,
    )
    chosen = COMPARISONS if "all" in arguments.what else {name: COMPARISONS[name] for name in arguments.what}
    Comparison(arguments.work, budget).prepare(arguments.processes)
    run_variants(arguments.work, budget, chosen, arguments.processes)
    return 0


def run_variants(
    work: Path, budget: Budget, chosen: Mapping[str, Sequence[Variant]], processes: int
) -> dict[str, list[dict[str, Any]]]:
    """Train and try what comparisons name, each variant once; print their tables and draw ``comparison.png``.

    :param work: Where :meth:`Comparison.prepare` has been.
    :param processes: Variants at a time, on one thread each.
    :returns: What came of the variants of each comparison.
    """
    # What takes longest comes first, so that no process is left alone with it.
    every = sorted(
        {variant for variants in chosen.values() for variant in variants},
        key=lambda variant: (variant.aligned, -variant.chunk, variant.name),
    )
    found: dict[Variant, dict[str, Any]] = {}
    # Not a pool of multiprocessing: tries run in processes of their own, which its workers may not have.
    with ProcessPoolExecutor(
        min(processes, len(every)), multiprocessing.get_context("spawn"), _use_one_thread
    ) as pool:
        for result, variant in zip(pool.map(partial(_run_variant, work, budget), every), every, strict=True):
            found[variant] = result
            print(f"{variant.name}: {', '.join(f'{k} {r}' for k, r in result['rates'].items())}", flush=True)
    done = {name: [found[variant] for variant in variants] for name, variants in chosen.items()}
    for name, results in done.items():
        print(f"\n{name}\n{comparison_table(results)}", flush=True)
    write_comparison(work / "comparison.png", done)
    return done


def _use_one_thread() -> None:
    torch.set_num_threads(1)


def _run_variant(work: Path, budget: Budget, variant: Variant) -> dict[str, Any]:
    comparison = Comparison(work, budget)
    comparison.prepare()
    return comparison.run(variant)


if __name__ == "__main__":
    sys.exit(main())
