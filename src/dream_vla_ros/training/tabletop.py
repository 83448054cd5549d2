"""Train the small Dream-VLA of the simulated tabletop, end to end, and write it as a checkpoint.

Stages, each resumed where it was cut short: expert demonstrations with recovery noise; alignment, in which
the words for blocks learn where the blocks are; actions by flow matching, with the alignment loss kept; then
rounds of corrections, in which the policy moves the arm and the expert says what it should have done, and of
actions again, with these. With ``--answer-steps`` it then learns to answer questions, see :mod:`.answering`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.images import Preprocessing
from dream_vla_ros.model.config import DreamConfig
from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.model.initialize import random_model
from dream_vla_ros.model.processor import DreamVLAProcessor
from dream_vla_ros.model.statistics import DatasetStatistics
from dream_vla_ros.model.tokenizer import with_token_ids
from dream_vla_ros.policy.preprocessing import preprocessing_of
from dream_vla_ros.policy.sampling import SAMPLES, STEPS
from dream_vla_ros.sim.appearance import CLOSED_COLOURS
from dream_vla_ros.sim.rollout import Driver
from dream_vla_ros.training import answering
from dream_vla_ros.training.alignment import NamedPlaces, PlaceHead, SceneHead, SightHead
from dream_vla_ros.training.batches import BatchMaker
from dream_vla_ros.training.corrections import PolicyDriver
from dream_vla_ros.training.demonstrations import (
    BLOCK_LABEL,
    BLOCK_NUMBERS,
    SIGHT_LABEL,
    Recipe,
    write_demonstrations,
)
from dream_vla_ros.training.evaluation import Plan as Tries
from dream_vla_ros.training.evaluation import evaluate, rates
from dream_vla_ros.training.learners import ActionLearner, Alignment, AlignmentLearner, Feeder
from dream_vla_ros.training.order import MixedOrder, SampleOrder
from dream_vla_ros.training.processes import run_in_processes
from dream_vla_ros.training.progress import TrainingProgress
from dream_vla_ros.training.publish import Publication, configuration_of, publish
from dream_vla_ros.training.settings import TrainSettings
from dream_vla_ros.training.store import SampleStore
from dream_vla_ros.training.tabletop_plan import ALIGNMENT, ROOT, Plan, Round
from dream_vla_ros.training.trainer import Trainer

KEY = "tabletop"
WEIGHTS = "weights.pt"
DEMONSTRATIONS = "demonstrations"
_MODULE = "dream_vla_ros.training.tabletop"
_STATISTICS = "statistics.json"
_OWN = "own_"
"""What the names of shards begin with whose episodes the policy drove."""
_HOW_TRIED = (
    "Tried as by `dream_vla evaluate`: 4 blocks, unseen scenes, all phrasings, without DDS, latency 0.1 s; "
    "intervals of 95 %"
)
# The demonstrations know 13 phrases; people know more.
_REWORDED = 0.7
# Matrices of a network this narrow begin larger than the published 7B's, or its first steps teach nothing.
INITIAL_SPREAD = 0.05


def train(plan: Plan, folder: Path, stage: str) -> None:
    """Run one training stage on demonstrations that are there, and keep the averaged weights.

    :param stage: One of the plan's.
    """
    align = stage == ALIGNMENT
    settings = plan.stages[stage]
    store = SampleStore(folder / DEMONSTRATIONS)
    model = fresh_model(plan, _statistics(plan, folder))
    processor = cast(DreamVLAProcessor, DreamVLAProcessor.from_pretrained(plan.layout))
    torch.manual_seed(settings.seed)  # of the heads
    maker = BatchMaker(model, processor, KEY)
    prompt = maker.prompts([store.instructions()[0]], *store.take([0]).images.shape[1:3]).input_ids
    alignment = Alignment(
        PlaceHead(model.config.hidden_size, BLOCK_NUMBERS),
        NamedPlaces(processor, CLOSED_COLOURS),
        SceneHead(
            model.config.hidden_size,
            int((prompt == model.config.tokens.image).sum()),
            len(CLOSED_COLOURS),
            BLOCK_NUMBERS,
        ),
        SightHead(model.config.hidden_size, len(CLOSED_COLOURS)),
    )
    model.requires_grad_(True)
    model.lm_head.requires_grad_(False)  # no token is predicted here
    learner: AlignmentLearner | ActionLearner
    if align:
        learner = AlignmentLearner(model, alignment)
    else:
        learner = ActionLearner(
            model, alignment, alignment_weight=plan.alignment_weight, start_share=plan.start_share
        )
        names = list(plan.stages)
        before = names[names.index(stage) - 1]
        learner.load_state_dict(torch.load(folder / before / WEIGHTS, weights_only=True))
    trainer = Trainer(
        learner,
        Feeder(
            store,
            maker,
            plan.augmentation,
            label=BLOCK_LABEL,
            sight=SIGHT_LABEL,
            names=CLOSED_COLOURS,
            align=align,
            reworded=_REWORDED,
        ),
        draw_order(store, settings, plan.round_of(stage)),
        settings,
        folder / stage,
        progress=TrainingProgress(stage, settings.steps),
    )
    trainer.run()
    with trainer.averaged():
        if trainer.is_main:
            _save(learner.state_dict(), folder / stage / WEIGHTS)


def draw_order(store: SampleStore, settings: TrainSettings, of: Round | None) -> SampleOrder | MixedOrder:
    """Return which samples a stage takes.

    :param of: Its round of corrections; None for the stages before the first.
    """
    own, every = store.numbers(_OWN), np.arange(len(store))
    if of is None or not len(own):
        return SampleOrder(every, settings.batch_size, settings.seed)
    groups, shares = (np.setdiff1d(every, own), own), (1.0 - of.own_share, of.own_share)
    return MixedOrder(groups, shares, settings.batch_size, settings.seed)


def fresh_model(plan: Plan, statistics: DatasetStatistics) -> DreamVLAForActionPrediction:
    """Make the model with random weights.

    :param statistics: Of the demonstrations.
    """
    config = with_token_ids(DreamConfig.from_folder(plan.layout), plan.layout, for_actions=True)
    raw = dict(config.raw) | {"image_jpeg": False, "image_crop_area": plan.augmentation.crop_area}
    raw |= {STEPS: plan.sampling.steps, SAMPLES: plan.sampling.samples}
    raw["initializer_range"] = INITIAL_SPREAD
    config = replace(config, raw=raw, initializer_range=INITIAL_SPREAD)
    return random_model(
        config,
        action_dim=statistics.action[KEY].dim,
        proprio_dim=statistics.proprio[KEY].dim,
        statistics=statistics,
        seed=plan.demonstrations.seed,
    )


def _statistics(plan: Plan, folder: Path) -> DatasetStatistics:
    # What stages later add to the demonstrations must not change what the weights of stages before mean.
    path = folder / _STATISTICS
    if not path.exists():
        data = tabletop_statistics(plan.layout, SampleStore(folder / DEMONSTRATIONS)).data
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(data), encoding="utf-8")
        os.replace(partial, path)
    return DatasetStatistics(json.loads(path.read_text(encoding="utf-8")), str(path))


def tabletop_statistics(layout: Path, store: SampleStore) -> DatasetStatistics:
    """Return the layout's bounds of actions, which are the expert's, and the states' percentiles."""
    data = json.loads((layout / "dataset_statistics.json").read_text(encoding="utf-8"))
    states = store.column("proprio").astype(np.float64)
    low, high = np.quantile(states, [0.01, 0.99], axis=0)
    data[KEY]["proprio"] = {
        "mean": states.mean(axis=0).tolist(),
        "std": states.std(axis=0).tolist(),
        "min": states.min(axis=0).tolist(),
        "max": states.max(axis=0).tolist(),
        "q01": low.tolist(),
        "q99": high.tolist(),
    }
    data[KEY]["num_transitions"] = len(store)
    data[KEY]["num_trajectories"] = len(np.unique(store.column("episode")))
    return DatasetStatistics(data, "demonstrations")


