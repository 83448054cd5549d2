"""A policy drives an environment through the real controller, in simulated time and without DDS.

What the graph's processes do is done here in one: images at the rendered size, the policy's own
preprocessing, chunks that arrive after a latency, the controller's tick at its rate, the end by settling.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.control import Controller
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.images import RGBImage
from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.policy.policy import Policy
from dream_vla_ros.policy.settling import SettleDetector, SettleSettings
from dream_vla_ros.training.environment import ASKED, Environment, Moment

Film = Callable[[Mapping[str, RGBImage], Moment], object]
"""Takes what the cameras see and the moment, some times a second."""
FILM_PERIOD_S = 0.1
TaskT = TypeVar("TaskT")
# A goal has to hold this long, so that a block that is dropped or a tower that falls does not count.
_HOLD_S = 1.0


class End(str, Enum):
    """Why a try ended."""

    DONE = "done"
    """A judged goal held for a second; or, where that does not end a try, settled with it."""

    SETTLED = "settled"
    """The policy settled without one."""

    TIME_LIMIT = "time limit"


@dataclass(frozen=True)
class Trial:
    """One try.

    :param end: Why it ended.
    :param goal: The judged goal that held in the end, ``ASKED`` for what the words speak of; empty if none.
    :param time_s: Simulated time it took, or the limit.
    :param settled: Whether the policy settled.
    :param notes: What the environment noticed.
    """

    seed: int
    instruction: str
    end: End
    goal: str
    time_s: float
    settled: bool
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """Whether what the words speak of was done."""
        return self.goal == ASKED


@dataclass(frozen=True)
class LoopSettings:
    """How a policy is run.

    :param latency_s: From capture to the chunk's arrival at the controller.
    :param execute_s: Time of a chunk that is executed before the next is predicted; half of it by default.
    :param time_limit_s: Longest try.
    :param until_settled: Go on after success until the policy settles, as a goal without a success question
        does; else a goal that holds for a second ends the try.
    """

    latency_s: float = 0.1
    execute_s: float | None = None
    time_limit_s: float = 20.0
    until_settled: bool = False
    settle: SettleSettings = field(default_factory=SettleSettings)


class ClosedLoop(Generic[TaskT]):
    """Tries a policy in an environment.

    :param embodiment: The robot, as in the graph.
    :param policy: Used until the end; not closed.
    :param environment: Its period must be the controller's; not closed.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        policy: Policy[Observation],
        environment: Environment[TaskT],
        settings: LoopSettings | None = None,
    ) -> None:
        action = embodiment.action
        self._embodiment = embodiment
        self._policy = policy
        self._environment = environment
        self._settings = settings or LoopSettings()
        self._execute_s = self._settings.execute_s or action.chunk_size * action.period_s / 2.0
        if abs(environment.period_s * embodiment.timing.control_rate - 1.0) > 1e-6:
            raise ValueError(
                f"the environment steps every {environment.period_s:g} s, but timing.control_rate is "
                f"{embodiment.timing.control_rate:g} Hz"
            )

    def run(self, task: TaskT, seed: int, words: str, film: Film | None = None) -> Trial:
        """Try once.

        :param words: What the policy is told.
        """
        return self.go_on(self._environment.reset(task, seed), seed, words, film)[0]

    def go_on(
        self, now: Moment, seed: int, words: str, film: Film | None = None, *, number: int = 1
    ) -> tuple[Trial, Moment]:
        """Try something in the environment as it is, as the next goal of a graph that keeps running.

        :param now: The environment's last moment.
        :param number: Which goal of the episode it is.
        :returns: The try, and the last moment.
        """
        limits = self._settings
        begin_s = now.time_s
        self._policy.reset()
        goal_id = uuid.UUID(int=(number << 64) + seed).bytes
        controller = Controller(self._embodiment)
        settling = SettleDetector(limits.settle)
        held = _Held(now.time_s)
        waiting: tuple[float, ActionChunk] | None = None
        due_s, film_s, chunks = now.time_s, now.time_s, 0
        while now.time_s - begin_s < limits.time_limit_s and not settling.settled:
            if film is not None and now.time_s >= film_s - 1e-9:
                film(self._environment.look(), now)
                film_s += FILM_PERIOD_S
            now_ns = now.state.stamp_ns
            controller.heartbeat(True, goal_id, now_ns)
            if waiting is None and now.time_s >= due_s - 1e-9:
                chunks += 1
                chunk = self._predict(words, goal_id, chunks, now)
                self._watch(settling, chunk, now)
                waiting = (now.time_s + limits.latency_s, chunk)
                due_s = now.time_s + self._execute_s
            if waiting is not None and now.time_s >= waiting[0] - 1e-9:
                controller.take_chunk(waiting[1], now_ns)
                waiting = None
            now = self._environment.step(controller.tick(now_ns, now_ns, now.state))
            if held.see(now) and not limits.until_settled:
                break
        end = End.SETTLED if settling.settled else End.TIME_LIMIT
        trial = Trial(
            seed,
            words,
            End.DONE if held.goal else end,
            held.goal,
            now.time_s - begin_s,
            settling.settled,
            self._environment.end().notes,
        )
        return trial, now

    def _predict(self, words: str, goal_id: bytes, number: int, now: Moment) -> ActionChunk:
        images = self._environment.look()
        stamp_ns = now.state.stamp_ns
        seen = Observation(images, dict.fromkeys(images, stamp_ns), now.state, words)
        result = self._policy.infer(seen)
        motion = result.motion
        return ActionChunk(
            motion.translation, motion.rotation, motion.gripper, result.period_s, stamp_ns, goal_id, number
        )

    def _watch(self, settling: SettleDetector, chunk: ActionChunk, now: Moment) -> None:
        settling.add(
            Motion(chunk.translation, chunk.rotation, chunk.gripper),
            chunk.period_s,
            now.time_s + self._settings.latency_s,
            execute_s=self._execute_s,
            pose=now.state.pose,
            gripper=now.state.gripper,
        )


class _Held:
    """Since when which goals hold."""

    def __init__(self, time_s: float) -> None:
        self._since: dict[str, float] = {}
        self._now_s = time_s

    @property
    def goal(self) -> str:
        """The goal that has held for a second, the one asked for first; empty if none has."""
        long = [name for name, since_s in self._since.items() if self._now_s - since_s >= _HOLD_S - 1e-9]
        return min(long, key=lambda name: (name != ASKED, name), default="")

    def see(self, now: Moment) -> bool:
        """Take in a moment and say whether a goal has held long enough."""
        before_s, self._now_s = self._now_s, now.time_s
        self._since = {name: self._since.get(name, before_s) for name in now.reached}
        return bool(self.goal)
