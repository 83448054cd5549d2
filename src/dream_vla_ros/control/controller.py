"""The controller: chunks, goals and measured states in, one bounded command per tick out."""

from __future__ import annotations

import math
from dataclasses import replace

from dream_vla_ros.chunk import ActionChunk, Blending
from dream_vla_ros.control.clock_watch import ClockWatch
from dream_vla_ros.control.command import NO_GOAL, Cause, Command, Counters, Mode, Reason
from dream_vla_ros.control.dead_man import DeadMan
from dream_vla_ros.control.drivers import Drivers
from dream_vla_ros.control.ensemble import Ensemble
from dream_vla_ros.control.gripper import Gripper, GripperCommand
from dream_vla_ros.control.history import ActionHistory
from dream_vla_ros.control.intake import ChunkIntake
from dream_vla_ros.control.integrator import Integrator, Motion
from dream_vla_ros.control.settings import ControlSettings, check_stop_time
from dream_vla_ros.control.state_check import examine_state
from dream_vla_ros.control.timeline import Advance, Timeline
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose
from dream_vla_ros.robot_state import RobotState

# How long a resting arm is still told to rest after its goal ended, so that a lost message does no harm.
_LINGER_S = 0.5


class Controller:
    """Carries out action chunks of the active goal, tick by tick.

    Time is always passed in. ``ros_ns`` is ROS time, in which stamps are; ``steady_ns`` is the steady clock,
    on which timeouts count. Nothing here raises on what the world sends: it becomes a hold with a cause.

    :param embodiment: Limits, rates and timeouts of the robot.
    :raises ParameterError: If the limits do not let the arm stop in time.
    """

    def __init__(self, embodiment: Embodiment, settings: ControlSettings | None = None) -> None:
        settings = settings or ControlSettings()
        self._timing = embodiment.timing
        check_stop_time(settings, embodiment.limits, self._timing)
        self._period_s = 1.0 / self._timing.control_rate
        self._goals = Drivers()
        self._timeline = Timeline(embodiment.limits, settings.fade_time, settings.catch_up_time)
        self._history = ActionHistory(self._period_s, self._timing.chunk_max_age)
        self._intake = ChunkIntake(self._timing)
        self._integrator = Integrator(embodiment.limits, self._period_s, settings.stop_time)
        self._counters = Counters()
        self._suspended: tuple[bytes | None, Counters] = (None, Counters())
        self._stopped: Reason | None = None
        self._reason = Reason(Cause.NO_GOAL, "no goal yet")
        self._problem: Reason | None = Reason(Cause.STATE_STALE, "no measured state received")
        self._gripper = Gripper(embodiment.gripper, self._period_s)
        self._ensemble = (
            Ensemble(settings.ensemble_decay) if settings.blending is Blending.TEMPORAL_ENSEMBLE else None
        )
        self.dead_man = DeadMan(bool(settings.dead_man_topic), settings.dead_man_timeout)
        self._dead_man_ends_goal = settings.dead_man_ends_goal
        self._anchor = False
        self._sending = False
        self._resting_s = 0.0
        self._clock = ClockWatch(self._timing)

    @property
    def goal_id(self) -> bytes | None:
        """The active goal; None when none is."""
        return self._goals.goal_id

    @property
    def counters(self) -> Counters:
        """What happened since the active goal began."""
        return self._counters

    def policy_silence_s(self, steady_ns: int) -> float:
        """Return how long the policy has been silent; infinity before its first heartbeat."""
        return self._goals.policy_silence_s(steady_ns)

    def heartbeat(self, active: bool, goal_id: bytes, steady_ns: int, *, human: bool = False) -> None:
        """Take in the policy's word on which goal is active, or a human's who takes over or hands back.

        :param goal_id: 16 bytes.
        :param steady_ns: When it arrived.
        :param human: Whether it is the human's. At the hand-back the policy's goal goes on, but only with
            chunks that were captured afterwards.
        """
        if self._stopped is not None and active:
            # Whatever is asked for during a stop must not move the arm when it is lifted.
            self._goals.refuse(goal_id, human=human)
            return
        if not self._goals.heartbeat(active, goal_id, steady_ns, human=human):
            return
        if self._goals.goal_id is None:
            who = (
                "the human handed back, and the policy has no goal" if human else "the policy ended the goal"
            )
            self.drop_goal(Reason(Cause.NO_GOAL, who))
            return
        self._flush()
        before, self._counters = self._counters, Counters()
        self._history.clear()
        self._intake.begin()
        self._anchor = True
        self._reason = Reason(Cause.WAITING_FOR_CHUNK, "no chunk of this goal yet")
        if self._goals.taken_over:
            self._suspended = (self._goals.suspended, before)
            self._reason = Reason(Cause.TAKEN_OVER, "a human has taken over")
        elif human:
            if self._suspended[0] == self._goals.goal_id:
                self._counters = self._suspended[1]
            self._reason = Reason(Cause.WAITING_FOR_CHUNK, "no chunk since the human handed back")
            if self._clock.last_ns is not None:
                self._intake.bar_before(self._clock.last_ns)

    def take_chunk(self, chunk: ActionChunk, ros_ns: int) -> Reason | None:
        """Execute a chunk from the next tick on, in place of what is left of the one before.

        :returns: Why it is refused; None if it is not.
        """
        if chunk.goal_id == self._goals.suspended:
            return Reason(Cause.TAKEN_OVER, f"chunk {chunk.chunk_id} is ignored: a human has taken over")
        if self._goals.handed_back(chunk.goal_id):
            return Reason(Cause.TAKEN_OVER, f"chunk {chunk.chunk_id} is ignored: the human has handed back")
        skip_s = self._history.since(chunk.stamp_ns)
        refusal = self._intake.check(chunk, self._goals.goal_id, skip_s, ros_ns)
        if refusal is None and self._problem is not None:
            refusal = Reason(self._problem.cause, f"chunk {chunk.chunk_id} refused: {self._problem.message}")
        if refusal is not None:
            self._count_refusal(refusal)
            return refusal
        self._intake.accept(chunk)
        if self._ensemble is not None and not self._goals.taken_over:
            oldest_ns = ros_ns - round(self._timing.chunk_max_age * 1e9)
            chunk = self._ensemble.blend(chunk, self._history.since, oldest_ns)
        # A human's chunks say how fast to move, not where to.
        done = None if self._goals.taken_over else self._history.way_since(chunk.stamp_ns)
        self._timeline.load(chunk, skip_s, done)
        self._counters = replace(self._counters, chunks_accepted=self._counters.chunks_accepted + 1)
        self._reason = Reason(Cause.NONE)
        return None

    def refuse_chunk(self, goal_id: bytes, problem: str) -> Reason:
        """Count a chunk that cannot be read; of the active goal it stops the arm.

        :param problem: What is wrong with it, naming the chunk.
        """
        refusal = Reason(Cause.CHUNK_INVALID, problem)
        self._count_refusal(refusal)
        if goal_id == self._goals.goal_id:
            self.interrupt(refusal)
        return refusal

    def interrupt(self, reason: Reason) -> None:
        """Ramp to a hold; of the active goal, only chunks captured from now on move the arm again.

        :param reason: A fault of the adapter, for example.
        """
        self._flush()
        if self._clock.last_ns is not None:
            self._intake.bar_before(self._clock.last_ns)
        if self._goals.goal_id is not None:
            self._reason = reason

    def drop_goal(self, reason: Reason) -> None:
        """Ramp to a hold and forget the goal; only a new one moves the arm again."""
        self._goals.drop()
        self._flush()
        self._reason = reason

    def stop(self, message: str) -> None:
        """Latch the emergency stop: ramp to a hold and forget the goal."""
        if self._stopped is None:
            self._stopped = Reason(Cause.EMERGENCY_STOP, message)
        self._goals.drop()
        self._flush()

    def resume(self) -> bool:
        """Lift the emergency stop; nothing moves before a new goal.

        :returns: Whether it was latched.
        """
        if self._stopped is None:
            return False
        self._stopped = None
        self._reason = Reason(Cause.NO_GOAL, "resumed after the emergency stop; send a new goal to move")
        return True

    @property
    def at_rest(self) -> bool:
        """Whether no motion is commanded."""
        return self._integrator.at_rest

    @property
    def stopped(self) -> bool:
        """Whether the emergency stop is latched."""
        return self._stopped is not None

    def tick(
        self,
        ros_ns: int,
        steady_ns: int,
        state: RobotState | None,
        missing: str = "",
        refused: str = "",
    ) -> Command:
        """Decide the command of one control period.

        :param state: Newest measured state, however old.
        :param missing: What keeps a first state from coming, in words.
        :param refused: Why the newest message about the state was refused; empty if it was not.
        """
        self._watch_clock(ros_ns, steady_ns)
        unusable = examine_state(state, self._timing, ros_ns, steady_ns, missing, refused)
        unusable = unusable and (self._clock.blamed(state, steady_ns) or unusable)
        let_go = self.dead_man.problem(steady_ns)
        self._problem = unusable or let_go
        if self._problem is not None:
            self.interrupt(self._problem)
        self._watch_policy(steady_ns)
        self._watch_dead_man(let_go)

        measured = None if state is None else state.pose
        steering = self._goals.goal_id is not None and self._stopped is None and self._problem is None
        if measured is not None and unusable is None and not self._sending:
            self._integrator.settle_on(measured)
        chunk = self._due_chunk(ros_ns) if steering else None
        advance = None if chunk is None else self._timeline.peek(self._period_s)
        if advance is None or measured is None:
            motion = self._integrator.hold(measured if steering else None)
        else:
            motion = self._follow(advance, measured)
        gripper = self._gripper.ask(advance.gripper) if advance and motion.advanced else self._gripper.hold()
        mode, reason = self._mode(motion, advance)
        self._count(motion, advance, ros_ns)
        if chunk is not None and self._timeline.chunk is None:
            ended = f"chunk {chunk.chunk_id} ended and no newer one came"
            self._reason = Reason(Cause.CHUNK_EXHAUSTED, ended)
        self._update_sending(steering)
        return self._command(mode, reason, motion, gripper, advance, chunk, state, ros_ns, steady_ns)

    def _due_chunk(self, ros_ns: int) -> ActionChunk | None:
        chunk = self._timeline.chunk
        if chunk is not None and (ros_ns - chunk.stamp_ns) * 1e-9 > self._timing.chunk_max_age:
            self._timeline.clear()
            self._reason = Reason(
                Cause.CHUNK_LATE,
                f"chunk {chunk.chunk_id} was captured more than timing.chunk_max_age "
                f"{self._timing.chunk_max_age} s ago; the rest of it is dropped",
            )
        return self._timeline.chunk

    def _follow(self, advance: Advance, measured: Pose) -> Motion:
        if self._anchor:
            self._integrator.anchor(measured)
            self._anchor = False
        motion = self._integrator.follow(advance, measured)
        if motion.advanced:
            self._timeline.take(advance)
        return motion

    def _count(self, motion: Motion, advance: Advance | None, ros_ns: int) -> None:
        action_s = 0.0
        if advance is not None and motion.advanced:
            action_s = advance.action_s
            self._history.record(ros_ns, action_s, advance.translation, advance.quaternion)
        else:
            self._history.record(ros_ns, action_s)
        counters = self._counters
        if advance is not None:
            self._counters = replace(counters, executed_s=counters.executed_s + action_s)
        elif self._goals.goal_id is not None and counters.chunks_accepted == 0:
            idle_s = counters.idle_before_first_chunk_s + self._period_s
            self._counters = replace(counters, idle_before_first_chunk_s=idle_s)
        elif self._goals.goal_id is not None:
            self._counters = replace(counters, idle_s=counters.idle_s + self._period_s)

    def _update_sending(self, steering: bool) -> None:
        if steering or not self._integrator.at_rest:
            self._resting_s = 0.0
            self._sending = True
        elif self._sending:
            self._resting_s += self._period_s
            self._sending = self._resting_s < _LINGER_S

    def _command(
        self,
        mode: Mode,
        reason: Reason,
        motion: Motion,
        gripper: GripperCommand,
        advance: Advance | None,
        chunk: ActionChunk | None,
        state: RobotState | None,
        ros_ns: int,
        steady_ns: int,
    ) -> Command:
        target = self._integrator.target
        measured = None if state is None else state.pose
        position_error = rotation_error = float("nan")
        if target is not None and measured is not None:
            translation, rotation = measured.motion_to(target)
            position_error = math.hypot(*translation.tolist())
            rotation_error = math.hypot(*rotation.tolist())
        return Command(
            stamp_ns=ros_ns,
            mode=mode,
            reason=reason,
            send=self._sending and target is not None,
            target=target,
            linear=motion.linear,
            angular=motion.angular,
            duration_s=self._period_s,
            gripper=gripper.opening,
            goal_id=self._goals.goal_id or NO_GOAL,
            chunk_id=0 if chunk is None or advance is None else chunk.chunk_id,
            step=0 if advance is None else advance.step,
            measured=measured,
            measured_age_s=float("nan") if state is None else state.age_s(ros_ns, steady_ns),
            position_error=position_error,
            rotation_error=rotation_error,
            counters=self._counters,
            taken_over=self._goals.taken_over,
            speed_limited=motion.speed_limited,
            workspace_limited=motion.workspace_limited,
            leash_limited=motion.leash_limited,
            orientation_limited=motion.orientation_limited,
            gripper_changed=gripper.changed,
            gripper_held_back=gripper.held_back,
        )

    def _mode(self, motion: Motion, advance: Advance | None) -> tuple[Mode, Reason]:
        if self._stopped is not None:
            return Mode.STOPPED, self._stopped
        if self._problem is not None and self._problem.cause is not Cause.DEAD_MAN:
            return Mode.NO_STATE, self._problem
        if self._goals.goal_id is None:
            return Mode.IDLE, self._reason
        reason = self._reason
        if motion.leash_limited:
            reason = Reason(Cause.LEASH, "the arm is farther from the target than the leash allows")
        elif motion.workspace_limited:
            reason = Reason(Cause.WORKSPACE, "the motion leads out of the workspace")
        elif motion.orientation_limited:
            reason = Reason(Cause.ORIENTATION, "the motion tilts the tool out of its cone")
        return (Mode.HOLDING if advance is None else Mode.EXECUTING), reason

    def _watch_policy(self, steady_ns: int) -> None:
        if self._goals.suspended and self._goals.policy_silence_s(steady_ns) > self._timing.policy_timeout:
            self._goals.drop_suspended()
        silence_s = self._goals.silence_s(steady_ns)
        if self._goals.goal_id is not None and silence_s > self._timing.policy_timeout:
            who = "human who took over" if self._goals.taken_over else "policy"
            self.drop_goal(
                Reason(
                    Cause.POLICY_LOST,
                    f"the {who} has been silent for {silence_s:.3f} s, more than timing.policy_timeout "
                    f"{self._timing.policy_timeout} s; send a new goal to move",
                )
            )

    def _watch_dead_man(self, let_go: Reason | None) -> None:
        if let_go is None:
            if self._goals.goal_id is None and self._reason.cause is Cause.DEAD_MAN:
                self._reason = Reason(Cause.NO_GOAL, "the dead-man switch was let go; send a new goal")
        elif self._dead_man_ends_goal and self._goals.goal_id is not None:
            self.drop_goal(replace(let_go, message=f"{let_go.message}; hold it, then send a new goal"))

    def _watch_clock(self, ros_ns: int, steady_ns: int) -> None:
        jump = self._clock.tick(ros_ns, steady_ns)
        if jump is None:
            return
        self._history.forget_times()
        self._intake.forget_times()
        self.interrupt(jump.reason)
        if -self._timing.chunk_max_age <= jump.passed_s < 0.0:
            # What was captured before the clock was put back may soon look fresh again.
            self._intake.bar_before(ros_ns - round(jump.ahead_s * 1e9))

    def _count_refusal(self, refusal: Reason) -> None:
        self._counters = replace(self._counters, chunks_refused=self._counters.chunks_refused + 1)
        # Without a goal, why there is none matters more than what comes late.
        if self._goals.goal_id is not None:
            self._reason = refusal

    def _flush(self) -> None:
        self._timeline.clear()
        self._integrator.brake()
        if self._ensemble is not None:
            self._ensemble.clear()
