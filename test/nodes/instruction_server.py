"""A process that serves ExecuteInstruction and the controller's topics and does what the instruction names.

Instructions: ``settle`` (feedback, then SETTLED), ``run`` (until cancelled, stopped or the time limit),
``die`` (the process ends at once in the middle), ``hang`` (heartbeats stop), ``nameless`` (aborts without an
outcome), empty (REFUSED), ``reject`` (the action goal itself is rejected), ``question`` (feedback with the
success question's probability, then SUCCEEDED).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import rclpy
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from dream_vla_msgs.action import ExecuteInstruction
from dream_vla_msgs.msg import ActiveGoal, ControllerState, InstructionOutcome

RAMP_S = 0.3  # the arm goes on moving this long after a goal ends, as behind a real controller's ramp


class InstructionServer(Node):
    def __init__(self) -> None:
        super().__init__("policy")
        group = ReentrantCallbackGroup()
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.goal_id = None
        self.stopped = False
        self.silent = False
        self.moving_until = 0.0
        self.heartbeats = self.create_publisher(ActiveGoal, "active_goal", latched)
        self.states = self.create_publisher(ControllerState, "controller_state", 10)
        self.create_timer(0.05, self.beat, callback_group=group)
        self.create_service(Trigger, "controller/stop", self.stop, callback_group=group)
        self.create_service(Trigger, "controller/resume", self.resume, callback_group=group)
        self.server = ActionServer(
            self,
            ExecuteInstruction,
            "execute_instruction",
            self.execute,
            callback_group=group,
            goal_callback=self.accept,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def accept(self, goal) -> GoalResponse:
        return GoalResponse.REJECT if goal.instruction == "reject" else GoalResponse.ACCEPT

    def beat(self) -> None:
        if self.silent:
            return
        message = ActiveGoal(active=self.goal_id is not None)
        if self.goal_id is not None:
            message.goal_id = self.goal_id
            self.moving_until = time.monotonic() + RAMP_S
        self.heartbeats.publish(message)
        state = ControllerState()
        if self.stopped:
            state.mode = ControllerState.STOPPED
        elif self.goal_id is not None:
            state.mode = ControllerState.EXECUTING
        else:
            state.mode = ControllerState.IDLE
        state.twist.linear.x = 0.1 if time.monotonic() < self.moving_until else 0.0
        self.states.publish(state)

    def stop(self, _, response):
        self.stopped = True
        response.success, response.message = True, "stopped"
        return response

    def resume(self, _, response):
        response.success = self.stopped
        response.message = "resumed" if self.stopped else "there is no emergency stop to release"
        self.stopped = False
        return response

    def execute(self, handle):
        instruction = handle.request.instruction
        print(f"goal {instruction}", flush=True)
        started = time.monotonic()
        code, words = self.carry_out(handle, instruction, started)
        self.goal_id = None
        result = ExecuteInstruction.Result(chunks=3)
        result.outcome.code, result.outcome.message = code, words
        result.duration = Duration(seconds=time.monotonic() - started).to_msg()
        result.final_pose.header.stamp.sec = 1
        result.final_pose.pose.position.x = 0.25
        if code == InstructionOutcome.CANCELED:
            handle.canceled()
        elif code in (
            InstructionOutcome.SETTLED,
            InstructionOutcome.SUCCEEDED,
            InstructionOutcome.TIME_LIMIT,
        ):
            handle.succeed()
        else:
            handle.abort()
        print(f"ended {code}", flush=True)
        return result

    def carry_out(self, handle, instruction, started):
        if not instruction:
            return InstructionOutcome.REFUSED, "the instruction is empty"
        if instruction == "nameless":
            return InstructionOutcome.UNKNOWN, ""
        if instruction == "die":
            os._exit(9)
        self.goal_id = handle.goal_id
        if instruction == "hang":
            self.silent = True
            time.sleep(60)
        limit = handle.request.time_limit
        limit_s = limit.sec + limit.nanosec * 1e-9 or 60.0
        tick = 0
        while True:
            if handle.is_cancel_requested:
                return InstructionOutcome.CANCELED, "cancelled by the client"
            if self.stopped:
                return InstructionOutcome.EMERGENCY_STOP, "the emergency stop was pressed"
            elapsed = time.monotonic() - started
            if elapsed > limit_s:
                return InstructionOutcome.TIME_LIMIT, f"{limit_s:g} s passed"
            feedback = ExecuteInstruction.Feedback(state=min(tick, 2), chunks=tick)
            feedback.elapsed = Duration(seconds=elapsed).to_msg()
            feedback.latency = Duration(seconds=0.125).to_msg()
            feedback.message = "waiting for camera 'wrist'" if tick == 0 else ""
            feedback.success_probability = 0.75 if handle.request.success_question else float("nan")
            handle.publish_feedback(feedback)
            tick += 1
            if instruction == "settle" and tick == 4:
                return InstructionOutcome.SETTLED, "no motion asked for 1.0 s"
            if instruction == "question" and tick == 4:
                return InstructionOutcome.SUCCEEDED, ""
            time.sleep(0.05)


def main() -> None:
    rclpy.init(args=sys.argv)
    node = InstructionServer()
    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(node)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Timer(300.0, lambda: os._exit(1)).start()  # never outlive a test run that was killed
    print("ready", flush=True)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        os._exit(0)


if __name__ == "__main__":
    main()
