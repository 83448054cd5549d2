"""The training loop: any learner, on any number of processes, resumed onto the same loss curve.

Nothing random is remembered between steps: order, augmentation and noise are functions of the seed and the
step. A state to resume from is therefore weights, optimizer, average and step, written in one piece.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_vla_ros.training.ema import Average
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.metrics import MetricsLog
from dream_vla_ros.training.precision import Float32Attention
from dream_vla_ros.training.settings import TrainSettings
from dream_vla_ros.training.sharding import (
    gathered,
    load_optimizer_state,
    optimizer_state,
    part,
    part_like,
    prepared,
    whole,
)

STATE = "state.pt"
# What may differ between a training and its resumption without changing what is learned.
_FREE = ("log_every", "save_every", "validate_every")


class Order(Protocol):
    """Says which samples a step takes."""

    def batch(self, step: int) -> NDArray[np.int64]:
        """Return their numbers."""
        ...


class Feed(Protocol):
    """Makes a batch of samples by their numbers."""

    def __call__(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Any:
        """Make one batch, with all draws from ``rng``."""
        ...


class Trainer:
    """Trains a learner.

    :param learner: Its forward pass takes a batch and returns ``loss`` and other numbers.
    :param feed: Makes batches.
    :param order: Says which samples each step takes.
    :param settings: How to train.
    :param folder: Gets metrics and the state to resume from.
    :param validate: Returns numbers to write down; called with the averaged weights in place.
    :param progress: Called with the step and its numbers.
    """

    def __init__(
        self,
        learner: nn.Module,
        feed: Feed,
        order: Order,
        settings: TrainSettings,
        folder: str | Path,
        *,
        validate: Callable[[], dict[str, float]] | None = None,
        progress: Callable[[int, dict[str, float]], object] = lambda step, values: None,
    ) -> None:
        kwargs = DistributedDataParallelKwargs(find_unused_parameters=True)
        device = next(learner.parameters()).device
        self._accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision="bf16" if settings.bf16 else "no",
            kwargs_handlers=[kwargs],
        )
        self._slow_halves = settings.bf16 and device.type == "cpu"
        self._settings = settings
        self._folder = Path(folder)
        self._feed = feed
        self._order = order
        self._validate = validate
        self._progress = progress
        self._learner = learner
        optimizer = torch.optim.AdamW(
            parameter_groups(learner, settings.weight_decay), lr=settings.learning_rate, betas=settings.betas
        )
        self._wrapped, self._optimizer = prepared(self._accelerator, learner, optimizer)
        self._average = Average(learner, settings.ema_decay) if settings.ema_decay else None
        self.step = 0
        parts = self._accelerator.num_processes * settings.accumulation
        if settings.batch_size % parts:
            raise TrainingError(f"batch_size {settings.batch_size} is no multiple of {parts} parts")

    @property
    def is_main(self) -> bool:
        """Whether this process writes things down."""
        return bool(self._accelerator.is_main_process)

    def run(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Train from the last saved state to the end.

        :param stop: Asked after each step whether to save and leave.
        :returns: Whether the training is complete.
        """
        self._resume()
        log = MetricsLog(self._folder, self.step) if self.is_main else None
        self._wrapped.train()
        began_s, begun_at = time.monotonic(), self.step
        try:
            while self.step < self._settings.steps:
                values = self._one_step()
                elapsed_s = time.monotonic() - began_s
                values["samples_per_s"] = (self.step - begun_at) * self._settings.batch_size / elapsed_s
                every = self._settings.validate_every
                last = self.step == self._settings.steps
                if self._validate is not None and every and (self.step % every == 0 or last):
                    values |= self._validated()
                if log is not None and (self.step % self._settings.log_every == 0 or last):
                    log.write(self.step, values)
                if self.is_main:
                    self._progress(self.step, values)
                leaving = stop()
                if self.step % self._settings.save_every == 0 or last or leaving:
                    self._save()
                if leaving:
                    break
        finally:
            if log is not None:
                log.close()
        return self.step >= self._settings.steps

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averaged weights in place for a while; the last ones where none are kept.

        They are whole on every process, and every process has to do it.
        """
        average = nullcontext() if self._average is None else self._average.in_place(self._learner)
        with average, gathered(self._learner):
            yield

    def _one_step(self) -> dict[str, float]:
        settings, accelerator = self._settings, self._accelerator
        rate = settings.rate(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        parts = accelerator.num_processes * settings.accumulation
        shares = self._order.batch(self.step).reshape(settings.accumulation, accelerator.num_processes, -1)
        totals: dict[str, Tensor] = {}
        for share in range(settings.accumulation):
            number = share * accelerator.num_processes + accelerator.process_index
            rng = np.random.default_rng([settings.seed, self.step, number, parts])
            torch.manual_seed(int(rng.integers(2**63 - 1)))
            batch = self._feed(shares[share, accelerator.process_index], rng)
            last = share == settings.accumulation - 1
            with self._gradients_shared(last):
                # Only a copy of the model on each device casts by itself.
                cast = accelerator.autocast() if accelerator.is_fsdp2 else nullcontext()
                with cast, Float32Attention() if self._slow_halves else nullcontext():
                    values = self._wrapped(batch)
                accelerator.backward(values["loss"] / settings.accumulation)
            for key, value in values.items():
                value = value.detach().float().to(accelerator.device) / settings.accumulation
                totals[key] = totals[key] + value if key in totals else value
        norm = whole(nn.utils.clip_grad_norm_(self._learner.parameters(), settings.clip_norm))
        if bool(norm.isfinite()):
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self._average is not None:
            self._average.update(self._learner, self.step)
        means = {key: float(accelerator.reduce(value, "mean")) for key, value in totals.items()}
        return {**means, "gradient_norm": float(norm), "learning_rate": rate}

    @contextmanager
    def _gradients_shared(self, shared: bool) -> Iterator[None]:
        if shared or self._accelerator.num_processes == 1:
            yield
        else:
            with self._accelerator.no_sync(self._wrapped):
                yield

    def _validated(self) -> dict[str, float]:
        assert self._validate is not None
        self._learner.eval()
        with torch.no_grad(), self.averaged(), self._accelerator.autocast():
            values = self._validate()
        self._learner.train()
        return values

    def _save(self) -> None:
        self._accelerator.wait_for_everyone()
        state = {
            "step": self.step,
            "settings": asdict(self._settings),
            "learner": {name: whole(p.detach()) for name, p in trained_parameters(self._learner)},
            "optimizer": optimizer_state(self._optimizer),
            "average": None if self._average is None else self._average.state_dict(),
        }
        if not self.is_main:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f"{STATE}.partial"
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self._folder / STATE)

    def _resume(self) -> None:
        path = self._folder / STATE
        if not path.exists():
            return
        try:
            # Onto the processor: it is copied from there to wherever each part lives.
            state = torch.load(path, map_location="cpu", weights_only=True)
            saved = {key: value for key, value in state["settings"].items() if key not in _FREE}
        except Exception as error:  # unpickling damaged files raises almost anything
            raise TrainingError(f"{path} is damaged ({error}): remove it to start anew") from error
        now = {key: value for key, value in asdict(self._settings).items() if key not in _FREE}
        if differing := [key for key in now if saved.get(key) != now[key]]:
            told = ", ".join(f"{key} {saved.get(key)} is now {now[key]}" for key in differing)
            raise TrainingError(
                f"{path} is of a training with other settings ({told}): choose another folder"
            )
        self._take_over(path, state["learner"])
        load_optimizer_state(self._optimizer, state["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self.step = int(state["step"])

    @torch.no_grad()
    def _take_over(self, path: Path, saved: dict[str, Tensor]) -> None:
        for name, parameter in trained_parameters(self._learner):
            if name not in saved or saved[name].shape != parameter.shape:
                raise TrainingError(f"{path} is of another model ({name}): choose another folder")
            part(parameter).copy_(part_like(saved[name], parameter))


def trained_parameters(learner: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Name what is trained; all else is as it was when the training began."""
    return ((name, p) for name, p in learner.named_parameters() if p.requires_grad)


def parameter_groups(learner: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Part trainable parameters into those that are decayed, the matrices, and the others."""
    embeddings = {id(module.weight) for module in learner.modules() if isinstance(module, nn.Embedding)}
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    decayed = [p for p in trained if p.dim() > 1 and id(p) not in embeddings]
    chosen = {id(parameter) for parameter in decayed}
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in chosen], "weight_decay": 0.0},
    ]
