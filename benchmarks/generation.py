"""How fast Dream-VL answers: tokens per second against steps and shortcuts, yes/no questions per second.

Everything is measured with the layers as they are read and with faster ones over the same weights, in turn.
Random weights, so only times and how far the approximate shortcut departs from the exact one mean anything.
Writes `generation.json`, `generation.md` and `generation.png` into the output folder.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from inference import CONFIGS, IMAGE_SIZE, ROOT, random_inputs

from dream_vla_ros.model import DreamConfig, DreamProcessor, DreamVL
from dream_vla_ros.model.initialize import randomize
from dream_vla_ros.model.tokenizer import has_tokenizer, with_token_ids

QUESTION = "Is the red block on the blue one?"
AS_READ, FAST = "as read", "fast"
LAYERS = (AS_READ, FAST)


@dataclass(frozen=True)
class Result:
    """One row: what was done how, and how long it took.

    `same` is the share of tokens that the exact way gives, too, with layers as read; None for questions.
    """

    size: str
    layers: str
    what: str
    steps: int
    refresh_every: int
    median_ms: float
    per_second: float
    same: float | None


def random_dream_vl(size: str, device: torch.device, dtype: torch.dtype) -> DreamVL:
    """Make a Dream-VL of a committed configuration, with its tokenizer if there is one."""
    folder = ROOT / "models" / CONFIGS[size]
    config = with_token_ids(DreamConfig.from_folder(folder), folder, for_actions=False)
    with torch.device(device):
        model = DreamVL(config).to(dtype)
    randomize(model, 0)
    model.processor = DreamProcessor.from_pretrained(folder) if has_tokenizer(folder) else None
    return model.eval()


def medians_ms(ways: Sequence[Callable[[], object]], runs: int) -> list[float]:
    """Return the median time of each way of several runs in turn, after one that is not counted."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(runs + 1):
        for run, kept in zip(ways, times, strict=True):
            start = time.perf_counter()
            run()
            kept.append(1e3 * (time.perf_counter() - start))
    return [float(np.median(kept[1:])) for kept in times]


def measure(size: str, arguments: argparse.Namespace) -> list[Result]:
    """Measure text of several steps with and without the kept prompt, then questions."""
    device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
    models = {layers: random_dream_vl(size, device, dtype) for layers in LAYERS}
    models[FAST].optimise()
    plain = models[AS_READ]
    inputs = random_inputs(plain.config, 1, IMAGE_SIZE[size])
    inputs.pop("proprio")
    new, results = arguments.tokens, []

    def add(ways: Sequence[Callable], what: str, count: int, same: Sequence[float | None], *how: int) -> None:
        for layers, median, share in zip(LAYERS, medians_ms(ways, arguments.runs), same, strict=True):
            results.append(Result(size, layers, what, *how, median, 1e3 * count / median, share))

    for steps in arguments.steps:
        exact = plain.generate_ids(**inputs, max_new_tokens=new, steps=steps)
        for refresh in arguments.refresh_every:
            told = {"max_new_tokens": new, "steps": steps, "refresh_every": refresh}
            ways = [partial(models[layers].generate_ids, **inputs, **told) for layers in LAYERS]
            same = [float((way() == exact)[0, -new:].float().mean()) for way in ways]
            add(ways, f"{new} tokens", new, same, steps, refresh)
    if plain.processor is not None:
        side = IMAGE_SIZE[size]
        image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        for count in (1, 8, 32):
            asked = [QUESTION] * count, [image]
            ways = [partial(models[layers].yes_probabilities, *asked) for layers in LAYERS]
            add(ways, f"{count} questions", count, [None] * len(ways), 1, 1)
    return results


def table(results: list[Result]) -> str:
    """Return the results as a Markdown table."""
    columns = ("size", "what", "steps", "prompt run every", "layers", "median [ms]", "per second")
    columns += ("same as exact",)
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [
        f"| {r.size} | {r.what} | {r.steps} | {r.refresh_every} | {r.layers} | {r.median_ms:.1f} "
        f"| {r.per_second:.1f} | {'' if r.same is None else f'{r.same:.0%}'} |"
        for r in results
    ]
    return "\n".join(lines)


def plot(results: list[Result], path: Path) -> None:
    """Draw tokens per second against steps, a line per size and shortcut."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    text = [r for r in results if r.same is not None]
    for size, layers, every in dict.fromkeys((r.size, r.layers, r.refresh_every) for r in text):
        line = [r for r in text if (r.size, r.layers, r.refresh_every) == (size, layers, every)]
        label = f"{size}, layers {layers}, prompt every {every} step{'s' if every > 1 else ''}"
        axes.plot([r.steps for r in line], [r.per_second for r in line], "o-", label=label)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("steps")
    axes.set_ylabel("tokens per second")
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> list[Result]:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", nargs="+", choices=CONFIGS, default=["tiny", "small"])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--steps", nargs="+", type=int, default=[4, 16])
    parser.add_argument("--refresh-every", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "out")
    parsed = parser.parse_args(arguments)
    results = [result for size in parsed.size for result in measure(size, parsed)]
    parsed.out.mkdir(parents=True, exist_ok=True)
    rows = [asdict(result) for result in results]
    (parsed.out / "generation.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    (parsed.out / "generation.md").write_text(table(results) + "\n", encoding="utf-8")
    plot(results, parsed.out / "generation.png")
    print(table(results))
    return results


if __name__ == "__main__":
    main()
