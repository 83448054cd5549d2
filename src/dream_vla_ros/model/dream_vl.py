"""Dream-VL: text from images and text, by unmasking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from . import checkpoint
from .action_heads import TokenProjector
from .answer_adapter import apply_answer_adapter
from .backbone import DreamBackbone
from .config import DreamConfig
from .constrained import TokenConstraint, unmask_constrained
from .errors import CheckpointError, ModelInputError
from .fast_layers import use_fast_layers
from .inference_settings import InferenceSettings
from .language import PrefixCache, rotary_tables
from .positions import positions_in
from .processor import DreamProcessor, Image
from .prompt import Message
from .sampling import PUBLISHED_TOP_K, LogitsAt, Unmasking, unmask
from .statistics import DatasetStatistics
from .tokenizer import has_tokenizer, with_token_ids
from .vision import Grid
from .yes_no import yes_probabilities


class DreamVL(DreamBackbone):
    """A Dream-VL network."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__(config)
        self.processor: DreamProcessor | None = None
        self.packs_questions = False
        """Whether it was trained to answer all questions about a scene in one sequence."""
        self.proprio_projector: TokenProjector | None = None
        self.statistics: DatasetStatistics | None = None
        sections = config.mrope_section
        if len(sections) != 3 or sum(sections) != config.head_dim // 2:
            raise CheckpointError(
                f"mrope_section {list(sections)} must be three numbers that sum to {config.head_dim // 2}, "
                "half of a head's width"
            )

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> DreamVL:
        """Read a Dream-VL checkpoint folder, or a Dream-VLA one; its answer adapter is applied if it has one.

        :raises CheckpointError: naming the file or tensor that is missing, damaged or of the wrong shape.
        """
        path = checkpoint.open_folder(folder)
        config = with_token_ids(DreamConfig.from_folder(path), path, for_actions=False)
        with torch.device("meta"):
            model = cls(config)
        checkpoint.load_backbone(model, path, dtype, torch.device(device))
        adapter = apply_answer_adapter(model, path)
        model.packs_questions = adapter is not None
        if adapter is not None and adapter.reads_state:
            model.proprio_projector = checkpoint.load_proprio_projector(path, config).to(device, dtype)
            model.statistics = checkpoint.load_statistics(path, config)
        model.processor = DreamProcessor.from_pretrained(path) if has_tokenizer(path) else None
        return model.eval()

    def optimise(self, settings: InferenceSettings | None = None) -> None:
        """Answer as fast as settings say from now on; None takes the exact ones that suit the device.

        :raises ModelInputError: if it is to be quantised and runs on other layers already.
        """
        use_fast_layers(self, settings or InferenceSettings.for_device(self.device))

    @property
    def reads_state(self) -> bool:
        """Whether it was trained to answer by the robot's state, too."""
        return self.proprio_projector is not None

    def normalize_proprio(self, raw: npt.ArrayLike, unnorm_key: str | None = None) -> npt.NDArray[np.float32]:
        """Map a robot's state (..., dim) in the dataset's units to what `yes_probabilities` takes.

        :raises ModelInputError: if the model reads no state.
        """
        if self.statistics is None:
            raise ModelInputError("this checkpoint answers without the robot's state")
        return self.statistics.normalize_proprio(raw, unnorm_key).astype(np.float32)

    def state_token(self, proprio: npt.ArrayLike | None) -> Tensor | None:
        """Make the token in front of questions (1, 1, hidden_size) of a normalised state (dim,).

        :returns: None for a model that reads none.
        :raises ModelInputError: if the state is missing, not wanted, of another length or not finite.
        """
        if self.proprio_projector is None:
            if proprio is not None:
                raise ModelInputError("proprio was given, but this checkpoint answers without a state")
            return None
        if proprio is None:
            raise ModelInputError("this checkpoint answers by images and the robot's state: give proprio")
        states = self.proprio_projector.read_states(np.asarray(proprio, dtype=np.float32)[None])
        return self.proprio_projector(states.to(self.dtype))[None]

    @torch.no_grad()
    def generate_ids(
        self,
        input_ids: Any,
        pixel_values: Any = None,
        image_grid_thw: Any = None,
        max_new_tokens: int = 128,
        steps: int | None = None,
        algorithm: str = "maskgit_plus",
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
        *,
        how: Unmasking | None = None,
        refresh_every: int = 1,
        history: list[Tensor] | None = None,
        constraint: TokenConstraint | None = None,
        before_pass: Callable[[], None] | None = None,
    ) -> Tensor:
        """Continue a prompt by `max_new_tokens` tokens, unmasked in `steps` passes.

        :param input_ids: (1, S) prompt up to and including the assistant header.
        :param pixel_values: (patches, patch_width) of all images (or video frames).
        :param image_grid_thw: (images, 3).
        :param steps: forward passes; None is one per new token.
        :param algorithm: `origin`, `maskgit_plus`, `topk_margin` or `entropy`.
        :param generator: source of every draw; torch's default if None.
        :param how: everything about unmasking at once, instead of `steps`, `algorithm` and `temperature`.
        :param refresh_every: run the prompt again at every so many steps, and reuse its keys and values in
            between: 1 is exact, more is faster and approximate.
        :param history: if given, the new tokens (1, max_new_tokens) after each step are appended.
        :param constraint: what the new tokens must be, for example planning's `TokenAutomaton`; None leaves
            them free.
        :param before_pass: called before every forward pass; what it raises ends the writing.
        :returns: (1, S + max_new_tokens) ids.
        :raises ModelInputError: naming the argument that does not fit.
        """
        if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, int) or max_new_tokens < 1:
            raise ModelInputError(f"max_new_tokens must be a positive whole number, not {max_new_tokens!r}")
        if how is None:
            how = Unmasking(max_new_tokens if steps is None else steps, algorithm, temperature)
        ids, patches, grids = self.read_prompt(input_ids, pixel_values, image_grid_thw)
        if len(ids) != 1:
            raise ModelInputError(f"input_ids has {len(ids)} rows; generate one answer at a time")
        if isinstance(refresh_every, bool) or not isinstance(refresh_every, int) or refresh_every < 1:
            raise ModelInputError(f"refresh_every must be a positive whole number, not {refresh_every!r}")
        tokens = self.config.tokens
        masks = torch.full((max_new_tokens,), tokens.mask, device=self.device)
        rotary = self._rotary(torch.cat([ids[0], masks]), grids)
        candidates = None if constraint is None else torch.as_tensor(constraint.token_ids, device=self.device)
        logits_at = self._logits_behind(
            self.embed(ids, patches, grids), rotary, max_new_tokens, refresh_every, candidates, before_pass
        )
        seen: list[Tensor] = []
        notes = None if history is None else seen
        if constraint is not None:
            new = unmask_constrained(
                masks,
                logits_at,
                tokens.mask,
                how,
                constraint,
                pad_id=tokens.pad,
                generator=generator,
                history=notes,
            )
        else:
            new = unmask(
                masks,
                logits_at,
                tokens.mask,
                how,
                pad_id=tokens.pad,
                end_ids=(tokens.eos, tokens.im_end),
                generator=generator,
                history=notes,
            )
        if history is not None:
            history.extend(state[None] for state in seen)
        return torch.cat([ids, new[None]], dim=1)

    def _logits_behind(
        self,
        prompt: Tensor,
        rotary: tuple[Tensor, Tensor],
        count: int,
        refresh_every: int,
        candidates: Tensor | None = None,
        before_pass: Callable[[], None] | None = None,
    ) -> LogitsAt:
        """Return what scores the masked places among the `count` behind a prompt, call by call.

        :param candidates: the ids to score; None scores the vocabulary.
        """
        first = prompt.shape[1] - 1  # one to the left of the new tokens
        caches: list[PrefixCache] = []
        calls = 0

        def logits_at(new: Tensor, masked: Tensor) -> Tensor:
            nonlocal calls, caches
            if before_pass is not None:
                before_pass()
            whole = calls % refresh_every == 0
            calls += 1
            if whole:
                caches = [PrefixCache(first) for _ in self.model.layers]
            fresh = 0 if whole else first
            embeds = torch.cat([prompt[:, fresh:], self.model.embed_tokens(new)[None]], dim=1)
            tables = (rotary[0][:, :, fresh:], rotary[1][:, :, fresh:])
            read = slice(first - fresh, first - fresh + count)
            hidden = self.hidden_states(embeds, tables, read, caches=None if refresh_every == 1 else caches)
            return self.logits(hidden[0, masked], candidates)

        return logits_at

    def generate(
        self,
        messages: Sequence[Message],
        images: Sequence[Image] = (),
        max_new_tokens: int = 128,
        steps: int | None = None,
        algorithm: str = "maskgit_plus",
        *,
        videos: Sequence[Sequence[Image]] = (),
        temperature: float = 0.0,
        top_p: float | None = None,
        top_k: int | None = PUBLISHED_TOP_K,
        alg_temp: float | None = None,
        eos_penalty: float = 0.0,
        stop_early: bool = False,
        refresh_every: int = 1,
        generator: torch.Generator | None = None,
        constraint: TokenConstraint | None = None,
    ) -> str:
        """Answer a conversation.

        :param messages: `{"role": ..., "content": text or parts}`; parts show images and videos in order.
        :param images: uint8 RGB (height, width, 3), one per image part.
        :param videos: the frames of each video part.
        :param steps: forward passes; None is one per new token.
        :param algorithm: as the options of sampling, see `Unmasking`.
        :param refresh_every: see `generate_ids`.
        :param constraint: see `generate_ids`.
        :returns: the answer, up to the end of the assistant's turn.
        :raises ModelInputError: naming the argument that does not fit.
        """
        if self.processor is None:
            raise ModelInputError("generate needs the checkpoint's tokenizer files; generate_ids does not")
        steps = max_new_tokens if steps is None else steps
        how = Unmasking(steps, algorithm, temperature, top_p, top_k, alg_temp, eos_penalty, stop_early)
        inputs = self.processor.encode(messages, images, videos)
        prompt = (inputs["input_ids"], inputs.get("pixel_values"), inputs.get("image_grid_thw"))
        ids = self.generate_ids(
            *prompt,
            max_new_tokens,
            how=how,
            refresh_every=refresh_every,
            generator=generator,
            constraint=constraint,
        )
        return self.processor.decode(ids[0, prompt[0].shape[1] :])

    def yes_probabilities(
        self,
        questions: Sequence[str],
        images: Sequence[Image] = (),
        temperature: float = 1.0,
        proprio: npt.ArrayLike | None = None,
    ) -> list[float]:
        """Answer yes/no questions about one scene; see `yes_no.yes_probabilities`."""
        if self.processor is None:
            raise ModelInputError("questions need the checkpoint's tokenizer files")
        return yes_probabilities(self, self.processor, questions, images, temperature, proprio)

    @torch.no_grad()
    def mask_logits(
        self, input_ids: Any, pixel_values: Any = None, image_grid_thw: Any = None, *, masks: int
    ) -> Tensor:
        """Score the whole vocabulary at `masks` mask tokens put behind a prompt.

        :param input_ids: (1, S).
        :returns: (masks, vocabulary).
        """
        ids, patches, grids = self.read_prompt(input_ids, pixel_values, image_grid_thw)
        row = torch.full((masks,), self.config.tokens.mask, device=self.device)
        embeds = torch.cat([self.embed(ids, patches, grids), self.model.embed_tokens(row)[None]], dim=1)
        read = slice(ids.shape[1] - 1, ids.shape[1] - 1 + masks)
        return self.logits(self.hidden_states(embeds, self._rotary(torch.cat([ids[0], row]), grids), read))[0]

    def _rotary(self, ids: Tensor, grids: Sequence[Grid]) -> tuple[Tensor, Tensor]:
        if self.packs_questions:
            # Of a Dream-VLA, which counts places plainly.
            plain = torch.arange(1, len(ids) + 1, device=self.device)[None]
            return rotary_tables(plain, self.config, self.dtype)
        positions = positions_in(ids, grids, self.config)[:, None]
        return rotary_tables(positions, self.config, self.dtype, self.config.mrope_section)
