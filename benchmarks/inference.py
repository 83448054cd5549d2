"""How fast one chunk of actions is predicted: the published algorithm, this package and token by token.

All run in turn in one process on the same random weights and the same inputs; the first runs are not counted.
`--soak 10000` watches memory over that many predictions instead. Writes `inference.json`, `inference.md`,
`inference.png` and `autoregressive.png` into the output folder.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from baseline.autoregressive import Autoregressive
from support import roofline
from support.inference_report import Result, plot, table
from support.variants import Bench, Variant
from torch import Tensor

from dream_vla_ros.model import DreamConfig, DreamVLAForActionPrediction, Objective
from dream_vla_ros.model.initialize import random_model
from dream_vla_ros.model.tokenizer import with_token_ids

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {"tiny": "tabletop_tiny", "small": "small", "7b": "dream_vla_7b"}
IMAGE_SIZE = {"tiny": 112, "small": 224, "7b": 224}
PARAMETERS = {"tiny": 4e6, "small": 110e6, "7b": 8.3e9}
WORDS = 22  # tokens of a usual prompt beside its images
PROPRIO = 8
CHUNKS = (1, 3, 5, 8, 12, 16)
# The published default is 50 denoising steps; what a step costs shows in fewer.
DIFFUSION_STEPS = 10
LEAST_RUNS = 3
SETTLED = 100  # predictions after which memory no longer grows for good reasons


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


class Setting:
    """One size, objective and number of cameras.

    :param arguments: The command line.
    """

    def __init__(
        self,
        size: str,
        objective: Objective,
        cameras: int,
        arguments: argparse.Namespace,
        machine: roofline.Machine,
    ) -> None:
        folder = ROOT / "models" / CONFIGS[size]
        self.size, self.objective, self.cameras = size, objective, cameras
        self.arguments, self.machine = arguments, machine
        self._config = with_token_ids(DreamConfig.from_folder(folder), folder, for_actions=True)
        few = DIFFUSION_STEPS if objective is Objective.DIFFUSION else objective.default_steps
        self.steps = arguments.steps or few
        self.inputs = random_inputs(self._config, cameras, arguments.image_size or IMAGE_SIZE[size])
        self.device = torch.device(arguments.device)

    def model(self) -> DreamVLAForActionPrediction:
        """Make the model, the same each time."""
        return random_model(
            self._config,
            self.objective,
            self.arguments.chunk_size,
            proprio_dim=PROPRIO,
            dtype=getattr(torch, self.arguments.dtype),
            device=self.device,
        )

    def bench(self) -> Bench:
        """Make what makes the variants."""
        noise = torch.randn(self.arguments.chunk_size, 7, generator=torch.Generator().manual_seed(0))
        return Bench(self.model, {**self.inputs, "noise": noise, "steps": self.steps})

    def measure(self, part: str, variants: list[Variant], model: DreamVLAForActionPrediction) -> list[Result]:
        """Let all variants take turns until there are enough runs or time is up."""
        expected = variants[0].predict()
        differences = {v.name: float(np.abs(v.predict() - expected).max()) for v in variants}
        times: dict[str, list[float]] = {v.name: [] for v in variants}
        spent: dict[str, list[float]] = {v.name: [] for v in variants}
        memory: dict[str, float] = {}
        deadline = time.monotonic() + self.arguments.seconds
        for turn in range(self.arguments.runs):
            if turn >= LEAST_RUNS and time.monotonic() > deadline:
                break
            for variant in variants:
                elapsed, cpu, memory[variant.name] = self._once(variant)
                times[variant.name].append(elapsed)
                spent[variant.name].append(cpu)
        first = np.array(times[variants[0].name])
        prompt = self.inputs["input_ids"].shape[1]
        grids = [tuple(grid) for grid in self.inputs["image_grid_thw"].tolist()]
        return [
            Result(
                part,
                self.size,
                self.objective.value,
                v.steps,
                self.cameras,
                model.chunk_size,
                v.name,
                v.exact,
                *(float(x) for x in np.percentile(times[v.name], (50, 25, 75))),
                float(np.median(spent[v.name])),
                len(times[v.name]),
                # turn by turn, so that what else the machine does strikes both alike
                float(np.median(first / np.array(times[v.name]))),
                1e3
                * roofline.prediction_work(
                    model, prompt, grids, v.steps, with_state=True, samples=v.samples
                ).least_s(self.machine),
                differences[v.name],
                memory[v.name],
            )
            for v in variants
        ]

    def _once(self, variant: Variant) -> tuple[float, float, float]:
        """Run once; return milliseconds from call to actions in memory, of the processor, and MiB held."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        start, used = time.perf_counter(), time.process_time()
        variant.predict()
        elapsed, cpu = 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - used)
        if self.device.type == "cuda":
            return elapsed, cpu, torch.cuda.max_memory_allocated(self.device) / 2**20
        return elapsed, cpu, resident_mib()


