"""Measure how well a checkpoint answers questions about the simulated table, and calibrate its answers.

Draws scenes with seeds that training does not use, asks as many questions with the answer yes as with no,
fits a temperature on half of the scenes and measures accuracy and expected calibration error on the other
half. The temperature is stored in the checkpoint, as grounding_calibration.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dream_vla_ros.nodes.cli.progress import ProgressLine
from dream_vla_ros.nodes.resources import TABLETOP, robot_config

# Training draws its scenes from small seeds.
_FIRST_SEED = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint that answers questions")
    parser.add_argument("--scenes", type=int, default=200, metavar="N", help="scenes to draw (default: 200)")
    parser.add_argument("--questions", type=int, default=12, metavar="N", help="of each (default: 12)")
    parser.add_argument("--blocks", type=int, default=4, metavar="N", help="blocks on the table")
    parser.add_argument("--image-size", type=int, default=224, metavar="PX", help="side of the pictures")
    parser.add_argument("--device", default="auto", help="torch device (default: auto)")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and of the split")
    parser.add_argument("--dry-run", action="store_true", help="store nothing")


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command.

    :returns: The exit status.
    """
    import numpy as np

    from dream_vla_ros.embodiment import Embodiment
    from dream_vla_ros.nodes.planner.model import DreamVlModel, ModelFailedError
    from dream_vla_ros.nodes.planner.model_settings import DreamVlSettings
    from dream_vla_ros.planning.calibration import FILE_NAME, CalibrationError, accuracy, fit_held_out
    from dream_vla_ros.planning.interfaces import Observation
    from dream_vla_ros.robot_state import RobotState
    from dream_vla_ros.sim.appearance import CLOSED_COLOURS, MODEST_VARIATION, OPEN_COLOURS
    from dream_vla_ros.sim.cameras import CAMERAS
    from dream_vla_ros.sim.simulation import TabletopSim
    from dream_vla_ros.sim.symbols import symbols
    from dream_vla_ros.training.questions import draw_questions, draw_scene

    progress = ProgressLine(sys.stdout)
    try:
        settings = DreamVlSettings(str(arguments.checkpoint), device=arguments.device)
        model = DreamVlModel.load(settings, Embodiment.from_file(robot_config(TABLETOP)))
        size = (arguments.image_size, arguments.image_size)
        sim = TabletopSim(num_blocks=arguments.blocks, image_size=size, variation=MODEST_VARIATION)
        known = CLOSED_COLOURS if arguments.blocks <= len(CLOSED_COLOURS) else OPEN_COLOURS
        given: list[float] = []
        right: list[bool] = []
        scenes: list[int] = []
        for number in range(arguments.scenes):
            rng = np.random.default_rng([_FIRST_SEED + arguments.seed, number])
            colours = [str(colour) for colour in rng.choice(known, arguments.blocks, replace=False)]
            table = sim.reset(draw_scene(colours, rng), rng)
            questions = draw_questions(symbols(table), colours, rng, arguments.questions)
            images = tuple(sim.render(camera).copy() for camera in CAMERAS)
            joints = sim.joint_positions()
            state = RobotState(0, 0, table.end_effector, joints, gripper=table.gripper)
            seen = Observation(images, state=state)
            given += model.yes_probabilities([question.text for question in questions], seen)
            right += [question.answer for question in questions]
            scenes += [number] * len(questions)
            progress.show(f"scene {number + 1} of {arguments.scenes}")
        progress.end()
        sim.close()
        calibration = fit_held_out(given, right, scenes, seed=arguments.seed)
    except (ModelFailedError, CalibrationError, ValueError) as error:
        progress.end()
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{accuracy(given, right):.1%} of {len(given)} answers are right, yes above one half")
    print(
        f"expected calibration error on {calibration.answers} held-out answers: "
        f"{calibration.error_before:.3f}, with temperature {calibration.temperature:.2f} "
        f"{calibration.error_after:.3f}"
    )
    if not arguments.dry_run:
        calibration.save(arguments.checkpoint)
        print(f"written to {arguments.checkpoint / FILE_NAME}")
    return 0
