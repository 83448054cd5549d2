"""The policy that runs a Dream-VLA checkpoint."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from dream_vla_ros.chunk import Blending
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Array
from dream_vla_ros.images import Preprocessing
from dream_vla_ros.model import (
    DreamVLAForActionPrediction,
    DreamVLAProcessor,
    ModelError,
    Objective,
    PreviousChunk,
)
from dream_vla_ros.model.continuation import GUIDED, INPAINTED
from dream_vla_ros.model.inference_settings import InferenceSettings, Quantization
from dream_vla_ros.policy.actions import ActionCodec, check_actions
from dream_vla_ros.policy.device_images import DeviceImages
from dream_vla_ros.policy.fit import check_fit
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.policy.overlap import previous_chunk
from dream_vla_ros.policy.placement import place
from dream_vla_ros.policy.policy import PolicyError, PolicyResult, warm_up_observation
from dream_vla_ros.policy.preprocessing import preprocessing_of
from dream_vla_ros.policy.proprio import ProprioWriter
from dream_vla_ros.policy.range_guard import RangeGuard
from dream_vla_ros.policy.sampling import Sampling, sampling_of
from dream_vla_ros.policy.settings import ModelSettings
from dream_vla_ros.policy.transforms import model_images, upright_images

# A model that neither sees the arm nor counts rotations from its pose is run without a measured one.
_NO_ROTATION = np.array([0.0, 0.0, 0.0, 1.0])
# A graph serves 16 lengths of prompt, and a usual word is one token: these cover up to some 60 words.
_RECORDED_WORDS = (2, 16, 32, 48)


class DreamVLAPolicy:
    """Runs a Dream-VLA model on one robot.

    :param model: The network with its statistics.
    :param processor: Makes its inputs.
    :param embodiment: The robot; the model must have been checked to fit it.
    :param preprocessing: What is done to camera images.
    :param sampling: How actions are drawn; None is once, in the objective's default steps.
    :param seed: Seed of the noise.
    :param settings: How chunks are joined and actions kept within the training data.
    :raises PolicyError: If the objective cannot join chunks in that way.
    """

    def __init__(
        self,
        model: DreamVLAForActionPrediction,
        processor: DreamVLAProcessor,
        embodiment: Embodiment,
        preprocessing: Preprocessing,
        *,
        name: str,
        sampling: Sampling | None = None,
        seed: int = 0,
        notes: tuple[str, ...] = (),
        settings: ModelSettings | None = None,
    ) -> None:
        self._model = model
        self._processor = processor
        self._unnorm_key = embodiment.action.unnorm_key or None
        self._period_s = embodiment.action.period_s
        self._codec = ActionCodec.from_embodiment(embodiment)
        self._proprio = ProprioWriter(embodiment)
        self._sampling = sampling or Sampling()
        self._seed = seed
        self._generator = torch.Generator()
        settings = settings or ModelSettings()
        self._images = model_images(embodiment, preprocessing)
        self._device_images: DeviceImages | None = None
        if settings.preprocess_on_device:
            self._images = upright_images(embodiment)
            self._device_images = DeviceImages(
                preprocessing, processor.image_processor, model.device, settings.cuda_graphs
            )
        self._continues, self._guidance_limit = _continuation(settings, model.objective)
        statistics = model.statistics
        mask = statistics.action[statistics.resolve(self._unnorm_key)].mask
        self._guard = RangeGuard(settings.range_margin, settings.range_response, mask)
        self.name = name
        self._notes = notes
        self.reset()

    @classmethod
    def load(cls, settings: ModelSettings, embodiment: Embodiment) -> DreamVLAPolicy:
        """Read a checkpoint and check that it fits the robot.

        :raises PolicyError: Naming the file or parameter that is missing, damaged or does not fit.
        """
        if not settings.checkpoint:
            raise PolicyError("parameter 'checkpoint' is empty: give the folder of a Dream-VLA checkpoint")
        folder = Path(settings.checkpoint).expanduser()
        device, dtype = place(settings)
        try:
            model = DreamVLAForActionPrediction.from_pretrained(
                folder,
                objective=settings.objective.value,
                chunk_size=embodiment.action.chunk_size,
                dtype=dtype,
                device=device,
            )
            processor = cast(DreamVLAProcessor, DreamVLAProcessor.from_pretrained(folder))
            model.optimise(
                replace(
                    InferenceSettings.for_device(device),
                    # Guidance goes back through the weights, for which blocks would be undone at each step.
                    blocked_weights=settings.blending is not Blending.REAL_TIME_CHUNKING,
                    cuda_graph=settings.cuda_graphs,
                    compiled=settings.compile,
                    quantization=Quantization(settings.quantization.value),
                    refresh_every=settings.refresh_every,
                )
            )
        except ModelError as error:
            raise PolicyError(f"parameter 'checkpoint': {error}") from error
        except torch.OutOfMemoryError as error:
            raise PolicyError(f"{folder} does not fit into the memory of {device}: {error}") from error
        notes = check_fit(model, embodiment, folder)
        said = model.config.raw, str(folder / "config.json")
        preprocessing = settings.preprocessing(preprocessing_of(*said))
        sampling = sampling_of(*said, settings)
        policy = cls(
            model,
            processor,
            embodiment,
            preprocessing,
            name=folder.resolve().name,
            sampling=sampling,
            seed=settings.seed,
            settings=settings,
            notes=(
                f"runs on {device} in {sampling.words}, with images {preprocessing.words}",
                *notes,
            ),
        )
        if device.type == "cuda" and settings.cuda_graphs:
            policy.record(warm_up_observation(embodiment))
        return policy

    @property
    def objective(self) -> str:
        """Objective of the checkpoint."""
        return self._model.objective.value

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know: what does not fit perfectly, and what could not be made fast."""
        engine = self._model.engine
        return (*self._notes, *(engine.failures if engine is not None else ()))

    def record(self, observation: Observation) -> None:
        """Predict for instructions of the usual lengths, so that no goal waits for a graph to be recorded."""
        for words in _RECORDED_WORDS:
            self.infer(replace(observation, instruction=" ".join(["move"] * words)))
        self.reset()

    def infer(self, observation: Observation) -> PolicyResult:
        """Predict the next chunk.

        :raises PolicyError: If the device's memory does not suffice.
        :raises ActionError: If the actions are not finite.
        :raises ProprioError: If the state lacks a number that the model needs.
        """
        try:
            actions, out_of_range = self._predict(observation)
        except torch.OutOfMemoryError as error:
            # What the failed pass held is freed, or every later one would fail too.
            gc.collect()
            torch.cuda.empty_cache()
            raise PolicyError(f"inference ran out of memory: {error}") from error
        orientation = observation.state.pose.quaternion if observation.state is not None else _NO_ROTATION
        return PolicyResult(self._codec.to_motion(actions, orientation), self._period_s, out_of_range)

    def reset(self) -> None:
        """Begin the noise anew, so that a goal can be repeated exactly, and continue no chunk."""
        self._generator.manual_seed(self._seed)
        self._before: NDArray[np.float32] | None = None

    def close(self) -> None:
        """Free the model's memory."""
        del self._model, self._processor
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _predict(self, observation: Observation) -> tuple[Array, int]:
        """Return un-normalised actions (steps, 7), and how many numbers the guard brought back."""
        if observation.state is None and (self._proprio.size or self._codec.needs_orientation):
            raise PolicyError("the model needs the arm's state, but the observation has none")
        prepared = self._images(observation)
        images = list(prepared.images.values())
        if self._device_images is None:
            inputs = self._processor(images, observation.instruction)
        else:
            patches, grids = self._device_images(images)
            inputs = {"pixel_values": patches, "image_grid_thw": grids}
            inputs["input_ids"] = self._processor.prompt(observation.instruction, inputs)
        normalized = self._model.predict_actions(
            input_ids=inputs["input_ids"],
            pixel_values=inputs["pixel_values"],
            image_grid_thw=inputs["image_grid_thw"],
            proprio=self._normalized_proprio(observation),
            steps=self._sampling.steps,
            samples=self._sampling.samples,
            generator=self._generator,
            previous=self._previous(observation),
        )
        check_actions(normalized)
        normalized, out_of_range = self._guard(normalized)
        self._before = normalized
        return self._model.unnormalize(normalized, self._unnorm_key), out_of_range

    def _previous(self, observation: Observation) -> PreviousChunk | None:
        if not self._continues or self._before is None or observation.overlap is None:
            return None
        return previous_chunk(self._before, observation.overlap, self._period_s, self._guidance_limit)

    def _normalized_proprio(self, observation: Observation) -> np.ndarray | None:
        if not self._proprio.size:
            return None
        assert observation.state is not None
        raw = self._proprio(observation.state, near=self._training_centre)
        return self._model.normalize_proprio(raw, self._unnorm_key)

    @property
    def _training_centre(self) -> Array:
        statistics = self._model.statistics
        seen = statistics.proprio[statistics.resolve(self._unnorm_key)]
        return (seen.low + seen.high) / 2.0


def _continuation(settings: ModelSettings, objective: Objective) -> tuple[bool, float | None]:
    """Say whether predictions go on from the chunk before, and how strongly they are guided if they are."""
    blending = settings.blending
    able = {Blending.INPAINTING: INPAINTED, Blending.REAL_TIME_CHUNKING: GUIDED}.get(blending)
    if able is None:
        return False, None
    if objective not in able:
        raise PolicyError(
            f"parameter 'blending' is '{blending.value}', which works with objective "
            f"{', '.join(one.value for one in able)}, not {objective.value}; use latest or temporal_ensemble"
        )
    return True, settings.guidance_limit if blending is Blending.REAL_TIME_CHUNKING else None
