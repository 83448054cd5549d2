"""Rows, tables and plots of the benchmark of inference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import report


@dataclass(frozen=True)
class Result:
    """One row: who predicted what, and how long it took [ms].

    `cpu_ms` is the processor's time over all threads, which other programs hardly change, `speedup` the
    median over the turns of the first variant's time by this one's, `limit_ms` the least time of the exact
    products, `difference` the largest one of an action to the published algorithm's.
    """

    part: str
    size: str
    objective: str
    steps: int
    cameras: int
    chunk: int
    variant: str
    exact: bool
    median_ms: float
    p25_ms: float
    p75_ms: float
    cpu_ms: float
    runs: int
    speedup: float
    limit_ms: float
    difference: float
    memory_mib: float


def table(results: list[Result]) -> str:
    """Return the results as Markdown tables, one per part."""
    columns = {
        "size": lambda r: r.size,
        "objective": lambda r: r.objective,
        "cameras": lambda r: str(r.cameras),
        "chunk": lambda r: str(r.chunk),
        "variant": lambda r: r.variant,
        "steps": lambda r: str(r.steps),
        "median [ms]": lambda r: f"{r.median_ms:.1f}",
        "quartiles [ms]": lambda r: f"{r.p25_ms:.1f} to {r.p75_ms:.1f}",
        "processor [ms]": lambda r: f"{r.cpu_ms:.1f}",
        "speed-up": lambda r: f"{r.speedup:.2f}",
        "of the limit": lambda r: f"{r.limit_ms / r.median_ms:.0%}",
        "action difference": lambda r: f"{r.difference:.1e}",
    }
    parts = dict.fromkeys(r.part for r in results)
    texts = []
    for part in parts:
        shown = dict(columns)
        if part == "autoregressive":
            for meaningless in ("of the limit", "action difference", "objective"):
                shown.pop(meaningless)
        rows = [r for r in results if r.part == part]
        texts.append(f"## {part}\n\n{report.markdown(rows, shown)}")
    return "\n\n".join(texts)


def plot(results: list[Result], out: Path) -> None:
    """Draw the optimisations of each size, and chunks against time."""
    rows = [r for r in results if r.part == "optimisations"]
    panels = {}
    for size in dict.fromkeys(r.size for r in rows):
        own = [r for r in rows if r.size == size]
        title = f"{size}, flow matching, {own[0].steps} steps, {own[0].cameras} cameras"
        panels[title] = [
            (
                r.variant if r.exact else f"{r.variant} (approximate)",
                r.median_ms,
                r.p25_ms,
                r.p75_ms,
                own[0].limit_ms,
                r.speedup,
            )
            for r in own
        ]
    if panels:
        report.bars(panels, out / "inference.png")
    rows = [r for r in results if r.part == "autoregressive"]
    series = {}
    for size, name in dict.fromkeys((r.size, r.variant) for r in rows):
        series[f"{size}: {name}"] = [
            (r.chunk, r.median_ms) for r in rows if (r.size, r.variant) == (size, name)
        ]
    if series:
        title = "the same backbone, all actions at once or token by token"
        report.lines(series, out / "autoregressive.png", "actions per chunk", "time per chunk [ms]", title)