def resident_mib() -> float:
    """Return the memory that this process holds now."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def optimisations(size: str, arguments: argparse.Namespace, machine: roofline.Machine) -> list[Result]:
    """Switch one optimisation on after the other, then the approximate ones."""
    setting = Setting(size, Objective.FLOW_MATCHING, max(arguments.cameras), arguments, machine)
    bench = setting.bench()
    variants = bench.ladder()
    if arguments.compile:
        variants += bench.compiled()
    return setting.measure("optimisations", variants + bench.approximate(), bench.model)


def objectives(size: str, arguments: argparse.Namespace, machine: roofline.Machine) -> list[Result]:
    """Compare published and ours for each objective and number of cameras."""
    results = []
    for objective in map(Objective, arguments.objective):
        for cameras in arguments.cameras:
            setting = Setting(size, objective, cameras, arguments, machine)
            bench = setting.bench()
            results += setting.measure("objectives", bench.both(), bench.model)
    return results


def autoregressive(size: str, arguments: argparse.Namespace, machine: roofline.Machine) -> list[Result]:
    """Compare token by token with all tokens in one pass, and with the flow's steps."""
    results = []
    discrete = Setting(size, Objective.DISCRETE, max(arguments.cameras), arguments, machine)
    flow = Setting(size, Objective.FLOW_MATCHING, max(arguments.cameras), arguments, machine)
    models = {setting: setting.model() for setting in (discrete, flow)}
    for model in models.values():
        model.optimise()
    one_by_one = Autoregressive(discrete.model())
    for chunk in arguments.chunks:
        for model in (*models.values(), one_by_one.model):
            model.chunk_size = chunk
        noise = torch.randn(chunk, 7, generator=torch.Generator().manual_seed(0))
        parallel, stepped = models[discrete], models[flow]
        variants = [
            Variant(
                "token by token",
                lambda: one_by_one.predict_actions(**discrete.inputs).numpy(),
                True,
                7 * chunk,
            ),
            Variant("one pass", lambda m=parallel: m.predict_actions(**discrete.inputs), False, 1),
            Variant(
                f"flow, {flow.steps} steps",
                lambda m=stepped, n=noise: m.predict_actions(**flow.inputs, noise=n, steps=flow.steps),
                False,
                flow.steps,
            ),
        ]
        results += discrete.measure("autoregressive", variants, one_by_one.model)
    return results