def main(argv: Sequence[str] | None = None) -> int:
    """Train from the command line.

    :param argv: Arguments, ``sys.argv[1:]`` by default.
    :returns: The exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("out/train-tabletop"), help="where stages are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "models" / KEY, help="checkpoint folder to write")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="processes to share the work"
    )
    parser.add_argument("--episodes", type=int, default=Plan().demonstrations.episodes)
    parser.add_argument("--towers", type=int, default=Plan().towers.episodes, help="episodes with towers")
    parser.add_argument("--alignment-steps", type=int, default=Plan().alignment.steps)
    parser.add_argument("--action-steps", type=int, default=Plan().actions.steps)
    parser.add_argument(
        "--corrections", type=int, nargs="*", metavar="EPISODES", help="of each round; none, and it has none"
    )
    parser.add_argument("--refinement-steps", type=int, nargs="*", metavar="STEPS", help="of each round")
    parser.add_argument(
        "--evaluate", type=int, default=50, metavar="N", help="tries of each kind of task for the model card"
    )
    parser.add_argument(
        "--answer-steps", type=int, default=0, metavar="N", help="then teach it to answer questions"
    )
    parser.add_argument("--stage", choices=list(Plan().stages), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    plan = _plan(arguments)
    if arguments.stage:
        torch.set_num_threads(1)
        train(plan, arguments.work, arguments.stage)
        return 0
    embodiment = Embodiment.from_file(plan.embodiment)
    images = images_of(plan)

    def write(what: str, recipe: Recipe, name: str, load_driver: Callable[[], Driver] | None = None) -> None:
        write_demonstrations(
            arguments.work / DEMONSTRATIONS,
            recipe,
            embodiment,
            images,
            workers=arguments.processes,
            progress=lambda done, total: print(f"{what}: {done} of {total} shards", flush=True),
            name=name,
            load_driver=load_driver,
        )

    write("demonstrations", plan.demonstrations, "expert")
    write("demonstrations with towers", plan.towers, "tower")
    given = list(argv if argv is not None else sys.argv[1:])
    _statistics(plan, arguments.work)
    names = list(plan.stages)
    for at, stage in enumerate(names):
        if (arguments.work / stage / WEIGHTS).exists():
            continue
        if (of := plan.round_of(stage)) is not None:
            driver = arguments.work / f"{names[at - 1]}_checkpoint"
            publish_stages(plan, arguments.work, driver, stages=names[:at])
            load = partial(PolicyDriver.load, driver, embodiment)
            write("corrections", of.corrections, f"{_OWN}{stage}", load)
        if status := run_in_processes(_MODULE, arguments.processes, [*given, "--stage", stage]):
            return status
    publish_stages(plan, arguments.work, arguments.out)
    if arguments.evaluate:
        tries = Tries(episodes=arguments.evaluate)
        records = evaluate(arguments.out, embodiment, tries, workers=arguments.processes)
        told = tuple(f"Success, {kind}: {rate.words}" for kind, rate in rates(records).items())
        print("\n".join(told))
        publish_stages(plan, arguments.work, arguments.out, (*told, _HOW_TRIED))
    print(f"wrote {arguments.out}")
    if arguments.answer_steps:
        steps, folder = str(arguments.answer_steps), str(arguments.work / DEMONSTRATIONS)
        options = ["--steps", steps, "--demonstrations", folder, "--processes", str(arguments.processes)]
        return answering.main([str(arguments.out), "--work", str(arguments.work), *options])
    return 0


def publish_stages(
    plan: Plan, work: Path, out: Path, results: Sequence[str] = (), *, stages: Sequence[str] | None = None
) -> None:
    """Write the checkpoint of stages that are complete.

    :param work: Folder of the stages.
    :param out: Checkpoint folder.
    :param results: What was seen of it, one sentence each, for the model card.
    :param stages: Those that are done, all by default; the last one's weights are written.
    """
    stages = stages or list(plan.stages)
    model = fresh_model(plan, _statistics(plan, work))
    trained = torch.load(work / stages[-1] / WEIGHTS, weights_only=True)
    model.load_state_dict(
        {name.removeprefix("model."): t for name, t in trained.items() if name.startswith("model.")}
    )
    about = Publication(
        title="Dream-VLA for the simulated tabletop",
        summary="A small model of the Dream-VLA layout for the simulated arm of this package. It picks, "
        "stacks and pushes blocks by their colours, in simulation only.",
        configuration=configuration_of(asdict(plan) | {"layout": plan.layout.name, "embodiment": KEY}),
        embodiment=plan.embodiment.read_text(encoding="utf-8"),
        stages=[(stage, work / stage) for stage in stages],
        base="random weights",
        notes=(
            "Data: demonstrations of the scripted expert with recovery noise, and episodes that the model "
            "itself drove between trainings, labelled with what the expert would have done",
            "Labels of alignment: simulator poses of the blocks, at the words that name them and at the "
            "image tokens, and where the blocks and their outlines are in the images",
            f"Sampling: {plan.sampling.words}, averaged (`{STEPS}` and `{SAMPLES}` in config.json)",
            *results,
        ),
    )
    # Half precision on disk: a third of the size limit, and the weights are small.
    publish(model, out, plan.layout, about, dtype=torch.float16)


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = Plan()
    episodes = [one.corrections.episodes for one in plan.rounds]
    steps = [one.training.steps for one in plan.rounds]
    episodes = episodes if arguments.corrections is None else arguments.corrections
    steps = steps if arguments.refinement_steps is None else arguments.refinement_steps
    if len(episodes) != len(steps) or len(steps) > len(plan.rounds):
        raise SystemExit(
            f"--corrections has {len(episodes)} rounds and --refinement-steps {len(steps)}; give both the "
            f"same number of rounds, at most {len(plan.rounds)}"
        )
    rounds = tuple(
        replace(
            one,
            corrections=replace(one.corrections, episodes=some),
            training=replace(one.training, steps=many),
        )
        for one, some, many in zip(plan.rounds, episodes, steps, strict=False)
    )
    return replace(
        plan,
        demonstrations=replace(plan.demonstrations, episodes=arguments.episodes),
        towers=replace(plan.towers, episodes=arguments.towers),
        alignment=replace(plan.alignment, steps=arguments.alignment_steps),
        actions=replace(plan.actions, steps=arguments.action_steps),
        rounds=rounds,
    )


def images_of(plan: Plan) -> Preprocessing:
    """Return what is done to camera images."""
    raw = json.loads((plan.layout / "config.json").read_text(encoding="utf-8"))
    return replace(preprocessing_of(raw, str(plan.layout)), jpeg=False, crop_area=plan.augmentation.crop_area)


def _save(state: dict[str, torch.Tensor], path: Path) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


if __name__ == "__main__":
    raise SystemExit(main())
