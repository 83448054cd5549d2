"""How smoothly overlapping chunks are executed: four ways of blending and a blocking broker, by latency.

The policy is a flow-matching model whose distribution is known: around the motion that leads along a path,
with errors that are alike in neighbouring steps and new with every chunk. Its velocity field is exact, so
every blending runs as it does with a network; in all of them the chunks start from the same noise.
Controller, limiter, pacing, the measurement of what was executed and the continuation of chunks are the
package's own.
Time is simulated; nothing here depends on the machine but the durations in the last column.

The blocking broker executes a chunk to its end, waits until the arm stands, observes and predicts.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from chunks.noisy_policy import GaussianFlow, Loop
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dream_vla_ros.chunk import ActionChunk, Blending
from dream_vla_ros.control import Controller, ControlSettings
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Array, Pose, rotation_between
from dream_vla_ros.model.continuation import PUBLISHED_GUIDANCE_LIMIT
from dream_vla_ros.policy.consumption import Consumption, Report
from dream_vla_ros.policy.overlap import previous_chunk
from dream_vla_ros.policy.pacing import Pacer
from dream_vla_ros.robot_state import RobotState

REPOSITORY = Path(__file__).resolve().parents[1]
BLOCKING = "blocking"
MODES = (BLOCKING, *(blending.value for blending in Blending))
LATENCIES_MS = (0, 50, 100, 150, 200, 300)
GOAL = bytes([1]) * 16
SECOND = 1_000_000_000

# One normalised unit of translation and rotation: the largest of the tabletop's training data.
UNIT = np.array([0.03] * 3 + [0.15] * 3)
TURN_RAD_S = 0.25
SWING_RAD = 0.2
# The arm covers this share of the way to its target in each tick: a time constant of 60 ms.
FOLLOWS = 0.28


@dataclass(frozen=True)
class Result:
    """What one run gave; jerks in m/s^3, of the end-effector point.

    :param idle_ticks: Ticks without motion due, after the first chunk.
    :param seam_jerk_raw: Root mean square over the seams of the largest jerk around each, of what the chunks
        ask for: where a chunk takes over and, with inpainting, where its frozen beginning ends.
    :param seam_jerk: The same of what is commanded.
    :param path_error_mm: Root mean square distance of the arm from the path.
    :param lag_mm: Root mean square distance between target and arm.
    :param progress_m_s: Speed along the path.
    :param predict_ms: Median time of a prediction's arithmetic on this machine.
    """

    mode: str
    latency_ms: int
    chunks: int
    idle_ticks: int
    idle_share: float
    seam_jerk_raw: float
    seam_jerk: float
    peak_jerk: float
    path_error_mm: float
    lag_mm: float
    progress_m_s: float
    delay_measured_ms: float | None
    predict_ms: float


class Bench:
    """One run: policy, controller, arm, and a controller without limits that shows what is asked for."""

    def __init__(self, robot: Embodiment, mode: str, latency_ms: int, seed: int, speed_m_s: float) -> None:
        self._mode, self._latency_ns, self._speed_m_s = mode, latency_ms * 1_000_000, speed_m_s
        self._robot = robot
        blending = Blending.LATEST if mode == BLOCKING else Blending(mode)
        settings = ControlSettings(blending=blending)
        self._controllers = (Controller(robot, settings), Controller(_without_limits(robot), settings))
        self._guidance = PUBLISHED_GUIDANCE_LIMIT if blending is Blending.REAL_TIME_CHUNKING else None
        self._continues = blending in (Blending.INPAINTING, Blending.REAL_TIME_CHUNKING)
        self._steps, self._period_s = robot.action.chunk_size, robot.action.period_s
        self._tick_ns = round(SECOND / robot.timing.control_rate)
        self._flow = GaussianFlow(self._steps, speed_m_s * self._period_s / UNIT[0])
        self._seed = seed
        low, high = np.array(robot.limits.workspace_min), np.array(robot.limits.workspace_max)
        self._loop = Loop((low + high) / 2.0)
        self._arm = Pose(self._loop.point(0.0), np.array([0.0, 0.7071068, 0.0, 0.7071068]))
        self._start = self._arm
        self._along = 0.0
        self._pacer = Pacer(self._steps * self._period_s, self._steps * self._period_s / 2.0)
        self._consumption = Consumption()
        self._before: np.ndarray | None = None
        self._made = 0
        self._flying: tuple[int, ActionChunk] | None = None
        self._predict_s: list[float] = []
        self._ends_frozen: list[int] = []

    def run(self, duration_s: float) -> Result:
        """Run for a time and measure."""
        ticks = round(duration_s * SECOND / self._tick_ns)
        commanded, asked = np.zeros((ticks, 3)), np.zeros((ticks, 3))
        errors, lags, seams = np.zeros(ticks), np.zeros(ticks), []
        executing, before_chunk, idle, travelled = False, 0, 0, 0.0
        for tick in range(ticks):
            now_ns = SECOND + tick * self._tick_ns
            for controller in self._controllers:
                controller.heartbeat(True, GOAL, now_ns)
            if tick > 0:
                self._predict_if_due(now_ns, executing)
            if self._flying is not None and now_ns >= self._flying[0]:
                for controller in self._controllers:
                    refusal = controller.take_chunk(self._flying[1], now_ns)
                    assert refusal is None, refusal
                self._flying = None
            state = RobotState(now_ns, now_ns, self._arm, {}, None, 1.0)
            command, free = (controller.tick(now_ns, now_ns, state) for controller in self._controllers)
            commanded[tick], asked[tick] = command.linear, free.linear
            executing = command.chunk_id != 0
            if command.chunk_id != before_chunk and command.chunk_id > 1:
                seams += [tick, *self._ends_frozen]
            if command.chunk_id != before_chunk or tick % 5 == 0:
                executed_s = command.counters.executed_s
                self._consumption.hear(Report(now_ns, executed_s, command.chunk_id))
            before_chunk = command.chunk_id
            idle += self._made > 0 and not executing and command.counters.chunks_accepted > 0
            if command.target is not None:
                lags[tick] = np.linalg.norm(command.target.position - self._arm.position)
                way, turn = self._arm.motion_to(command.target)
                self._arm = self._arm.moved(way * FOLLOWS, turn * FOLLOWS)
            before_m = self._along
            self._along, errors[tick] = self._loop.nearest(self._arm.position, self._along)
            travelled += self._along - before_m
        period_s = self._tick_ns / SECOND
        delay_s = self._consumption.delay_s
        raw, limited = _jerks(asked, period_s), _jerks(commanded, period_s)
        return Result(
            mode=self._mode,
            latency_ms=self._latency_ns // 1_000_000,
            chunks=self._made,
            idle_ticks=idle,
            idle_share=idle / ticks,
            seam_jerk_raw=_at_seams(raw, seams),
            seam_jerk=_at_seams(limited, seams),
            peak_jerk=float(limited.max()),
            path_error_mm=float(np.sqrt(np.mean(errors**2)) * 1e3),
            lag_mm=float(np.sqrt(np.mean(lags**2)) * 1e3),
            progress_m_s=travelled / duration_s,
            delay_measured_ms=None if delay_s is None or self._mode == BLOCKING else delay_s * 1e3,
            predict_ms=float(np.median(self._predict_s) * 1e3),
        )

    def _predict_if_due(self, now_ns: int, executing: bool) -> None:
        now_s = now_ns * 1e-9
        if self._flying is not None:
            return
        if self._mode == BLOCKING:
            # Also the ramp to rest has to be over, or the images would show a moving arm.
            if executing or not self._controllers[0].at_rest:
                return
        elif self._pacer.due_in_s(now_s) > 0.0:
            return
        self._pacer.start(now_s)
        self._ends_frozen = []
        overlap = self._consumption.overlap(now_ns) if self._continues else None
        previous = None
        if overlap is not None and self._before is not None:
            previous = previous_chunk(self._before, overlap, self._period_s, self._guidance)
            if previous is not None and self._guidance is None:
                frozen_ns = round(previous.frozen * self._period_s * SECOND)
                self._ends_frozen = [(now_ns - SECOND + frozen_ns) // self._tick_ns]
        mean = torch.tensor(self._wish(), dtype=torch.float32)[None]
        noise = np.random.default_rng((self._seed, self._made)).standard_normal((1, self._steps, 7))
        started_s = time.perf_counter()
        self._before = self._flow.predict(mean, torch.tensor(noise, dtype=torch.float32), previous)
        self._predict_s.append(time.perf_counter() - started_s)
        self._made += 1
        motion = self._before[:, :6] * UNIT
        chunk = ActionChunk(
            motion[:, :3], motion[:, 3:], self._before[:, 6], self._period_s, now_ns, GOAL, self._made
        )
        self._flying = (now_ns + self._latency_ns, chunk)
        self._consumption.publish(self._made, now_ns, self._latency_ns / SECOND)
        self._pacer.finish(self._latency_ns / SECOND)

    def _wish(self) -> Array:
        """Return the motion that leads on along the path from where the arm is: (steps, 7) normalised."""
        step_m = self._speed_m_s * self._period_s
        places = [self._arm.position]
        for step in range(self._steps):
            # Off the path, the way back is spread over the chunk.
            on_path = self._loop.point(self._along + (step + 1) * step_m)
            share = (step + 1) / self._steps
            off = self._arm.position - self._loop.point(self._along)
            places.append(on_path + (1.0 - share) * off)
        wish = np.ones((self._steps, 7))
        wish[:, :3] = np.diff(places, axis=0)
        turned = rotation_between(self._start.quaternion, self._arm.quaternion)
        ahead = self._along + step_m * np.arange(1, self._steps + 1)
        yaw = SWING_RAD * np.sin(ahead / self._speed_m_s * TURN_RAD_S / SWING_RAD)
        wish[:, 3:5] = -turned[:2] / self._steps
        wish[:, 5] = np.diff(yaw, prepend=yaw[0])
        wish[:, 5] += (yaw[0] - turned[2]) / self._steps
        return np.concatenate([wish[:, :6] / UNIT, wish[:, 6:]], axis=1)


def _without_limits(robot: Embodiment) -> Embodiment:
    limits = replace(
        robot.limits,
        linear_speed=2.0,
        angular_speed=6.0,
        linear_acceleration=50.0,
        angular_acceleration=200.0,
        linear_jerk=1e9,
        angular_jerk=1e9,
    )
    return replace(robot, limits=limits)


def _jerks(velocities: Array, period_s: float) -> Array:
    """Return the norm of the jerk at every tick, from velocities (ticks, 3)."""
    jerks = np.zeros(len(velocities))
    jerks[1:-1] = np.linalg.norm(velocities[2:] - 2.0 * velocities[1:-1] + velocities[:-2], axis=1)
    return jerks / period_s**2


def _at_seams(jerks: Array, seams: list[int]) -> float:
    peaks = [jerks[max(0, seam - 2) : seam + 3].max() for seam in seams if seam < len(jerks) - 1]
    return float(np.sqrt(np.mean(np.square(peaks)))) if peaks else 0.0


def print_table(results: list[Result]) -> None:
    """Print one line per run."""
    print(
        f"{'mode':<20}{'latency':>9}{'chunks':>8}{'idle':>7}{'seam jerk raw':>15}{'limited':>9}"
        f"{'peak':>7}{'off path':>10}{'lag':>8}{'speed':>8}{'delay':>9}{'arithmetic':>12}"
    )
    for r in results:
        delay = "" if r.delay_measured_ms is None else f"{r.delay_measured_ms:.0f} ms"
        print(
            f"{r.mode:<20}{r.latency_ms:>6} ms{r.chunks:>8}{r.idle_share:>7.1%}{r.seam_jerk_raw:>15.1f}"
            f"{r.seam_jerk:>9.1f}{r.peak_jerk:>7.1f}{r.path_error_mm:>7.1f} mm{r.lag_mm:>5.1f} mm"
            f"{r.progress_m_s * 1e3:>4.0f} mm/s{delay:>9}{r.predict_ms:>9.2f} ms"
        )


def check_aims(results: list[Result], half_chunk_ms: float) -> list[str]:
    """Return what misses the aims: no idle tick, and seams at least five times smoother than blocking."""
    blocking = {r.latency_ms: r for r in results if r.mode == BLOCKING}
    missed = []
    for r in results:
        if r.mode == BLOCKING:
            continue
        if r.latency_ms <= half_chunk_ms and r.idle_ticks:
            missed.append(f"{r.mode} at {r.latency_ms} ms: {r.idle_ticks} idle ticks")
        ratio = blocking[r.latency_ms].seam_jerk_raw / r.seam_jerk_raw
        if ratio < 5.0:
            missed.append(
                f"{r.mode} at {r.latency_ms} ms: raw jerk at seams {ratio:.1f} times below blocking"
            )
    return missed


def plot(results: list[Result], path: Path) -> None:
    """Draw every figure over latency."""
    figure = Figure(figsize=(11.0, 7.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = (
        ("seam_jerk_raw", "raw jerk at seams [m/s³]", "log"),
        ("seam_jerk", "commanded jerk at seams [m/s³]", "linear"),
        ("idle_share", "share of time without motion due", "linear"),
        ("path_error_mm", "distance from the path [mm, rms]", "linear"),
    )
    for axes, (field, label, scale) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for mode in MODES:
            runs = [r for r in results if r.mode == mode]
            axes.plot([r.latency_ms for r in runs], [getattr(r, field) for r in runs], marker="o", label=mode)
        axes.set(xlabel="latency [ms]", ylabel=label, yscale=scale)
        axes.grid(alpha=0.3)
        if scale == "linear":
            axes.set_ylim(bottom=0.0)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.savefig(path)


def main() -> None:
    """Measure with the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="simulated time per run")
    parser.add_argument("--speed", type=float, default=0.05, help="speed along the path [m/s]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "out" / "chunk_execution")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    robot = Embodiment.from_file(REPOSITORY / "config" / "tabletop.yaml")
    half_chunk_ms = robot.action.chunk_size * robot.action.period_s * 500.0
    results = [
        Bench(robot, mode, latency_ms, arguments.seed, arguments.speed).run(arguments.seconds)
        for latency_ms in LATENCIES_MS
        for mode in MODES
    ]
    print_table(results)
    for line in check_aims(results, half_chunk_ms):
        print(f"aim missed: {line}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    record = {"seconds": arguments.seconds, "seed": arguments.seed, "runs": [asdict(r) for r in results]}
    (arguments.out / "results.json").write_text(json.dumps(record, indent=1) + "\n")
    plot(results, arguments.out / "plot.png")
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