def soak(size: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Predict many times and return memory after the first hundred and at the end."""
    setting = Setting(size, Objective.FLOW_MATCHING, 2, arguments, roofline.Machine(1.0, 1.0))
    model = setting.model()
    model.optimise()
    noise = torch.zeros(arguments.chunk_size, 7)
    settled, start = 0.0, time.perf_counter()
    for count in range(1, arguments.soak + 1):
        inputs = dict(setting.inputs)
        inputs["input_ids"] = inputs["input_ids"].clone()
        inputs["input_ids"][0, -2] = count % 200  # another instruction each time: nothing may pile up
        model.predict_actions(**inputs, noise=noise, steps=arguments.steps)
        if count == min(arguments.soak, SETTLED):
            settled = resident_mib()
    seconds = time.perf_counter() - start
    return {
        "predictions": arguments.soak,
        "seconds": seconds,
        f"resident_mib_after_{SETTLED}": settled,
        "resident_mib_at_end": resident_mib(),
    }


def fits(size: str, arguments: argparse.Namespace) -> str:
    """Return why a size cannot be run here; empty if it can."""
    width = getattr(torch, arguments.dtype).itemsize
    # one model for what shares weights, one for what packs them anew; on a processor one more in blocks
    models = 2.3 if torch.device(arguments.device).type == "cuda" else 3.3
    wanted = models * PARAMETERS[size] * width
    if torch.device(arguments.device).type == "cuda":
        free = torch.cuda.mem_get_info(arguments.device)[0]
    else:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    if wanted > free:
        return f"{size} skipped: needs some {wanted / 2**30:.0f} GiB, {free / 2**30:.0f} GiB are free"
    return ""


def about(arguments: argparse.Namespace, machine: roofline.Machine) -> dict[str, str | int | float]:
    """Say what the figures were measured on."""
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU"
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "dtype": arguments.dtype,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "copy GB/s": round(machine.bytes_per_s / 1e9, 1),
        "matrix product GFLOP/s": round(machine.flops_per_s / 1e9, 1),
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    gpu = torch.cuda.is_available()
    parser.add_argument(
        "--size", nargs="+", choices=CONFIGS, default=["tiny", "small", "7b"] if gpu else ["tiny", "small"]
    )
    names = [objective.value for objective in Objective]
    parser.add_argument("--objective", nargs="+", choices=names, default=names)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--steps", type=int, help="default: the objective's; 10 for diffusion")
    parser.add_argument("--cameras", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--chunk-size", type=int, default=8)
    parser.add_argument("--chunks", nargs="+", type=int, default=list(CHUNKS))
    parser.add_argument("--image-size", type=int, help="pixels; default: 112 for tiny, else 224")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16" if gpu else "float32")
    parser.add_argument("--device", default="cuda" if gpu else "cpu")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=gpu)
    parser.add_argument("--runs", type=int, default=15, help="most runs of each variant")
    parser.add_argument("--seconds", type=float, default=6.0, help="time for one setting, 3 runs at least")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's")
    parser.add_argument("--quick", action="store_true", help="tiny only, few runs: does it still work?")
    parser.add_argument("--soak", type=int, help="only watch memory over so many predictions")
    parser.add_argument("--out", type=Path, default=ROOT / "out")
    parsed = parser.parse_args(arguments)
    if parsed.quick:
        parsed.size, parsed.runs, parsed.seconds, parsed.chunks = ["tiny"], LEAST_RUNS, 1.0, [1, 12]
    return parsed


PARTS = {"optimisations": optimisations, "objectives": objectives, "autoregressive": autoregressive}


def main(arguments: list[str] | None = None) -> list[Result]:
    """Measure every setting asked for and write the report."""
    parsed = parse(arguments)
    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    parsed.out.mkdir(parents=True, exist_ok=True)
    if parsed.soak:
        memory = {size: soak(size, parsed) for size in parsed.size}
        (parsed.out / "memory.json").write_text(json.dumps(memory, indent=2) + "\n", encoding="utf-8")
        print(json.dumps(memory, indent=2))
        return []
    machine = roofline.measure(torch.device(parsed.device), getattr(torch, parsed.dtype))
    results, skipped = [], []
    for size in parsed.size:
        if reason := fits(size, parsed):
            skipped.append(reason)
            print(reason)
            continue
        for part in parsed.parts:
            results += PARTS[part](size, parsed, machine)
    measured_on = about(parsed, machine)
    written = {"machine": measured_on, "skipped": skipped, "results": [asdict(r) for r in results]}
    (parsed.out / "inference.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    head = ", ".join(f"{key} {value}" for key, value in measured_on.items())
    text = "\n\n".join([head, *skipped, table(results)])
    (parsed.out / "inference.md").write_text(text + "\n", encoding="utf-8")
    plot(results, parsed.out)
    print(text)
    print(f"written to {parsed.out}")
    return results


if __name__ == "__main__":
    main()
