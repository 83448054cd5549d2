"""What a machine can do at most, and what a prediction asks of it at least."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from dream_vla_ros.model import DreamVLAForActionPrediction
from dream_vla_ros.model.vision import Grid

COPIED_BYTES = {"cpu": 2**28, "cuda": 2**32}  # many times the last cache
MATRIX_SIDE = {"cpu": 1536, "cuda": 8192}
REPEATS = 7


@dataclass(frozen=True)
class Machine:
    """Measured ceilings.

    :param bytes_per_s: Bytes read plus bytes written by a large copy.
    :param flops_per_s: Of a large matrix product in the type measured.
    """

    bytes_per_s: float
    flops_per_s: float


@dataclass(frozen=True)
class Work:
    """What one prediction needs: products, and each weight read once per pass."""

    flops: float
    bytes: float

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: int) -> Work:
        return Work(self.flops * times, self.bytes * times)

    def least_s(self, machine: Machine) -> float:
        """Return the time below which no implementation of these products can come."""
        return max(self.flops / machine.flops_per_s, self.bytes / machine.bytes_per_s)


def measure(device: torch.device, dtype: torch.dtype) -> Machine:
    """Measure a device's ceilings, on random data."""
    kind = device.type
    generator = torch.Generator(device).manual_seed(0)
    count = COPIED_BYTES[kind] // 4
    source = torch.empty(count, device=device).uniform_(generator=generator)
    target = torch.empty_like(source)
    copy_s = _best(lambda: target.copy_(source), device)
    side = MATRIX_SIDE[kind]
    a, b = (torch.randn(side, side, generator=generator, device=device).to(dtype) for _ in range(2))
    product_s = _best(lambda: a @ b, device)
    return Machine(2 * 4 * count / copy_s, 2 * side**3 / product_s)


def vision_work(model: DreamVLAForActionPrediction, grids: list[Grid]) -> Work:
    """Return the work of encoding images once."""
    vision, width = model.config.vision, model.config.vision.embed_dim
    frames = [rows * columns for count, rows, columns in grids for _ in range(count)]
    patches = sum(frames)
    blocks = sum(p.numel() for p in model.visual.blocks.parameters())
    embed = model.visual.patch_embed.proj.weight.numel()
    joined = sum(p.numel() for part in (model.visual.merger, model.projector) for p in part.parameters())
    flops = 2 * patches * (blocks + embed) + 2 * patches // vision.patches_per_token * joined
    flops += 4 * width * vision.depth * sum(n * n for n in frames)
    return Work(flops, (blocks + embed + joined) * _size(model))


def pass_work(model: DreamVLAForActionPrediction, length: int, read: int, logits: int) -> Work:
    """Return the work of one pass of the language model.

    :param length: Places of the sequence.
    :param read: Places whose result is wanted: the last layer works on these, but for keys and values.
    :param logits: Tokens that are scored at each of them.
    """
    config = model.config
    width, layers = config.hidden_size, config.num_hidden_layers
    narrow = config.num_key_value_heads * config.head_dim
    keys = 2 * width * narrow
    others = 2 * width * width + 3 * width * config.intermediate_size
    flops = 2 * length * (keys + others) * (layers - 1) + 2 * (length * keys + read * others)
    flops += 4 * width * length * (length * (layers - 1) + read)
    flops += 2 * read * width * logits
    return Work(flops, ((keys + others) * layers + width * logits) * _size(model))


def prediction_work(
    model: DreamVLAForActionPrediction,
    prompt: int,
    grids: list[Grid],
    steps: int,
    with_state: bool,
    samples: int = 1,
) -> Work:
    """Return the work of one whole prediction of the model's objective, done exactly and without waste.

    :param samples: Noises that are gone from at once, by weights that are read once for all of them.
    """
    objective, closing = model.objective, len(model.config.tokens.closing)
    length = prompt + model.action_places + closing + int(with_state) + int(objective.denoises)
    tokens = 0 if objective.continuous else len(model.action_tokens.ids)
    one = pass_work(model, length, model.action_places, tokens)
    parts = (model.action_head, model.noisy_action_projector)
    head = sum(p.numel() for part in parts if part is not None for p in part.parameters())
    one += Work(2 * head * model.chunk_size, head * _size(model))
    one = Work(one.flops * samples, one.bytes)
    return vision_work(model, grids) + one * (steps if objective.default_steps > 1 else 1)


def _size(model: DreamVLAForActionPrediction) -> int:
    return torch.empty(0, dtype=model.dtype).element_size()


def _best(run: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(REPEATS):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - start)
    return min(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
