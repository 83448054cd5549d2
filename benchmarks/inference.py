"""How fast one chunk of actions is predicted: the published algorithm against this package, side by side.

Both run in turn in the same process on the same random weights and the same inputs; the first runs are not
counted. Writes `inference.json`, `inference.md` and `inference.png` into the output folder.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from baseline.published_algorithm import PublishedAlgorithm
from torch import Tensor

from dream_vla_ros.model import DreamConfig, DreamVLAForActionPrediction, Objective
from dream_vla_ros.model.initialize import random_model
from dream_vla_ros.model.tokenizer import with_token_ids

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {"tiny": "tabletop_tiny", "small": "small", "7b": "dream_vla_7b"}
IMAGE_SIZE = {"tiny": 112, "small": 224, "7b": 224}
WORDS = 22  # tokens of a usual prompt beside its images
PROPRIO = 8
Predict = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Result:
    """One row: who predicted what, and how long it took [ms]."""

    size: str
    objective: str
    steps: int
    cameras: int
    variant: str
    median_ms: float
    p25_ms: float
    p75_ms: float
    runs: int
    speedup: float
    largest_difference: float
    peak_memory_mib: float | None


def random_inputs(config: DreamConfig, cameras: int, image_size: int, seed: int = 0) -> dict[str, Tensor]:
    """Make a prompt with one image per camera, of the model's sizes."""
    rng = np.random.default_rng(seed)
    vision, tokens = config.vision, config.tokens
    side = image_size // vision.patch_size
    places = side * side // vision.patches_per_token
    ids = []
    for _ in range(cameras):
        ids += [tokens.vision_start, *[tokens.image] * places, tokens.vision_end]
    words = rng.integers(0, min(tokens.image, config.vocab_size // 2), WORDS).tolist()
    pixels = rng.standard_normal((cameras * side * side, vision.patch_width), dtype=np.float32)
    return {
        "input_ids": torch.tensor([[*words[:3], *ids, *words[3:]]]),
        "pixel_values": torch.from_numpy(pixels),
        "image_grid_thw": torch.tensor([[1, side, side]] * cameras),
        "proprio": torch.from_numpy(rng.uniform(-1, 1, PROPRIO).astype(np.float32)),
    }


def variants(model: DreamVLAForActionPrediction, inputs: dict[str, Tensor], steps: int) -> dict[str, Predict]:
    """Return every way to predict that is compared; the baseline first.

    All choose from the whole vocabulary, so that discrete results can be compared.
    """
    noise = torch.randn(model.chunk_size, model.action_dim, generator=torch.Generator().manual_seed(0))
    published = PublishedAlgorithm(model)
    given = {**inputs, "noise": noise, "steps": steps}
    return {
        "published": lambda: published.predict_actions(**given).float().cpu().numpy(),
        "ours": lambda: model.predict_actions(**given, action_tokens_only=False),
        "ours, action tokens only": lambda: model.predict_actions(**given),
    }


def measure(predict: Predict, device: torch.device) -> tuple[float, float | None]:
    """Run once; return milliseconds from call to actions in memory, and peak device memory in MiB."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    predict()
    elapsed = 1e3 * (time.perf_counter() - start)
    return elapsed, torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None


def compare(
    size: str, objective: Objective, steps: int | None, cameras: int, arguments: argparse.Namespace
) -> list[Result]:
    """Measure all variants of one setting, taking turns, until there are enough runs or time is up."""
    folder = ROOT / "models" / CONFIGS[size]
    config = with_token_ids(DreamConfig.from_folder(folder), folder, for_actions=True)
    device = torch.device(arguments.device)
    model = random_model(
        config,
        objective,
        arguments.chunk_size,
        proprio_dim=PROPRIO,
        dtype=getattr(torch, arguments.dtype),
        device=device,
    )
    steps = steps or objective.default_steps
    inputs = random_inputs(config, cameras, arguments.image_size or IMAGE_SIZE[size])
    compared = variants(model, inputs, steps)
    if objective.continuous:
        compared.pop("ours, action tokens only")  # a head chooses no tokens
    expected = compared["published"]()
    difference = {name: float(np.abs(predict() - expected).max()) for name, predict in compared.items()}
    for predict in compared.values():
        predict()  # warm-up
    times: dict[str, list[float]] = {name: [] for name in compared}
    memory: dict[str, float | None] = {}
    deadline = time.monotonic() + arguments.seconds
    while len(times["ours"]) < arguments.runs and (time.monotonic() < deadline or len(times["ours"]) < 3):
        for name, predict in compared.items():
            elapsed, memory[name] = measure(predict, device)
            times[name].append(elapsed)
    baseline = float(np.median(times["published"]))
    return [
        Result(
            size,
            objective.value,
            steps,
            cameras,
            name,
            *(float(x) for x in np.percentile(measured, (50, 25, 75))),
            len(measured),
            baseline / float(np.median(measured)),
            difference[name],
            memory[name],
        )
        for name, measured in times.items()
    ]


def table(results: list[Result]) -> str:
    """Return the results as a Markdown table."""
    columns = (
        "size",
        "objective",
        "steps",
        "cameras",
        "variant",
        "median [ms]",
        "quartiles [ms]",
        "speed-up",
    )
    lines = [f"| {' | '.join(columns)} | difference |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {r.size} | {r.objective} | {r.steps} | {r.cameras} | {r.variant} | {r.median_ms:.1f} "
        f"| {r.p25_ms:.1f} to {r.p75_ms:.1f} | {r.speedup:.2f} | {r.largest_difference:.1e} |"
        for r in results
    ]
    return "\n".join(lines)


def plot(results: list[Result], path: Path) -> None:
    """Draw medians with their quartiles, one group of bars per setting."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    settings = list(dict.fromkeys((r.size, r.objective, r.steps, r.cameras) for r in results))
    names = list(dict.fromkeys(r.variant for r in results))
    figure, axes = pyplot.subplots(figsize=(2 + 1.6 * len(settings), 4.5), layout="constrained")
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        rows = {(r.size, r.objective, r.steps, r.cameras): r for r in results if r.variant == name}
        shown = [(at, rows[setting]) for at, setting in enumerate(settings) if setting in rows]
        axes.bar(
            [at + (index - (len(names) - 1) / 2) * width for at, _ in shown],
            [r.median_ms for _, r in shown],
            width,
            yerr=[[r.median_ms - r.p25_ms for _, r in shown], [r.p75_ms - r.median_ms for _, r in shown]],
            capsize=2,
            label=name,
        )
    labels = ["{}\n{}\n{} steps, {} cam.".format(*setting) for setting in settings]
    axes.set_xticks(range(len(settings)), labels, fontsize=8)
    axes.set_yscale("log")
    axes.set_ylabel("time per chunk [ms], median and quartiles")
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def machine(arguments: argparse.Namespace) -> dict[str, str | int]:
    """Say what the figures were measured on."""
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU"
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "dtype": arguments.dtype,
        "chunk_size": arguments.chunk_size,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", nargs="+", choices=CONFIGS, default=["tiny", "small"])
    objectives = [objective.value for objective in Objective]
    parser.add_argument("--objective", nargs="+", choices=objectives, default=["flow_matching"])
    parser.add_argument("--steps", type=int, help="default: the objective's")
    parser.add_argument("--cameras", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--chunk-size", type=int, default=8)
    parser.add_argument("--image-size", type=int, help="pixels; default: 112 for tiny, else 224")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--runs", type=int, default=20, help="most runs of each variant")
    parser.add_argument("--seconds", type=float, default=8.0, help="time for one setting, 3 runs at least")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's")
    parser.add_argument("--out", type=Path, default=ROOT / "out")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Result]:
    """Measure every setting asked for and write the report."""
    parsed = parse(arguments)
    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    results = []
    for size in parsed.size:
        for objective in map(Objective, parsed.objective):
            for cameras in parsed.cameras:
                results += compare(size, objective, parsed.steps, cameras, parsed)
    report = {"machine": machine(parsed), "results": [asdict(result) for result in results]}
    parsed.out.mkdir(parents=True, exist_ok=True)
    (parsed.out / "inference.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (parsed.out / "inference.md").write_text(table(results) + "\n", encoding="utf-8")
    plot(results, parsed.out / "inference.png")
    print(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    print(table(results))
    print(f"written to {parsed.out}")
    return results


if __name__ == "__main__":
    main()
