"""The simulated tabletop as a robot on a ROS graph, in real time.

It stands where an arm's driver and two cameras would: it publishes images, joint states and the end-effector
pose, and follows target poses. One thread steps the physics and renders; the executor's only hands over
messages.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from dream_vla_ros.nodes.parameters import declare, declare_embodiment
from dream_vla_ros.nodes.serving import EXIT_FAULT, run_node
from dream_vla_ros.nodes.sim.cameras import SimCameras
from dream_vla_ros.nodes.sim.targets import SimTargets
from dream_vla_ros.nodes.sim.topics import SimTopics
from dream_vla_ros.nodes.spinner import Spinner
from dream_vla_ros.parameters import ParameterError, check, param, specs
from dream_vla_ros.sim.appearance import MODEST_VARIATION, OPEN_COLOURS
from dream_vla_ros.sim.cameras import CAMERAS
from dream_vla_ros.sim.pacing import Pacer
from dream_vla_ros.sim.scene import MAX_BLOCKS, MIN_BLOCKS
from dream_vla_ros.sim.simulation import CONTROL_PERIOD_S, SimulationError, TabletopSim, TargetStatus
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.tasks import Task, task_from_instruction

_BLOCKS_EVERY = round(0.1 / CONTROL_PERIOD_S)
_LOG_PERIOD_S = 2.0
_RESET_TIMEOUT_S = 5.0
# A centimetre is what neither lag nor inverse kinematics leaves open in the workspace.
_OUT_OF_REACH_M = 0.01


@dataclass(frozen=True)
class SimParameters:
    """How the simulation is set up. Task and seed take effect at the next ``~/reset``."""

    task: str = param(
        "pick up the red block",
        "Task that the blocks are laid out for and success is judged by, in words; applies at ~/reset.",
        read_only=False,
    )
    seed: int = param(
        0, "Seed of layout and looks; applies at ~/reset.", minimum=0, maximum=2**31 - 1, read_only=False
    )
    num_blocks: int = param(4, "Blocks on the table.", minimum=MIN_BLOCKS, maximum=MAX_BLOCKS)
    image_width: int = param(224, "Width of the images [pixels].", minimum=16, maximum=4096)
    image_height: int = param(224, "Height of the images [pixels].", minimum=16, maximum=4096)
    vary_looks: bool = param(False, "Vary camera, light and colours a little from seed to seed.")
    shadows: bool = param(False, "Render shadows: nicer pictures, forty times slower.")
    jpeg_quality: int = param(90, "Quality of compressed images.", minimum=1, maximum=100)
    target_timeout: float = param(
        0.25, "Silence on the target topic after which the arm holds [s].", minimum=0.05, maximum=10.0
    )


class SimNode(Node):
    """Steps the tabletop in real time and connects it to topics."""

    def __init__(self) -> None:
        super().__init__("sim")
        embodiment = declare_embodiment(self)
        parameters = declare(self, SimParameters)
        self._num_blocks = parameters.num_blocks
        try:
            task = self._parse(parameters.task)
            self._sim = TabletopSim(
                num_blocks=parameters.num_blocks,
                image_size=(parameters.image_height, parameters.image_width),
                variation=MODEST_VARIATION if parameters.vary_looks else None,
                shadows=parameters.shadows,
            )
            self._start = self._lay_out(task, parameters.seed)
        except ValueError as error:
            raise ParameterError(f"node '{self.get_fully_qualified_name()}': {error}") from error
        self._task, self._seed = task, parameters.seed
        self._camera_period_s = 1.0 / min(embodiment.timing.camera_rate, 1.0 / CONTROL_PERIOD_S)
        self._targets = SimTargets(self, embodiment, parameters.target_timeout)
        self._topics = SimTopics(self, embodiment)
        self._cameras = SimCameras(self, embodiment, parameters.jpeg_quality)
        self._topics.publish_task(task.instruction)
        self._reset_request: _Reset | None = None
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self.add_on_set_parameters_callback(self._check_parameters)
        self._reset_service = self.create_service(Trigger, "~/reset", self._on_reset)
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)
        self.get_logger().info(
            f"simulating {parameters.num_blocks} blocks for '{task.instruction}', seed {parameters.seed}"
        )

    @property
    def failure(self) -> Exception | None:
        """What ended the simulation by itself, if anything did."""
        return self._failure

    def start(self) -> None:
        """Begin to step and publish."""
        self._thread.start()

    def stop(self) -> None:
        """End the simulation's thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop()
        except Exception as error:
            self._failure = error
            self.get_logger().fatal(f"the simulation ended: {error!r}")
        finally:
            self._sim.close()

    def _loop(self) -> None:
        # The first image takes much longer than the others: better before time begins than amid a motion.
        self._sim.render(CAMERAS[0])
        pacer = Pacer(CONTROL_PERIOD_S)
        next_camera_s, tick = 0.0, 0
        while not self._stopping.is_set():
            if self._serve_reset():
                next_camera_s, tick = 0.0, 0
            self._follow_targets()
            try:
                self._sim.step()
            except SimulationError as error:
                self.get_logger().error(f"{error}; resetting")
                self._restart(self._task, self._seed)
                continue
            stamp_ns = self.get_clock().now().nanoseconds
            self._topics.publish_arm(self._sim, stamp_ns)
            if tick % _BLOCKS_EVERY == 0:
                state = self._sim.state()
                self._topics.publish_blocks(state, stamp_ns)
                self._topics.publish_success(self._task.goal.reached(self._start, state))
            if self._sim.time_s >= next_camera_s:
                self._cameras.publish(self._sim, stamp_ns)
                next_camera_s = max(next_camera_s + self._camera_period_s, self._sim.time_s)
            tick += 1
            self._report_delay(pacer.wait())

    def _follow_targets(self) -> None:
        targets = self._targets.take()
        if targets.gripper is not None:
            self._sim.set_gripper_target(targets.gripper)
        if targets.fault or targets.silence:
            self._sim.hold()
        if targets.fault:
            self.get_logger().error(f"holding: {targets.fault}", throttle_duration_sec=_LOG_PERIOD_S)
        elif targets.silence:
            self.get_logger().info(f"holding: {targets.silence}")
        if targets.pose is None:
            return
        report = self._sim.set_pose_target(targets.pose)
        if report.status is TargetStatus.REFUSED:
            self._sim.hold()
            self.get_logger().error(f"holding: {report.reason}", throttle_duration_sec=_LOG_PERIOD_S)
        elif report.status is TargetStatus.CLAMPED:
            self.get_logger().warning(f"clamped: {report.reason}", throttle_duration_sec=_LOG_PERIOD_S)
        elif self._sim.unreached()[0] > _OUT_OF_REACH_M:
            self.get_logger().warning(
                "the arm does not reach its target: it is "
                f"{self._sim.unreached()[0]:.3f} m away at a joint limit or out of reach",
                throttle_duration_sec=_LOG_PERIOD_S,
            )

    def _report_delay(self, given_up_s: float) -> None:
        if given_up_s > 0.0:
            self.get_logger().warning(
                f"slower than real time: {given_up_s:.2f} s lost; is the machine busy, or are images large?",
                throttle_duration_sec=_LOG_PERIOD_S,
            )

    def _parse(self, words: str) -> Task:
        task = task_from_instruction(words)
        # The four standard colours do not cover five blocks.
        return replace(task, colours=OPEN_COLOURS) if self._num_blocks > len(task.colours) else task

    def _lay_out(self, task: Task, seed: int) -> TableState:
        rng = np.random.default_rng(seed)
        return self._sim.reset(task.draw_layout(self._num_blocks, rng), rng)

    def _restart(self, task: Task, seed: int) -> None:
        self._start = self._lay_out(task, seed)
        self._task, self._seed = task, seed
        self._targets.forget()
        self._topics.clear_blocks()
        self._topics.publish_task(task.instruction)
        self._topics.publish_success(False)

    def _serve_reset(self) -> bool:
        request, self._reset_request = self._reset_request, None
        if request is None:
            return False
        try:
            self._restart(request.task, request.seed)
        except ValueError as error:
            request.error = str(error)
        request.done.set()
        return not request.error

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        seed = int(self.get_parameter("seed").value)
        request = _Reset(self._parse(self.get_parameter("task").value), seed)
        self._reset_request = request
        if not request.done.wait(_RESET_TIMEOUT_S):
            self._reset_request = None
            request.error = f"the simulation did not reset within {_RESET_TIMEOUT_S:g} s"
        response.success = not request.error
        response.message = request.error or f"reset to '{request.task.instruction}', seed {seed}"
        self.get_logger().info(response.message)
        return response

    def _check_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        known = {spec.name: spec for spec in specs(SimParameters)}
        for parameter in parameters:
            if parameter.name not in known:
                continue
            try:
                check(known[parameter.name], parameter.value)
                if parameter.name == "task":
                    self._parse(parameter.value)
            except ValueError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)


class _Reset:
    """A reset that a service call waits for."""

    def __init__(self, task: Task, seed: int) -> None:
        self.task = task
        self.seed = seed
        self.done = threading.Event()
        self.error = ""


def main(args: Sequence[str] | None = None) -> int:
    """Run the simulation until SIGINT or SIGTERM.

    :returns: Exit code: 0 when told to end, 2 for wrong parameters, 1 when the simulation failed.
    """
    return run_node("sim", SimNode, _serve, args)


def _serve(node: SimNode, ending: threading.Event) -> int:
    spinner = Spinner(node, ending.set)
    spinner.start()
    node.start()
    while not ending.wait(timeout=0.2) and node.failure is None:
        pass
    node.stop()
    spinner.stop()
    return EXIT_FAULT if node.failure else 0


if __name__ == "__main__":
    sys.exit(main())
