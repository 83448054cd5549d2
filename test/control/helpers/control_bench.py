"""A controller on a simulated clock, with an arm that follows its target and checks every command."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import pytest

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.control import Command, Controller, ControlSettings, Mode
from dream_vla_ros.control.cone import Cone
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose
from dream_vla_ros.robot_state import RobotState

SECOND = 1_000_000_000
# ROS time and steady clock start apart, so that mixing them up shows.
ROS_START_NS = 1_700_000_000 * SECOND
STEADY_START_NS = 5 * SECOND
GOAL = bytes([1]) * 16
OTHER_GOAL = bytes([2]) * 16
CENTRE = Pose(np.array([0.35, 0.0, 0.25]), np.array([0.0, 1.0, 0.0, 0.0]))
TOLERANCE = 1e-9
STOP_S = 0.2
# Averaging the orientations of a few ticks cuts across the cone's curved surface [rad].
CONE_TOLERANCE = 5e-3


def embodiment(**values: object) -> Embodiment:
    """Make a robot; names use ``__`` for the dot, for example ``limits__linear_speed``."""
    base = {"robot": "bench", "cameras.names": ["third_person"], "cameras.third_person.topic": "image"}
    return Embodiment.from_parameters(
        base | {name.replace("__", "."): value for name, value in values.items()}
    )


def chunk(
    stamp_ns: int,
    translation: object = (0.0, 0.0, 0.0),
    rotation: object = (0.0, 0.0, 0.0),
    gripper: object = 1.0,
    *,
    steps: int = 8,
    period_s: float = 0.2,
    goal: bytes = GOAL,
    chunk_id: int = 1,
) -> ActionChunk:
    """Make a chunk; a single step is repeated."""
    return ActionChunk(
        np.broadcast_to(np.asarray(translation, dtype=float), (steps, 3)),
        np.broadcast_to(np.asarray(rotation, dtype=float), (steps, 3)),
        np.broadcast_to(np.asarray(gripper, dtype=float), (steps,)),
        period_s,
        stamp_ns,
        goal,
        chunk_id,
    )


@dataclass
class Bench:
    """Runs a controller tick by tick.

    :param follow: Share of the way to the target the arm covers in one tick; 1 is a perfect arm.
    """

    robot: Embodiment = field(default_factory=embodiment)
    start: Pose = CENTRE
    follow: float = 1.0
    settings: ControlSettings = field(default_factory=ControlSettings)
    commands: list[Command] = field(default_factory=list)
    ros_ns: int = ROS_START_NS
    steady_ns: int = STEADY_START_NS
    heartbeats: bool = True
    measuring: bool = True
    goal: bytes | None = None

    def __post_init__(self) -> None:
        self.controller = Controller(self.robot, self.settings)
        self.period_s = 1.0 / self.robot.timing.control_rate
        self.period_ns = round(self.period_s * SECOND)
        self.measured = self.start
        self.state: RobotState | None = None
        self._heard_ns = 0

    @property
    def last(self) -> Command:
        return self.commands[-1]

    @property
    def target(self) -> Pose:
        assert self.last.target is not None
        return self.last.target

    def begin(self, goal: bytes = GOAL) -> None:
        """Make a goal active; heartbeats follow at 10 Hz."""
        self.goal = goal
        self._beat()

    def end(self) -> None:
        """Let the policy say that no goal is active."""
        self.goal = None
        self._beat()

    def _beat(self) -> None:
        self.controller.heartbeat(self.goal is not None, self.goal or bytes(16), self.steady_ns)
        self._heard_ns = self.steady_ns

    def tick(self, count: int = 1, *, late_ns: int = 0) -> Command:
        """Run ticks; the arm moves after each, and time passes."""
        for _ in range(count):
            if self.heartbeats and self.steady_ns - self._heard_ns >= SECOND // 10:
                self._beat()
            if self.measuring:
                self.state = RobotState(self.ros_ns, self.steady_ns, self.measured, {}, None, 1.0)
            command = self.controller.tick(self.ros_ns, self.steady_ns, self.state)
            self.commands.append(command)
            if command.target is not None and command.send:
                self._move_arm(command.target)
            self.ros_ns += self.period_ns + late_ns
            self.steady_ns += self.period_ns + late_ns
        return self.last

    def run(self, seconds: float) -> Command:
        """Run ticks for a while."""
        return self.tick(max(1, round(seconds / self.period_s)))

    def until(self, mode: Mode, limit_s: float = 5.0) -> Command:
        """Run ticks until a mode is reached."""
        for _ in range(round(limit_s / self.period_s)):
            if self.tick().mode is mode:
                return self.last
        raise AssertionError(f"{mode.name} not reached within {limit_s} s, but {self.last.mode.name}")

    def give(self, *arguments: object, **keywords: object) -> object:
        """Hand the controller a chunk captured now; see :func:`chunk`."""
        return self.controller.take_chunk(chunk(self.ros_ns, *arguments, **keywords), self.ros_ns)

    def set_clock(self, offset_s: float) -> None:
        """Set ROS time, leaving the steady clock alone."""
        self.ros_ns += round(offset_s * SECOND)

    def _move_arm(self, target: Pose) -> None:
        translation, rotation = self.measured.motion_to(target)
        self.measured = self.measured.moved(translation * self.follow, rotation * self.follow)


def without_limits() -> dict[str, object]:
    """Limits so wide that they never act on ordinary chunks."""
    return {
        "limits__linear_speed": 2.0,
        "limits__angular_speed": 6.0,
        "limits__linear_acceleration": 50.0,
        "limits__angular_acceleration": 200.0,
        "limits__linear_jerk": 1e9,
        "limits__angular_jerk": 1e9,
        "limits__leash_distance": 0.5,
        "limits__leash_angle": 3.0,
        "limits__workspace_min": [-9.0, -9.0, -9.0],
        "limits__workspace_max": [9.0, 9.0, 9.0],
    }


def check_limits(bench: Bench, *, inside: bool = True) -> None:
    """Assert that no command broke a limit, and that targets are the sum of what was commanded."""
    limits = bench.robot.limits
    cone = Cone.from_limits(limits)
    low, high = np.array(limits.workspace_min), np.array(limits.workspace_max)
    before_linear = before_angular = before_acceleration = before_angular_acceleration = np.zeros(3)
    previous: Command | None = None
    for command in bench.commands:
        linear, angular = command.linear, command.angular
        assert np.linalg.norm(linear) <= limits.linear_speed + TOLERANCE
        assert np.linalg.norm(angular) <= limits.angular_speed + TOLERANCE
        period = command.duration_s
        assert np.linalg.norm(linear - before_linear) <= limits.linear_acceleration * period + TOLERANCE
        assert np.linalg.norm(angular - before_angular) <= limits.angular_acceleration * period + TOLERANCE
        acceleration = (linear - before_linear) / period
        angular_acceleration = (angular - before_angular) / period
        jerk = np.linalg.norm(acceleration - before_acceleration) / period
        angular_jerk = np.linalg.norm(angular_acceleration - before_angular_acceleration) / period
        assert jerk <= limits.linear_jerk * (1.0 + TOLERANCE)
        assert angular_jerk <= limits.angular_jerk * (1.0 + TOLERANCE)
        before_linear, before_angular = linear, angular
        before_acceleration, before_angular_acceleration = acceleration, angular_acceleration
        if command.target is not None and previous is not None and previous.send and command.send:
            assert previous.target is not None
            expected = previous.target.moved(command.translation, command.rotation)
            np.testing.assert_allclose(command.target.position, expected.position, atol=TOLERANCE)
            np.testing.assert_allclose(command.target.quaternion, expected.quaternion, atol=TOLERANCE)
            tilt = cone.tilt(command.target.quaternion)
            assert tilt <= max(cone.angle, cone.tilt(previous.target.quaternion)) + CONE_TOLERANCE
            if not inside:
                _check_inwards(previous.target.position, command.target.position, low, high)
        if inside and command.target is not None:
            assert np.all(command.target.position >= low - TOLERANCE)
            assert np.all(command.target.position <= high + TOLERANCE)
        previous = command


def _check_inwards(before: np.ndarray, after: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    assert np.all(after >= np.minimum(low, before) - TOLERANCE)
    assert np.all(after <= np.maximum(high, before) + TOLERANCE)


def with_limits(robot: Embodiment, **values: object) -> Embodiment:
    """Replace limits of a robot."""
    return dataclasses.replace(robot, limits=dataclasses.replace(robot.limits, **values))


def ready(**keywords: object) -> Bench:
    """A bench with a fresh state and an active goal."""
    bench = Bench(**keywords)
    bench.tick()
    bench.begin()
    bench.tick()
    return bench


def executing(**keywords: object) -> Bench:
    """A bench half a second into a chunk along x."""
    bench = ready(**keywords)
    assert bench.give((0.02, 0.0, 0.0)) is None
    bench.run(0.5)
    assert bench.last.mode is Mode.EXECUTING
    assert bench.last.linear[0] == pytest.approx(0.1)
    return bench


def check_stands_in_time(bench: Bench, since: int) -> None:
    """Assert that the arm stood within the stop time of a tick, and stayed."""
    ticks = round(STOP_S / bench.period_s)
    bench.tick(ticks + 5)
    for command in bench.commands[since + ticks :]:
        assert not command.linear.any()
        assert not command.angular.any()
    check_limits(bench)
