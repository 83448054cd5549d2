"""Dream-VLA: from images, an instruction and the robot's state to a chunk of actions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from . import checkpoint
from .action_heads import ActionHead, TokenProjector, time_embedding
from .action_tokens import ActionTokens
from .backbone import DreamBackbone
from .config import DreamConfig
from .continuation import PreviousChunk
from .ddim import DdimSchedule
from .errors import CheckpointError, ModelInputError
from .inference_settings import InferenceSettings
from .language import Read, rotary_tables
from .objective import Objective
from .prediction import PlainRunner, Runner, choose, unmask_actions
from .sampling import Unmasking
from .statistics import DatasetStatistics
from .tokenizer import with_token_ids

if TYPE_CHECKING:
    from .engine import Engine

PUBLISHED_ACTION_DIM = 7  # of a base checkpoint whose statistics say nothing: xyz, rotation, gripper
DEFAULT_CHUNK = 8
Array = npt.NDArray[np.float64]


class DreamVLAForActionPrediction(DreamBackbone):
    """A Dream-VLA network together with what turns its hidden states into actions."""

    def __init__(
        self,
        config: DreamConfig,
        objective: Objective | str = Objective.FLOW_MATCHING,
        chunk_size: int | None = None,
        *,
        statistics: DatasetStatistics | None = None,
        action_head: ActionHead | None = None,
        noisy_action_projector: TokenProjector | None = None,
        proprio_projector: TokenProjector | None = None,
    ) -> None:
        """Assemble a model; `from_pretrained` is the usual way."""
        super().__init__(config)
        self.objective = Objective.named(objective)
        self.chunk_size = _chunk_size(
            chunk_size if chunk_size is not None else config.chunk_size or DEFAULT_CHUNK
        )
        self.statistics = statistics or DatasetStatistics(config.norm_stats, "config")
        self.action_head = action_head
        self.noisy_action_projector = noisy_action_projector
        self.proprio_projector = proprio_projector
        self.action_tokens = ActionTokens(config.tokens.tokenizer_length, config.n_action_bins)
        self.ddim = DdimSchedule(config.num_diffusion_steps_train)
        self.engine: Engine | None = None
        self._closing_ids = torch.tensor(config.tokens.closing)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        objective: Objective | str = Objective.FLOW_MATCHING,
        chunk_size: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> DreamVLAForActionPrediction:
        """Read a base or fine-tuned checkpoint folder.

        :param objective: what the checkpoint was fine-tuned with; a base checkpoint has no action head, so
            only `discrete` and `discrete_diffusion` run from it.
        :param chunk_size: actions per prediction, as in training (no checkpoint file of the published code
            says it); None takes `chunk_size` of `config.json` if it is there, else 8.
        :param dtype: type of all weights; integration over time stays in float32.
        :raises CheckpointError: naming the file or tensor that is missing, damaged, doubled, of the wrong
            shape or of another objective.
        """
        path = checkpoint.open_folder(folder)
        objective = Objective.named(objective)
        config = DreamConfig.from_folder(path)
        if config.model_type == "dream-vl":
            raise CheckpointError(
                f"{path / 'config.json'} describes Dream-VL, which predicts no actions; read it as DreamVL"
            )
        config = with_token_ids(config, path, for_actions=True)
        statistics = checkpoint.load_statistics(path, config)
        parts = checkpoint.load_parts(path, objective, config, statistics)
        device = torch.device(device)
        with torch.device("meta"):
            model = cls(config, objective, chunk_size, statistics=statistics)
        checkpoint.load_backbone(model, path, dtype, device)
        for name, part in parts.items():
            setattr(model, name, part.to(device, dtype))
        return model.eval()

    @torch.no_grad()
    def predict_actions(
        self,
        input_ids: Any,
        pixel_values: Any = None,
        image_grid_thw: Any = None,
        proprio: npt.ArrayLike | Tensor | None = None,
        noise: npt.ArrayLike | Tensor | None = None,
        steps: int | None = None,
        action_tokens_only: bool = True,
        generator: torch.Generator | None = None,
        temperature: float = 0.0,
        previous: PreviousChunk | None = None,
        samples: int = 1,
    ) -> npt.NDArray[np.float32]:
        """Predict one chunk of normalised actions.

        :param input_ids: (1, S) chat prompt up to and including the assistant header.
        :param pixel_values: (patches, patch_width) of all images.
        :param image_grid_thw: (images, 3).
        :param proprio: the robot's state, *normalised* (see `normalize_proprio`); the state token exists
            exactly when it is given.
        :param noise: (chunk, dim) where flow matching and diffusion start; drawn if None.
        :param steps: integration, denoising or unmasking steps, None for the objective's default; `discrete`
            and `l1_regression` always take one.
        :param action_tokens_only: for the discrete objectives, choose among action tokens alone, so that no
            word can be decoded as an action; False chooses from the whole vocabulary, as published.
        :param generator: source of every draw; torch's default if None.
        :param temperature: for the discrete objectives; 0 takes the best token.
        :param previous: what is left of the chunk before, to go on from it; see `continuation` for which
            objectives can.
        :param samples: how many noises flow matching and diffusion start from, one the negative of another in
            turn; their actions are averaged. What depends on the noise by mistake, which in a small model is
            most of its error, cancels out; so does what it decides between, if there is more than one way.
        :returns: (chunk, dim) in [-1, 1] (a continuous head may go a little beyond).
        :raises ModelInputError: naming the argument that does not fit.
        """
        ids, patches, grids = self.read_prompt(input_ids, pixel_values, image_grid_thw)
        if len(ids) != 1:
            raise ModelInputError(f"input_ids has {len(ids)} rows; predict one chunk at a time")
        steps = self._checked_steps(steps)
        if previous is not None:
            previous.check_fits(self.objective, self.chunk_size, self.action_dim)
        state = None if proprio is None else self.read_proprio(torch.as_tensor(proprio).reshape(1, -1))
        run: Runner = self.engine or PlainRunner(self)
        scene = run.scene(ids, patches, grids, state)
        if self.objective is Objective.DISCRETE_DIFFUSION:
            how = Unmasking(steps, temperature=temperature)
            tokens = unmask_actions(self, run.encoded(scene), how, action_tokens_only, generator, previous)
            actions = self._decode(tokens)
        elif self.objective is Objective.DISCRETE:
            how = Unmasking(1, temperature=temperature, top_k=None)
            actions = self._decode(choose(self, run.encoded(scene), how, action_tokens_only, generator))
        elif self.objective is Objective.L1_REGRESSION:
            actions = run.regress(scene)
        else:
            before = None if previous is None else previous.on(self.device, self.chunk_size)
            start = self._start(noise, generator, samples)
            actions = run.denoise(scene, start, steps, before).mean(dim=0)
        return actions.reshape(self.chunk_size, self.action_dim).float().cpu().numpy()

    @property
    def action_dim(self) -> int:
        """Numbers in one action: the head's, else what all statistics agree on."""
        if self.action_head is not None:
            return self.action_head.action_dim
        return self.statistics.action_dim or PUBLISHED_ACTION_DIM

    @property
    def action_places(self) -> int:
        """Tokens that one chunk takes."""
        return self.chunk_size * self.action_dim

    def unnormalize(self, normalized: npt.ArrayLike, unnorm_key: str | None = None) -> Array:
        """Map predicted actions (..., dim) to the units of dataset `unnorm_key` (None: the only one)."""
        return self.statistics.unnormalize_actions(normalized, unnorm_key)

    def normalize_proprio(self, raw: npt.ArrayLike, unnorm_key: str | None = None) -> npt.NDArray[np.float32]:
        """Map a robot's state (..., dim) in the dataset's units to what `predict_actions` takes."""
        return self.statistics.normalize_proprio(raw, unnorm_key).astype(np.float32)

    def hidden_with_prefix(
        self,
        embeds: Tensor,
        read: Read,
        *,
        proprio: Tensor | None = None,
        time: Tensor | None = None,
        key_mask: Tensor | None = None,
    ) -> Tensor:
        """Run the language model on a sequence with its state and time tokens put in front.

        :param embeds: (batch, length, hidden_size): prompt, action places, closing tokens.
        :param read: places of `embeds` to return.
        :param proprio: (batch, proprio_dim), normalised.
        :param time: (batch,) flow time or diffusion step.
        :param key_mask: (batch, length) bool, False at padding.
        :returns: (batch, places, hidden_size).
        """
        prefix = []
        if proprio is not None:
            assert self.proprio_projector is not None
            prefix.append(self.proprio_projector(proprio.to(embeds.dtype)))
        if time is not None:
            prefix.append(time_embedding(time, embeds.shape[-1]).to(embeds.dtype))
        added = len(prefix)
        if added:
            embeds = torch.cat([torch.stack(prefix, dim=1), embeds], dim=1)
            read = slice(read.start + added, read.stop + added) if isinstance(read, slice) else read + added
        if key_mask is not None:
            key_mask = torch.nn.functional.pad(key_mask, (added, 0), value=True)[:, None, None]
        positions = torch.arange(1, embeds.shape[1] + 1, device=embeds.device)[None]
        return self.hidden_states(embeds, rotary_tables(positions, self.config, embeds.dtype), read, key_mask)

    def embed_noisy_actions(self, actions: Tensor) -> Tensor:
        """Make one token of each number of noisy actions (batch, chunk, dim)."""
        assert self.noisy_action_projector is not None
        return self.noisy_action_projector(actions.flatten(1)[..., None].to(self.dtype))

    @property
    def closing_ids(self) -> Tensor:
        """Ids (2,) of the tokens that end the turn, on the model's device."""
        if self._closing_ids.device != self.device:
            self._closing_ids = torch.tensor(self.config.tokens.closing, device=self.device)
        return self._closing_ids

    def optimise(self, settings: InferenceSettings | None = None) -> Engine:
        """Predict as fast as settings say from now on; None takes the exact ones that suit the device.

        :returns: what runs the predictions; it says, after the first, what could not be had.
        :raises ModelInputError: if the model was optimised in another way before.
        """
        from .engine import Engine

        self.engine = Engine(self, settings or InferenceSettings.for_device(self.device))
        return self.engine

    def _decode(self, token_ids: Tensor) -> Tensor:
        return torch.from_numpy(self.action_tokens.decode(token_ids.cpu().numpy()))

    def _start(
        self, noise: npt.ArrayLike | Tensor | None, generator: torch.Generator | None, samples: int
    ) -> Tensor:
        """Return the noises to start from (samples, chunk, dim), float32."""
        shape = (1, self.chunk_size, self.action_dim)
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise ModelInputError(f"samples is {samples!r}, not a whole number of 1 or more")
        if noise is None:
            source = generator.device if generator is not None else self.device
            drawn = torch.randn(((samples + 1) // 2, *shape[1:]), generator=generator, device=source)
            return torch.stack([drawn, -drawn], dim=1).flatten(0, 1)[:samples].to(self.device)
        if samples > 1:
            raise ModelInputError(f"samples is {samples}, but one noise is given to start from")
        start = torch.as_tensor(noise, dtype=torch.float32)
        if start.numel() != self.action_places or tuple(start.shape[-2:]) != shape[1:]:
            raise ModelInputError(
                f"noise has shape {tuple(start.shape)}, but this model's chunk is {shape[1:]}"
            )
        if not bool(start.isfinite().all()):
            raise ModelInputError("noise holds numbers that are not finite")
        return start.reshape(shape).to(self.device)

    def read_proprio(self, proprio: npt.ArrayLike | Tensor) -> Tensor:
        """Check normalised states (batch, proprio_dim) and bring them to the model's device, in float32.

        :raises ModelInputError: if the checkpoint takes no state, or one of another length.
        """
        if self.proprio_projector is None:
            raise ModelInputError(
                "proprio was given, but the checkpoint has no proprio_projector--*_checkpoint.pt: it was "
                "trained without the robot's state, so pass proprio=None"
            )
        return self.proprio_projector.read_states(proprio)

    def _checked_steps(self, steps: int | None) -> int:
        if steps is None:
            default = self.objective.default_steps
            return min(default, self.ddim.train_steps) if self.objective is Objective.DIFFUSION else default
        if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
            raise ModelInputError(f"steps must be a positive whole number, not {steps!r}")
        return int(steps)


def _chunk_size(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ModelInputError(f"chunk_size must be a positive whole number, not {value!r}")
    return int(value)
