"""From the cameras' stamps to the first command: where each millisecond goes, and how even the commands are.

The real policy and controller run as processes of their own beside cameras of 640 x 480 pixels at 30 Hz; an
empty rclpy timer ticks at the control rate at the same time, under the same load. Weights are random and
small: what the graph adds to inference does not depend on them. Writes `pipeline.json`, `pipeline.md` and
`pipeline.png`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from support import report

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.client.robot import DreamVLA
from dream_vla_ros.nodes.demo.processes import ProcessGroup, choose_domain
from dream_vla_ros.nodes.policy.untrained import untrained_tabletop_checkpoint
from dream_vla_ros.nodes.resources import TABLETOP, robot_config

ROOT = Path(__file__).resolve().parents[1]
PROFILE = ROOT / "config" / "fastdds_cameras.xml"
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
SETTLE_S = 2.0  # the first predictions follow the goal's beginning
# What the graph itself adds; waiting for a turn and for a tick are decided by rates, not by code.
ADDED = (
    "transport of images",
    "conversion",
    "rest of the policy",
    "publishing",
    "transport of chunk",
    "sending",
)
STAGES = (
    "transport of images",
    "waiting for a turn",
    "conversion",
    "preprocessing",
    "patches and prompt",
    "inference",
    "rest of the policy",
    "publishing",
    "transport of chunk",
    "waiting for a tick",
    "sending",
)
Notes = dict[str, list[list[int]]]


def run(arguments: argparse.Namespace, profile: bool) -> dict[str, Any]:
    """Run the graph once and return what was seen.

    :param profile: Whether the camera process has the shared memory that its images need.
    """
    config = robot_config(TABLETOP)
    rate = Embodiment.from_file(config).timing.control_rate
    domain = choose_domain()
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    path = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "benchmarks"), path])
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder)
        checkpoint = untrained_tabletop_checkpoint(logs, "flow_matching", 0)
        with ProcessGroup(logs, domain) as processes:

            def start(name: str, module: str, *more: str) -> None:
                processes.start(name, "support.timed_node", [str(logs / f"{name}.notes"), module, *more])

            def parameters(**given: object) -> list[str]:
                pairs = [part for key, value in given.items() for part in ("-p", f"{key}:={value}")]
                return ["--ros-args", "--params-file", str(config), *pairs]

            size = ["--width", str(arguments.width), "--height", str(arguments.height)]
            kept = {name: os.environ.pop(name, None) for name in PROFILE_VARIABLES}
            environment = dict(processes._environment)
            if profile:
                processes._environment |= dict.fromkeys(PROFILE_VARIABLES, str(PROFILE))
            start("cameras", "support.bench_robot", "robot", *size, "--rate", str(arguments.camera_rate))
            processes._environment = environment
            os.environ.update({name: value for name, value in kept.items() if value is not None})
            start("empty timer", "support.bench_robot", "timer", "--rate", str(rate))
            start("controller", "dream_vla_ros.nodes.controller.node", *parameters())
            start(
                "policy",
                "dream_vla_ros.nodes.policy.node",
                *parameters(checkpoint=checkpoint, device="cpu", threads=1, execute_steps=1),
            )
            with DreamVLA() as robot:
                robot.wait_until_ready(90.0)
                robot.send("pick up the red block", time_limit_s=arguments.seconds + 60)
                time.sleep(SETTLE_S)
                processes.check()
                begin, used = time.time_ns(), _cpu_seconds(processes)
                time.sleep(arguments.seconds)
                processes.check()
                end = time.time_ns()
                spent = {name: (now - used[name]) for name, now in _cpu_seconds(processes).items()}
                robot.cancel()
                robot.wait(5.0)
            processes.stop()
        notes = {name: _read(logs / f"{name}.notes", begin, end) for name in spent}
    seconds = (end - begin) / 1e9
    stages = breakdown(notes["policy"], notes["controller"])
    return {
        "shared_memory_profile": profile,
        "seconds": seconds,
        "images_per_s_and_camera": len(notes["policy"]["received"]) / seconds / 2,
        "predictions": len(stages["inference"]),
        "stages_ms": {name: _summary(values) for name, values in stages.items()},
        "added_ms": _summary(np.sum([stages[name] for name in ADDED], axis=0)),
        "whole_ms": _summary(np.sum([stages[name] for name in STAGES], axis=0)),
        "commands": _jitter([note[1] for note in notes["controller"]["tick"]], rate),
        "empty_timer": _jitter([note[1] for note in notes["empty timer"]["tick"]], rate),
        "cpu_share": {name: used_s / seconds for name, used_s in spent.items()},
    }


def breakdown(policy: Notes, controller: Notes) -> dict[str, np.ndarray]:
    """Divide the time from stamp to first command among the stages, for each prediction [ms].

    Only predictions whose stages are all there count: one is cut by the beginning, one by the end.
    """
    found = defaultdict(list)
    received = {key: end for key, _, end in policy["received"]}
    stamps = sorted(received)
    chunks = {key: (begin, end) for key, begin, end in controller["chunk"]}
    published = {key: (begin, end) for key, begin, end in policy["publishing"]}
    for stamp, begin, end in policy["infer"]:
        inside = {
            name: _inside(policy[name], begin, end)
            for name in ("preprocessing", "patches and prompt", "inference")
        }
        conversion = [note for note in policy["conversion"] if note[2] <= begin]
        if stamp not in received or stamp not in published or stamp not in chunks or not conversion:
            continue
        # the other camera's image of the same moment comes right behind
        last = max(received[other] for other in stamps if stamp <= other <= stamp + 10_000_000)
        looked, converted = conversion[-1][1:]
        publishing, gone = published[stamp]
        came = chunks[stamp][0]
        ticks = [note for note in controller["tick"] if note[1] >= came]
        if not ticks or looked < last:
            continue
        tick_began = ticks[0][1]
        commands = [note for note in controller["command"] if note[1] >= tick_began]
        if not commands:
            continue
        sent = commands[0][2]
        values = {
            "transport of images": last - stamp,
            "waiting for a turn": looked - last,
            "conversion": converted - looked,
            **inside,
            "rest of the policy": publishing - converted - sum(inside.values()),
            "publishing": gone - publishing,
            "transport of chunk": came - gone,
            "waiting for a tick": tick_began - came,
            "sending": sent - tick_began,
        }
        for name, value in values.items():
            found[name].append(value / 1e6)
    if not found:
        seen = {name: len(noted) for notes in (policy, controller) for name, noted in notes.items()}
        raise RuntimeError(f"no prediction went through the whole graph; images and stages seen: {seen}")
    return {name: np.array(found[name]) for name in STAGES}


def _inside(notes: list[list[int]], begin: int, end: int) -> int:
    return sum(note[2] - note[1] for note in notes if note[1] >= begin and note[2] <= end)


def _read(path: Path, begin: int, end: int) -> Notes:
    notes: Notes = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        if line:
            stage, *note = json.loads(line)
            if begin <= note[1] <= end:
                notes[stage].append(note)
    return notes


def _cpu_seconds(processes: ProcessGroup) -> dict[str, float]:
    """Return what each process has used so far, user and system."""
    found = {}
    for member in processes._members:
        fields = Path(f"/proc/{member.process.pid}/stat").read_text().rpartition(")")[2].split()
        found[member.name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def _summary(values: np.ndarray | list[float]) -> dict[str, float]:
    p5, p50, p95, p99 = np.percentile(values, (5, 50, 95, 99))
    return {"median": float(p50), "p5": float(p5), "p95": float(p95), "p99": float(p99)}


def _jitter(begun_ns: list[int], rate: float) -> dict[str, float]:
    """Say how far the times between ticks are from the period [ms]."""
    gaps = np.diff(np.array(begun_ns)) / 1e6
    return {"rate_hz": float(1e3 / gaps.mean()), **_summary(np.abs(gaps - 1e3 / rate))}


def table(runs: list[dict[str, Any]]) -> str:
    """Return everything as Markdown."""
    texts = []
    for seen in runs:
        how = "with" if seen["shared_memory_profile"] else "without"
        texts.append(f"## {how} config/fastdds_cameras.xml for the cameras")
        texts.append(
            f"{seen['images_per_s_and_camera']:.1f} images per second and camera, "
            f"{seen['predictions']} predictions in {seen['seconds']:.0f} s"
        )
        rows = [(name, seen["stages_ms"][name]) for name in STAGES]
        rows += [("**all**", seen["whole_ms"]), ("**added by the graph**", seen["added_ms"])]
        columns = {"stage": lambda row: row[0]}
        for key in ("median", "p5", "p95"):
            columns[f"{key} [ms]"] = lambda row, key=key: f"{row[1][key]:.2f}"
        texts.append(report.markdown(rows, columns))
        texts.append(f"added by the graph: {', '.join(ADDED)}")
        rows = [("commands", seen["commands"]), ("empty timer", seen["empty_timer"])]
        columns = {
            "jitter": lambda row: row[0],
            "rate [Hz]": lambda row: f"{row[1]['rate_hz']:.2f}",
            "median [ms]": lambda row: f"{row[1]['median']:.3f}",
            "p99 [ms]": lambda row: f"{row[1]['p99']:.3f}",
        }
        texts.append(report.markdown(rows, columns))
        shares = {name: f"{share:.0%}" for name, share in seen["cpu_share"].items()}
        texts.append("CPU, of one core: " + ", ".join(f"{name} {share}" for name, share in shares.items()))
    return "\n\n".join(texts)


def plot(seen: dict[str, Any], path: Path) -> None:
    """Draw the stages as one bar."""
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    figure, axis = pyplot.subplots(figsize=(9, 3.2), layout="constrained")
    left, colours = 0.0, pyplot.get_cmap("tab20")
    for index, name in enumerate(STAGES):
        median = seen["stages_ms"][name]["median"]
        axis.barh(0, median, left=left, color=colours(index), label=f"{name}: {median:.1f} ms")
        left += median
    axis.set_yticks([])
    axis.set_ylim(-0.5, 0.5)
    axis.set_xlabel("from the oldest image's stamp to the first command [ms], medians of the stages")
    figure.legend(loc="outside upper center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--camera-rate", type=float, default=30.0)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="time measured, for each way of transport"
    )
    parser.add_argument("--profile", choices=["with", "without", "both"], default="both")
    parser.add_argument("--quick", action="store_true", help="5 s, with the profile only")
    parser.add_argument("--out", type=Path, default=ROOT / "out")
    parsed = parser.parse_args(arguments)
    if parsed.quick:
        parsed.seconds, parsed.profile = 5.0, "with"
    return parsed


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure and write the report."""
    parsed = parse(arguments)
    ways = {"with": [True], "without": [False], "both": [True, False]}[parsed.profile]
    runs = [run(parsed, profile) for profile in ways]
    parsed.out.mkdir(parents=True, exist_ok=True)
    (parsed.out / "pipeline.json").write_text(json.dumps(runs, indent=2) + "\n", encoding="utf-8")
    (parsed.out / "pipeline.md").write_text(table(runs) + "\n", encoding="utf-8")
    plot(runs[0], parsed.out / "pipeline.png")
    print(table(runs))
    print(f"written to {parsed.out}")
    return runs


if __name__ == "__main__":
    main()
