"""Do actions arrive at the arm as the motion they meant? LIBERO's spring offsets and Bridge's reached states.

Plays the same actions on a model of the robot they were trained on, and through this package's codec and
controller on an arm that goes where it is sent, and draws both: docs/images/actions.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.control import Controller
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import (
    Array,
    Pose,
    quaternion_conjugate,
    quaternion_multiply,
    rotation_between,
    rpy_from_quaternion,
)
from dream_vla_ros.parameters import read_file
from dream_vla_ros.policy.actions import ActionCodec
from dream_vla_ros.robot_state import RobotState

ROOT = Path(__file__).resolve().parents[1]
GOAL = bytes(range(16))
START_NS = 1_700_000_000_000_000_000
# robosuite's operational space controller in LIBERO: unit mass, critically damped.
STIFFNESS = 150.0
PHYSICS_S = 0.001
STEPS = {"LIBERO": 48, "Bridge": 25}


@dataclass(frozen=True, eq=False)
class Path3:
    """Where an end effector was.

    :param times: (n,) s.
    :param poses: n poses.
    """

    times: Array
    poses: list[Pose]

    @property
    def way(self) -> Array:
        """(n, 3) from where it began [m]."""
        return np.array([pose.position - self.poses[0].position for pose in self.poses])

    @property
    def turn(self) -> Array:
        """(n, 3) rotation vector from where it began [rad]."""
        return np.array([rotation_between(self.poses[0].quaternion, pose.quaternion) for pose in self.poses])

    def off(self, other: Path3) -> tuple[float, float]:
        """Return how far the ends lie apart [m, rad]."""
        moved, turned = self.poses[-1].motion_to(other.poses[-1])
        return float(np.linalg.norm(moved)), float(np.linalg.norm(turned))


@dataclass(frozen=True, eq=False)
class Case:
    """One training set's actions.

    :param trained: What the robot of the training set did with them, or did when they were recorded.
    :param ours: What the arm does with them here.
    :param naive: The same with a plausible mistake.
    :param mistake: Which.
    """

    name: str
    trained: Path3
    ours: Path3
    naive: Path3
    mistake: str


def bell(steps: int) -> Array:
    """Return a smooth rise and fall over a number of steps, (steps,) 0 to 1."""
    return np.sin(np.pi * (np.arange(steps) + 0.5) / steps) ** 2


def spring(actions: Array, embodiment: Embodiment, start: Pose) -> Path3:
    """Play LIBERO actions on a model of LIBERO's robot.

    Each action sets a goal that far from the measured pose; a critically damped spring draws the arm towards
    it until the next action comes.

    :param actions: (steps, 7) within -1 to 1.
    """
    action = embodiment.action
    damping = 2.0 * np.sqrt(STIFFNESS)
    pose, linear, angular = start, np.zeros(3), np.zeros(3)
    times, poses = [0.0], [start]
    for numbers in actions:
        goal = pose.moved(numbers[:3] * action.translation_scale, numbers[3:6] * action.rotation_scale)
        for _ in range(round(action.period_s / PHYSICS_S)):
            way, turn = pose.motion_to(goal)
            linear = linear + (STIFFNESS * way - damping * linear) * PHYSICS_S
            angular = angular + (STIFFNESS * turn - damping * angular) * PHYSICS_S
            pose = pose.moved(linear * PHYSICS_S, angular * PHYSICS_S)
        times.append(times[-1] + action.period_s)
        poses.append(pose)
    return Path3(np.array(times), poses)


def execute(embodiment: Embodiment, actions: Array, start: Pose) -> Path3:
    """Play actions through codec and controller, in chunks, on an arm that goes where it is sent."""
    codec, controller = ActionCodec.from_embodiment(embodiment), Controller(embodiment)
    timing, action = embodiment.timing, embodiment.action
    tick_ns = round(1e9 / timing.control_rate)
    ticks = round(len(actions) * action.period_s * timing.control_rate)
    size, pose, taken = action.chunk_size, start, 0
    times, poses = [0.0], [start]
    # Time to come to rest at the end of the last chunk.
    for tick in range(ticks + round(0.5 * timing.control_rate)):
        now_ns = START_NS + tick * tick_ns
        controller.heartbeat(True, GOAL, now_ns)
        controller_state = RobotState(now_ns, now_ns, pose, {})
        due = taken < len(actions) and tick * tick_ns * 1e-9 >= taken * action.period_s - 1e-9
        if tick and due:
            motion = codec.to_motion(actions[taken : taken + size], pose.quaternion)
            chunk = ActionChunk(
                motion.translation, motion.rotation, motion.gripper, action.period_s, now_ns, GOAL, taken + 1
            )
            refused = controller.take_chunk(chunk, now_ns)
            if refused is not None:
                raise RuntimeError(refused.message)
            taken += size
        command = controller.tick(now_ns, now_ns, controller_state)
        pose = command.target or pose
        times.append((tick + 1) / timing.control_rate)
        poses.append(pose)
    return Path3(np.array(times), poses)


def variant(name: str, **changes: object) -> Embodiment:
    """Read a robot of ``config/`` with some parameters changed."""
    values = read_file(ROOT / "config" / f"{name}.yaml")
    return Embodiment.from_parameters(values | {key.replace("__", "."): v for key, v in changes.items()})


def libero() -> Case:
    """LIBERO: numbers within -1 to 1 are offsets of a spring, of which a part is achieved in a step."""
    changes = {
        "action__rate": 20.0,
        "action__translation_scale": 0.05,
        "action__rotation_scale": 0.5,
        "action__achieved_fraction": 0.27,
    }
    embodiment = variant("franka", **changes)
    start = Pose(np.array([0.45, 0.0, 0.30]), np.array([1.0, 0.0, 0.0, 0.0]))
    actions = np.ones((STEPS["LIBERO"], 7))
    actions[:, :6] = bell(STEPS["LIBERO"])[:, None] * [0.2, 0.5, -0.4, 0.0, 0.0, 0.12]
    naive = variant("franka", **(changes | {"action__achieved_fraction": 1.0}))
    return Case(
        "LIBERO",
        spring(actions, embodiment, start),
        execute(embodiment, actions, start),
        execute(naive, actions, start),
        "offsets taken as achieved motion",
    )


def bridge() -> Case:
    """Bridge: numbers are differences of reached positions and of Euler angles counted from gripper down."""
    embodiment = variant("widowx")
    down = embodiment.proprio.reference_quaternion
    start = Pose(np.array([0.28, -0.10, 0.20]), down)
    share = np.concatenate([[0.0], np.cumsum(bell(STEPS["Bridge"]))])
    share /= share[-1]
    recorded = [
        start.moved(s * np.array([0.12, 0.20, -0.08]), s * np.array([0.35, 0.15, 0.7])) for s in share
    ]
    states = np.array(
        [
            [*p.position, *rpy_from_quaternion(quaternion_multiply(p.quaternion, quaternion_conjugate(down)))]
            for p in recorded
        ]
    )
    actions = np.ones((STEPS["Bridge"], 7))
    actions[:, :6] = np.diff(states, axis=0)
    plain = variant("widowx", proprio__reference_rotation=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0])
    times = np.arange(STEPS["Bridge"] + 1) * embodiment.action.period_s
    return Case(
        "Bridge",
        Path3(times, recorded),
        execute(embodiment, actions, start),
        execute(plain, actions, start),
        "Euler angles not counted from gripper down",
    )


def cases() -> list[Case]:
    """Play all of them."""
    return [libero(), bridge()]


def draw(played: list[Case], path: Path) -> None:
    """Draw distance and angle over time, one column for each training set."""
    figure = Figure(figsize=(9.0, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(played), sharex="col")
    measures: tuple[tuple[str, Callable[[Path3], Array]], ...] = (
        ("moved [mm]", lambda p: 1000.0 * np.linalg.norm(p.way, axis=1)),
        ("turned [degrees]", lambda p: np.degrees(np.linalg.norm(p.turn, axis=1))),
    )
    for column, case in enumerate(played):
        for row, (label, measure) in enumerate(measures):
            axis = axes[row, column]
            axis.plot(case.naive.times, measure(case.naive), "--", color="#b0b0b0", label=case.mistake)
            axis.plot(
                case.trained.times,
                measure(case.trained),
                color="#c55a11",
                lw=4,
                alpha=0.45,
                label="robot of the training set",
            )
            axis.plot(
                case.ours.times, measure(case.ours), color="#1f4e79", label="arm driven by this package"
            )
            axis.set_ylabel(label)
            axis.grid(alpha=0.3)
        axes[0, column].set_title(case.name)
        axes[1, column].set_xlabel("time [s]")
        axes[1, column].legend(fontsize=8, loc="upper left")
        axes[1, column].margins(y=0.35)
    figure.savefig(path, dpi=110)


def main(arguments: list[str] | None = None) -> None:
    """Print how far the ends lie apart and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "actions.png")
    options = parser.parse_args(arguments)
    played = cases()
    print("| actions | moved | end off by | turned | off by | with the mistake off by |")
    print("|---|---|---|---|---|---|")
    for case in played:
        moved, turned = case.ours.off(case.trained)
        wrong_m, wrong_rad = case.naive.off(case.trained)
        way = 1000.0 * np.linalg.norm(case.trained.way[-1])
        turn = np.degrees(np.linalg.norm(case.trained.turn[-1]))
        print(
            f"| {case.name} | {way:.0f} mm | {1000.0 * moved:.1f} mm | {turn:.1f}° | "
            f"{np.degrees(turned):.2f}° | {1000.0 * wrong_m:.0f} mm, {np.degrees(wrong_rad):.1f}° |"
        )
    draw(played, options.out)


if __name__ == "__main__":
    main()
