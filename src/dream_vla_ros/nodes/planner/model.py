"""Dream-VL as planning wants a model: it writes plans and answers questions about images. Needs no ROS."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.images import Preprocessing, preprocess
from dream_vla_ros.model import DreamVL, ModelError, Unmasking
from dream_vla_ros.model.host_layers import stream_layers
from dream_vla_ros.model.packed_linear import pack_linears
from dream_vla_ros.model.quantized import WeightOnlyLinear
from dream_vla_ros.nodes.planner.model_settings import DreamVlSettings
from dream_vla_ros.planning.automaton import TokenAutomaton
from dream_vla_ros.planning.calibration import Calibration
from dream_vla_ros.planning.errors import PlanningError
from dream_vla_ros.planning.grammar import ByteAutomaton
from dream_vla_ros.planning.interfaces import Image, Message, Observation
from dream_vla_ros.planning.vocabulary import Vocabulary
from dream_vla_ros.policy.placement import place
from dream_vla_ros.policy.policy import PolicyError
from dream_vla_ros.policy.preprocessing import preprocessing_of
from dream_vla_ros.policy.proprio import ProprioError, ProprioWriter

# A task writes many plans over the same objects, and a node sees few sets of objects.
_REMEMBERED_GRAMMARS = 8


class ModelFailedError(PlanningError):
    """The model cannot be loaded or run; the message names the parameter or file at fault."""


class DreamVlModel:
    """A :class:`~dream_vla_ros.planning.interfaces.VisionLanguageModel` that is Dream-VL.

    :param model: The network, with its processor.
    :param settings: How it writes.
    :param calibration: Of its answers; None if there is none.
    :param preprocessing: What is done to images first; None takes them as they are.
    :param embodiment: The robot, for a network that answers by its state, too.
    :raises ModelFailedError: If such a network is given none, or one whose state has other numbers.
    """

    def __init__(
        self,
        model: DreamVL,
        settings: DreamVlSettings,
        *,
        name: str,
        calibration: Calibration | None = None,
        preprocessing: Preprocessing | None = None,
        embodiment: Embodiment | None = None,
    ) -> None:
        if model.processor is None:
            raise ModelFailedError("parameter 'checkpoint': the folder has no tokenizer files")
        self.name = name
        self.calibration = calibration
        self.check: Callable[[], None] = lambda: None
        """Called before every pass of the network while a plan is written; what it raises ends that."""
        self._model = model
        self._settings = settings
        self._processor = model.processor
        self._preprocessing = preprocessing
        self._writer: ProprioWriter | None = None
        if model.reads_state:
            self._read_states_of(model, embodiment)
        self._automata: dict[int, tuple[ByteAutomaton, TokenAutomaton]] = {}
        self._vocabulary: Vocabulary | None = None
        self._generator = torch.Generator()
        self.reset()

    def _read_states_of(self, model: DreamVL, embodiment: Embodiment | None) -> None:
        assert model.statistics is not None
        assert model.proprio_projector is not None
        if embodiment is None:
            raise ModelFailedError(f"'{self.name}' answers by the robot's state, too: say which robot it is")
        self._writer = ProprioWriter(embodiment)
        self._unnorm_key = embodiment.action.unnorm_key or None
        wanted = model.proprio_projector.input_width
        if self._writer.size != wanted:
            raise ModelFailedError(
                f"parameter 'checkpoint': '{self.name}' takes a state of {wanted} numbers, but "
                f"proprio.layout '{embodiment.proprio.layout.value}' has {self._writer.size}"
            )
        seen = model.statistics.proprio[model.statistics.resolve(self._unnorm_key)]
        self._centre = (seen.low + seen.high) / 2.0

    @classmethod
    def load(cls, settings: DreamVlSettings, embodiment: Embodiment | None = None) -> DreamVlModel:
        """Read a checkpoint.

        :param embodiment: The robot, for one that answers by its state, too.
        :raises ModelFailedError: Naming the file or parameter that is missing, damaged or does not fit.
        """
        if not settings.checkpoint:
            raise ModelFailedError(
                "parameter 'checkpoint' is empty: give the folder of a Dream-VL checkpoint"
            )
        folder = Path(settings.checkpoint).expanduser()
        try:
            device, dtype = place(settings)
        except PolicyError as error:
            raise ModelFailedError(str(error)) from error
        small = settings.weights.bits or settings.host_layers
        try:
            # What will not fit on the device as it is must not go there first.
            model = DreamVL.from_pretrained(folder, dtype, "cpu" if small else device)
            if settings.weights.bits:
                pack_linears(model.model.layers, partial(WeightOnlyLinear, bits=settings.weights.bits))
            if settings.host_layers:
                stream_layers(model, device)
            elif small:
                model.to(device)
            else:
                model.optimise()
            calibration = Calibration.load(folder)
            seen = None
            if model.config.model_type != "dream-vl":
                # A policy's network knows images only as its policy shows them.
                seen = preprocessing_of(model.config.raw, str(folder / "config.json"))
        except (ModelError, PlanningError, PolicyError) as error:
            raise ModelFailedError(f"parameter 'checkpoint': {error}") from error
        except torch.OutOfMemoryError as error:
            raise ModelFailedError(
                f"{folder} does not fit into the memory of {device}: {error}; "
                "set 'weights' to int8 or int4, or 'host_layers'"
            ) from error
        return cls(
            model,
            settings,
            name=folder.resolve().name,
            calibration=calibration,
            preprocessing=seen,
            embodiment=embodiment,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about it."""
        kept = f"{self._settings.weights.value} weights"
        place = f"{kept} in the host's memory" if self._settings.host_layers else kept
        answers = "answers are uncalibrated: the checkpoint has no grounding_calibration.json"
        if self.calibration is not None:
            answers = (
                f"answers are calibrated on {self.calibration.answers} held-out ones, "
                f"expected calibration error {self.calibration.error_after:.3f}"
            )
        return (f"runs on {self._model.device} with {place}", answers)

    def reset(self) -> None:
        """Begin what is drawn anew, so that a task can be repeated exactly."""
        self._generator.manual_seed(self._settings.seed)

    def generate(
        self, messages: Sequence[Message], images: Sequence[Image], *, grammar: ByteAutomaton | None = None
    ) -> str:
        """Answer a chat; within a grammar if one is given.

        :raises ModelFailedError: If the text or an image cannot be read, or memory does not suffice.
        """
        settings = self._settings
        how = Unmasking(
            min(settings.steps, settings.max_new_tokens),
            settings.algorithm.value,
            settings.temperature,
            stop_early=True,
        )
        constraint = None if grammar is None else self._automaton(grammar)
        length = settings.max_new_tokens
        if constraint is not None:
            length = max(length, constraint.shortest)
        return self._guard(lambda: self._generate(messages, self._shown(images), length, how, constraint))

    @property
    def reads_state(self) -> bool:
        """Whether it answers by the measured state of the arm, too."""
        return self._model.reads_state

    def yes_probabilities(self, questions: Sequence[str], observation: Observation) -> list[float]:
        """Answer yes/no questions about one scene, all in one pass over one encoding of the images.

        :raises ModelFailedError: If a question, an image or the state cannot be read, or memory does not
            suffice.
        """
        proprio = self._proprio_of(observation)
        return self._guard(
            lambda: self._model.yes_probabilities(questions, self._shown(observation.images), proprio=proprio)
        )

    def close(self) -> None:
        """Free the model's memory."""
        del self._model, self._processor
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _generate(
        self,
        messages: Sequence[Message],
        images: Sequence[Image],
        length: int,
        how: Unmasking,
        constraint: TokenAutomaton | None,
    ) -> str:
        inputs = self._processor.encode(messages, images)
        ids = self._model.generate_ids(
            inputs["input_ids"],
            inputs.get("pixel_values"),
            inputs.get("image_grid_thw"),
            length,
            how=how,
            generator=self._generator,
            constraint=constraint,
            before_pass=lambda: self.check(),
        )
        return self._processor.decode(ids[0, inputs["input_ids"].shape[1] :])

    def _proprio_of(self, observation: Observation) -> NDArray[np.float32] | None:
        if not self.reads_state:
            return None
        if observation.state is None:
            raise ModelFailedError(f"'{self.name}' answers by the arm's measured state, too; none is there")
        assert self._writer is not None
        try:
            raw = self._writer(observation.state, near=self._centre)
        except ProprioError as error:
            raise ModelFailedError(f"'{self.name}' answers by the arm's state, too: {error}") from error
        return self._model.normalize_proprio(raw, self._unnorm_key)

    def _shown(self, images: Sequence[Image]) -> list[Image]:
        if self._preprocessing is None:
            return list(images)
        return [preprocess(image, self._preprocessing) for image in images]

    def _automaton(self, grammar: ByteAutomaton) -> TokenAutomaton:
        known = self._automata.get(id(grammar))
        if known is None:
            if self._vocabulary is None:
                tokenizer = self._processor.tokenizer
                special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
                self._vocabulary = Vocabulary.from_byte_level(tokenizer.get_vocab(), special)
            tokens = self._model.config.tokens
            automaton = TokenAutomaton(grammar, self._vocabulary, [tokens.im_end, tokens.eos], tokens.pad)
            while len(self._automata) >= _REMEMBERED_GRAMMARS:
                self._automata.pop(next(iter(self._automata)))
            known = self._automata[id(grammar)] = (grammar, automaton)
        return known[1]

    def _guard(self, run: Callable[[], Any]) -> Any:
        try:
            return run()
        except ModelError as error:
            raise ModelFailedError(f"the model cannot answer: {error}") from error
        except torch.OutOfMemoryError as error:
            # What the failed pass held is freed, or every later one would fail too.
            gc.collect()
            torch.cuda.empty_cache()
            raise ModelFailedError(f"the model ran out of memory: {error}") from error
