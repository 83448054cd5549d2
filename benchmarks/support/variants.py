"""Every way to predict that is compared, over the same random weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from baseline.published_algorithm import PublishedAlgorithm

from dream_vla_ros.model import DreamVLAForActionPrediction
from dream_vla_ros.model.blocked import can_block
from dream_vla_ros.model.engine import Engine
from dream_vla_ros.model.inference_settings import InferenceSettings, Quantization

Predict = Callable[[], np.ndarray]
MakeModel = Callable[[], DreamVLAForActionPrediction]

PUBLISHED = "published"
# As many as the shipped checkpoint takes.
_SAMPLES = 4
EXACT = "all exact"


@dataclass(frozen=True)
class Variant:
    """One way to predict.

    :param exact: Whether it computes what the published algorithm does, up to rounding.
    :param steps: Steps it takes.
    :param samples: Noises whose actions it averages.
    """

    name: str
    predict: Predict
    exact: bool
    steps: int
    samples: int = 1


class Bench:
    """Makes the variants of one setting.

    :param make: Makes the model; the same weights each time.
    :param given: Inputs of a prediction with noise and steps.
    """

    def __init__(self, make: MakeModel, given: dict[str, Any]) -> None:
        self._make = make
        self._given = given
        self.model = make()
        self._plain_layers = self.model.model.running
        self._best = InferenceSettings.for_device(self.model.device)
        # Weights in blocks are kept in no other form, so they need a model of their own.
        self._blocks = can_block(self.model.device, self.model.dtype)
        self._fast: DreamVLAForActionPrediction | None = None
        self._engines: dict[InferenceSettings, Engine] = {}

    def ladder(self) -> list[Variant]:
        """Return the published algorithm, then one exact improvement after the other on top of it."""
        steps = [
            (PUBLISHED, {}),
            ("+ vision once", {"vision_once": True}),
            ("+ scores where read", {"scored_where_read": True}),
            ("+ no masks", {"without_masks": True}),
        ]
        mended: dict[str, bool] = {}
        found = []
        for name, more in steps:
            mended |= more
            found.append(self._exact(name, self._published(PublishedAlgorithm(self.model, **mended))))
        found.append(self._exact("+ last layer where read", self._own(None)))
        on = InferenceSettings(blocked_weights=False, tables=False, remembered_prompts=0, cuda_graph=False)
        found.append(self._exact("+ fused products", self._own(on)))
        on = replace(on, tables=True, remembered_prompts=self._best.remembered_prompts)
        found.append(self._exact("+ tables, prompts kept", self._own(on)))
        if self.model.device.type != "cuda":
            return [*found, self._exact(f"{EXACT} (+ weights in blocks)", self._fastest())]
        on = replace(on, bucket=self._best.bucket)
        found.append(self._exact("+ buckets", self._own(on)))
        return [*found, self._exact(f"{EXACT} (+ CUDA graph)", self._own(replace(on, cuda_graph=True)))]

    def both(self) -> list[Variant]:
        """Return the published algorithm and ours."""
        return [
            self._exact(PUBLISHED, self._published(PublishedAlgorithm(self.model))),
            self._exact(EXACT, self._fastest()),
        ]

    def compiled(self) -> list[Variant]:
        """Return ours with compiled layers; nothing where there is no compiler."""
        if self.model.device.type == "cpu" and shutil.which("g++") is None:
            return []
        settings = replace(self._best, compiled=True)
        return [self._exact(f"{EXACT}, compiled", self._other(settings))]

    def approximate(self, compiled: bool = False) -> list[Variant]:
        """Return ways that are faster and change actions; each on top of everything exact."""
        steps, found = self._given["steps"], []
        if self.model.objective.denoises and steps > 1:
            reused = replace(self._best, refresh_every=2)
            found.append(Variant("prompt every 2nd step", self._fastest(reused), False, steps))
            found += [
                Variant(f"{fewer} step{'s' * (fewer > 1)}", self._fastest(steps=fewer), False, fewer)
                for fewer in sorted({steps // 2, 1}, reverse=True)
            ]
            averaged = self._fastest(steps=1, samples=_SAMPLES)
            found.append(Variant(f"1 step, {_SAMPLES} noises", averaged, False, 1, _SAMPLES))
        for kind in self._possible():
            settings = replace(self._best, quantization=kind, compiled=compiled)
            found.append(Variant(kind.value, self._other(settings), False, steps))
        return found

    def _possible(self) -> list[Quantization]:
        device, dtype = self.model.device, self.model.dtype
        kinds = [Quantization.INT8]
        if dtype is not torch.bfloat16:
            kinds.insert(0, Quantization.BF16)
        if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9):
            kinds.append(Quantization.FP8)
        widths = (self.model.config.hidden_size, self.model.config.intermediate_size)
        if device.type == "cuda" and not any(width % 32 for width in widths):
            kinds.append(Quantization.INT4)
        return kinds

    def _exact(self, name: str, predict: Predict) -> Variant:
        return Variant(name, predict, True, self._given["steps"])

    def _published(self, published: PublishedAlgorithm) -> Predict:
        def predict() -> np.ndarray:
            return published.predict_actions(**self._given).float().cpu().numpy()

        return predict

    def _changed(self, steps: int | None, samples: int) -> dict[str, Any]:
        given = self._given | ({} if steps is None else {"steps": steps})
        # The one noise that is given would leave nothing to average.
        return given if samples == 1 else given | {"noise": None, "samples": samples}

    def _own(self, settings: InferenceSettings | None, steps: int | None = None, samples: int = 1) -> Predict:
        """Predict on the shared model, switched to these settings for the length of the call."""
        model = self.model
        given = self._changed(steps, samples)

        def predict() -> np.ndarray:
            model.model.running, model.engine = self._plain_layers, None
            if settings is not None:
                model.engine = self._engine(settings)
            try:
                return model.predict_actions(**given, action_tokens_only=False)
            finally:
                model.model.running, model.engine = self._plain_layers, None

        return predict

    def _fastest(
        self, settings: InferenceSettings | None = None, steps: int | None = None, samples: int = 1
    ) -> Predict:
        """Predict as fast as can be, on weights in blocks where the device takes them."""
        settings = settings or self._best
        if not self._blocks:
            return self._own(settings, steps, samples)
        model = self._fast = self._fast or self._make()
        engine = Engine(model, settings)
        given = self._changed(steps, samples)

        def predict() -> np.ndarray:
            model.engine = engine
            return model.predict_actions(**given, action_tokens_only=False)

        return predict

    def _engine(self, settings: InferenceSettings) -> Engine:
        if settings in self._engines:
            self.model.model.running = self._fused_layers
        else:
            if self._engines:
                self.model.model.running = self._fused_layers
            self._engines[settings] = Engine(self.model, settings)
            self._fused_layers = self.model.model.running
        return self._engines[settings]

    def _other(self, settings: InferenceSettings) -> Predict:
        """Predict on a model of its own, whose layers are changed for good."""
        model = self._make()
        model.optimise(settings)
        return lambda: model.predict_actions(**self._given, action_tokens_only=False)
