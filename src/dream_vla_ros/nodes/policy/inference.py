"""The thread that predicts, apart from everything that must stay on time."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dream_vla_ros.nodes.outcome import Outcome
from dream_vla_ros.nodes.policy.goal import GoalRun
from dream_vla_ros.nodes.policy.inputs import Observer
from dream_vla_ros.policy.frames import MissingInputError
from dream_vla_ros.policy.pacing import LatencyWindow, Pacer
from dream_vla_ros.policy.policy import Policy, PolicyResult
from dream_vla_ros.policy.settling import SettleDetector, SettleSettings

# Nothing wakes the thread when a frame grows too old or a state comes, so it looks again after this.
_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True, eq=False)
class Prediction:
    """One prediction, ready to be published.

    :param result: The motion.
    :param stamp_ns: Capture of the oldest image, ROS time.
    :param inference_s: Time the policy took.
    """

    result: PolicyResult
    stamp_ns: int
    inference_s: float


@dataclass(frozen=True)
class Pace:
    """How often to predict and when to stop.

    :param execute_s: Time of a chunk that is executed before the next is predicted.
    :param min_interval_s: Shortest time between two predictions.
    """

    execute_s: float
    min_interval_s: float
    settle: SettleSettings


class InferenceWorker:
    """Predicts for one goal at a time until it ends.

    :param policy: The policy; used from this worker's thread only.
    :param observer: Gathers what it predicts from.
    :param publish: Publishes a prediction for a goal and returns the latency since its capture [s], or None
        where the goal had ended.
    :param log_error: Takes a text for the log.
    """

    def __init__(
        self,
        policy: Policy[Any],
        observer: Observer[Any],
        publish: Callable[[GoalRun, Prediction], float | None],
        log_error: Callable[[str], Any],
    ) -> None:
        self._policy = policy
        self._observer = observer
        self._publish = publish
        self._log_error = log_error
        self._changed = threading.Condition()
        self._work: tuple[GoalRun, Pace] | None = None
        self._stopped = False
        self.latencies = LatencyWindow()
        self.inference_times = LatencyWindow()
        self.out_of_range = 0
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def begin(self, run: GoalRun, pace: Pace) -> None:
        """Predict for a goal from now on; of a goal before it nothing is published any more."""
        with self._changed:
            self._work = (run, pace)
            self._changed.notify_all()

    def poke(self) -> None:
        """Look again at once: an input came, or the goal ended."""
        with self._changed:
            self._changed.notify_all()

    def stop(self, timeout_s: float) -> bool:
        """End the thread, after the prediction it is at.

        :returns: Whether it ended in time.
        """
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (work := self._next_work()) is not None:
            run, pace = work
            try:
                self._carry_out(run, pace)
            except Exception as error:
                # Whatever a checkpoint, a driver or a device does: the goal ends, the node lives on.
                self._log_error(f"inference failed: {traceback.format_exc()}")
                run.end(Outcome.FAULT, f"inference failed: {type(error).__name__}: {error}")

    def _next_work(self) -> tuple[GoalRun, Pace] | None:
        with self._changed:
            while not self._stopped:
                if self._work is not None and self._work[0].running:
                    return self._work
                self._changed.wait()
        return None

    def _carry_out(self, run: GoalRun, pace: Pace) -> None:
        self._policy.reset()
        pacer: Pacer | None = None
        settling = SettleDetector(pace.settle)
        # Images from before the goal may show a scene or a motion that belongs to the goal before.
        newest_ns = run.request.accepted_ros_ns
        while self._wait(run, 0.0 if pacer is None else pacer.due_in_s(time.monotonic())):
            try:
                seen = self._observer.observe(run.request.instruction, newest_ns)
            except MissingInputError as missing:
                run.wait_for(str(missing))
                self._wait_for_input(run)
                continue
            run.input_came()
            newest_ns = seen.oldest_stamp_ns
            started_s = time.monotonic()
            result = self._policy.infer(seen)
            if pacer is None:
                duration_s = len(result.motion) * result.period_s
                execute_s = min(pace.execute_s or duration_s / 2.0, duration_s)
                pacer = Pacer(duration_s, execute_s, pace.min_interval_s)
            pacer.start(started_s)
            inference_s = time.monotonic() - started_s
            self.out_of_range += result.out_of_range
            latency_s = self._publish(run, Prediction(result, newest_ns, inference_s))
            if latency_s is None:
                return
            pacer.finish(latency_s)
            self.latencies.add(latency_s)
            self.inference_times.add(inference_s)
            settling.add(
                result.motion,
                result.period_s,
                time.monotonic(),
                execute_s=pacer.interval_s,
                pose=seen.end_effector,
                gripper=seen.gripper,
            )
            if settling.settled:
                run.end(
                    Outcome.SETTLED,
                    f"the arm is still and the policy asked for no more motion for {settling.quiet_s:.1f} s",
                )

    def _wait(self, run: GoalRun, seconds: float) -> bool:
        """Wait, unless there is something else to do; say whether to go on with the goal."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._current(run):
                left_s = deadline - time.monotonic()
                if left_s <= 0.0:
                    return True
                self._changed.wait(left_s)
        return False

    def _wait_for_input(self, run: GoalRun) -> None:
        with self._changed:
            if self._current(run):
                self._changed.wait(_LOOK_AGAIN_S)

    def _current(self, run: GoalRun) -> bool:
        return not self._stopped and run.running and self._work is not None and self._work[0] is run


def warm_up(policy: Policy[Any], observation: Any, times: int = 2) -> float:
    """Run a policy on a made-up observation, for its first runs are slower than any later one.

    :param times: How often.
    :returns: Time of the last run [s].
    :raises Exception: What the policy raises.
    """
    elapsed_s = math.nan
    for _ in range(times):
        started_s = time.monotonic()
        policy.infer(observation)
        elapsed_s = time.monotonic() - started_s
    policy.reset()
    return elapsed_s
