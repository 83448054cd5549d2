"""Runs the passes of a prediction fast: prompts and tables prepared once, shapes fixed, all of it recorded.

Attention is bidirectional, so almost nothing of the language model stays the same between two flow steps:
images, the prompt's embeddings and the state's token do (and with them the prompt's keys and values of the
first layer, 0.3 % of the 7B's work, not worth a second code path), but from the second layer on the prompt's
keys and values carry what it read from the noisy actions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from .action_heads import time_embedding
from .capture import Captured
from .continuation import Continuation
from .errors import ModelInputError
from .fast_layers import use_fast_layers
from .inference_settings import InferenceSettings, Quantization
from .language import PrefixCache, rotary_tables
from .prediction import PlainRunner, denoise, regress
from .scene import Scene
from .vision import Grid

if TYPE_CHECKING:
    from .dream_vla import DreamVLAForActionPrediction

# More than any schedule or set of cameras has. Graphs read them, so none is ever dropped for another.
KEPT_TIMES, KEPT_GRIDS = 2048, 32
COMPILED_SHAPES = 64


class SceneTensors(NamedTuple):
    """What a scene is made of; the order of the sequence is words, state, time, last word, action places.

    :param words: (1, bucket, hidden_size) the prompt without its last token, padded; images blank.
    :param last: (1, 1, hidden_size) the prompt's last token: what predicts the first action place.
    :param places: (image tokens,) where images stand among the words; None without images.
    :param cos: (1, 1, length, head_dim) of all positions, as `sin`.
    :param key_mask: (1, 1, 1, length), False at padding; None where nothing may be padded.
    :param patches: (patches, patch_width); None without images, or when they are among the words already.
    :param state: (1, proprio_dim); None without the state token.
    """

    words: Tensor
    last: Tensor
    places: Tensor | None
    cos: Tensor
    sin: Tensor
    key_mask: Tensor | None
    patches: Tensor | None
    state: Tensor | None


@dataclass(frozen=True)
class PromptPlan:
    """What one instruction always needs."""

    words: Tensor
    last: Tensor
    places: Tensor | None
    cos: Tensor
    sin: Tensor
    key_mask: Tensor | None


class PreparedScene:
    """A scene over prepared tensors; what the passes share is computed in the first."""

    def __init__(self, engine: Engine, tensors: SceneTensors, grids: Sequence[Grid]) -> None:
        self._engine = engine
        self.tensors = tensors
        self.grids = tuple(grids)
        self._words: Tensor | None = None
        self._state: Tensor | None = None
        self._caches: list[PrefixCache] = []
        self._passes = 0

    def words(self) -> Tensor:
        """Return the words (1, bucket, hidden_size) with images in their places."""
        if self._words is None:
            given = self.tensors
            self._words = given.words
            if given.patches is not None and given.places is not None:
                features = self._engine.model.encode_images(
                    given.patches, self.grids, self._engine.vision_tables(self.grids)
                )
                self._words = given.words.index_copy(1, given.places, features[None].to(given.words.dtype))
        return self._words

    def hidden(self, tokens: Tensor, count: int, time: float | None = None) -> Tensor:
        """Run one pass, over everything or, with kept keys and values, over what changes."""
        model, every = self._engine.model, self._engine.settings.refresh_every
        words, (cos, sin) = self.words(), (self.tensors.cos, self.tensors.sin)
        front = []
        if self.tensors.state is not None:
            if self._state is None:
                assert model.proprio_projector is not None
                self._state = model.proprio_projector(self.tensors.state.to(words.dtype))[None]
            front.append(self._state)
        if time is not None:
            front.append(self._engine.time_token(time))
        rows = len(tokens)
        fresh = torch.cat(
            [*(part.expand(rows, -1, -1) for part in (*front, self.tensors.last)), tokens], dim=1
        )
        whole = self._passes % every == 0
        self._passes += 1
        start = len(front) if not whole else words.shape[1] + len(front)
        read = slice(start, start + count)
        if every > 1 and whole:
            self._caches = [PrefixCache(words.shape[1]) for _ in model.model.layers]
        caches = self._caches if every > 1 else None
        if whole:
            embeds = torch.cat([words.expand(rows, -1, -1), fresh], dim=1)
        else:
            embeds, cos, sin = fresh, cos[:, :, words.shape[1] :], sin[:, :, words.shape[1] :]
        return model.hidden_states(embeds, (cos, sin), read, self.tensors.key_mask, caches)


class Engine:
    """Prepares scenes of one model and runs its predictions.

    :param model: on its device, in its type; from now on it runs on fused or quantised layers if settings say
        so, for good.
    """

    def __init__(self, model: DreamVLAForActionPrediction, settings: InferenceSettings) -> None:
        self.model = model
        self.settings = settings
        use_fast_layers(model, settings)
        if settings.compiled:
            self._compile()
        self._plans: OrderedDict[tuple[object, ...], PromptPlan] = OrderedDict()
        self._times: dict[float, Tensor] = {}
        self._vision_tables: dict[tuple[Grid, ...], tuple[Tensor, Tensor]] = {}
        self._denoise = Captured(self._denoise_now, settings.cuda_graph)
        self._regress = Captured(self._regress_now, settings.cuda_graph)
        self._encode = Captured(self._encode_now, settings.cuda_graph)
        self._pass = Captured(self._pass_now, settings.cuda_graph)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why something is not recorded although it should be."""
        every = (self._denoise, self._regress, self._encode, self._pass)
        return tuple(dict.fromkeys(captured.failure for captured in every if captured.failure))

    def scene(
        self, ids: Tensor, patches: Tensor | None, grids: Sequence[Grid], state: Tensor | None
    ) -> Scene:
        """Prepare a scene.

        :param ids: (1, length).
        """
        if ids.shape[1] < 2:
            return PlainRunner(self.model).scene(ids, patches, grids, state)
        plan = self._plan(ids, tuple(grids), state is not None)
        if patches is not None and plan.places is None:
            return PlainRunner(self.model).scene(ids, patches, grids, state)
        tensors = SceneTensors(
            plan.words, plan.last, plan.places, plan.cos, plan.sin, plan.key_mask, patches, state
        )
        return PreparedScene(self, tensors, grids)

    def denoise(self, scene: Scene, noise: Tensor, steps: int, before: Continuation | None = None) -> Tensor:
        """Go from noise to actions (draws, chunk, dim), all steps at once."""
        guided = before is not None and before.guidance_limit is not None
        if guided and self.settings.quantization is Quantization.INT4:
            raise ModelInputError(
                "real-time chunking needs gradients, which int4 has none of: use inpainting"
            )
        if not isinstance(scene, PreparedScene):
            return denoise(self.model, scene, noise, steps, before)
        key = (scene.grids, steps, None if before is None else before.guidance_limit)
        more = (None, None) if before is None else (before.target, before.weights)
        return self._denoise(key, *scene.tensors, noise, *more)

    def regress(self, scene: Scene) -> Tensor:
        """Return the actions (1, chunk, dim) of one pass over zeroed places."""
        if not isinstance(scene, PreparedScene):
            return regress(self.model, scene)
        return self._regress(scene.grids, *scene.tensors)

    def encoded(self, scene: Scene) -> Scene:
        """Return the scene with its images encoded, each of whose passes is recorded by itself."""
        if not isinstance(scene, PreparedScene):
            return scene
        words = self._encode(scene.grids, *scene.tensors)
        tensors = scene.tensors._replace(words=words, patches=None, places=None)
        return _RecordedScene(self, PreparedScene(self, tensors, scene.grids))

    def time_token(self, time: float) -> Tensor:
        """Return the token (1, 1, hidden_size) of a flow time or diffusion step."""
        token = self._times.get(time)
        if token is None:
            width = self.model.config.hidden_size
            token = time_embedding(torch.full((1,), time, device=self.model.device), width)[None]
            token = token.to(self.model.dtype)
            if self.settings.tables and len(self._times) < KEPT_TIMES:
                self._times[time] = token
        return token

    def vision_tables(self, grids: tuple[Grid, ...]) -> tuple[Tensor, Tensor]:
        """Return the vision tower's rotary tables for images of these grids."""
        tables = self._vision_tables.get(grids)
        if tables is None:
            tables = self.model.visual.tables(grids, self.model.device)
            if self.settings.tables and len(self._vision_tables) < KEPT_GRIDS:
                self._vision_tables[grids] = tables
        return tables

    def _denoise_now(self, key: tuple[Sequence[Grid], int, float | None], *given: Tensor | None) -> Tensor:
        grids, steps, limit = key
        *tensors, noise, target, weights = given
        before = None
        if target is not None and weights is not None:
            before = Continuation(target, weights, limit)
        assert noise is not None
        scene = PreparedScene(self, SceneTensors(*tensors), grids)  # type: ignore[arg-type]
        return denoise(self.model, scene, noise, steps, before)

    def _regress_now(self, grids: Sequence[Grid], *given: Tensor | None) -> Tensor:
        scene = PreparedScene(self, SceneTensors(*given), grids)  # type: ignore[arg-type]
        return regress(self.model, scene)

    def _encode_now(self, grids: Sequence[Grid], *given: Tensor | None) -> Tensor:
        return PreparedScene(self, SceneTensors(*given), grids).words()  # type: ignore[arg-type]

    def _pass_now(self, count: int, tokens: Tensor, *given: Tensor | None) -> Tensor:
        return PreparedScene(self, SceneTensors(*given), ()).hidden(tokens, count)  # type: ignore[arg-type]

    def run_pass(self, scene: PreparedScene, tokens: Tensor, count: int) -> Tensor:
        """Run one pass of a scene whose images are encoded."""
        if self.settings.refresh_every > 1:  # a recorded pass could not keep keys for the next
            return scene.hidden(tokens, count)
        return self._pass(count, tokens, *scene.tensors)

    def _plan(self, ids: Tensor, grids: tuple[Grid, ...], with_state: bool) -> PromptPlan:
        model = self.model
        key = (tuple(ids[0].tolist()), grids, with_state, model.action_places)
        plan = self._plans.pop(key, None)
        if plan is None:
            plan = self._make_plan(ids, with_state)
        while len(self._plans) >= max(self.settings.remembered_prompts, 1):
            self._plans.popitem(last=False)
        if self.settings.remembered_prompts:
            self._plans[key] = plan
        return plan

    def _make_plan(self, ids: Tensor, with_state: bool) -> PromptPlan:
        model, settings, device = self.model, self.settings, ids.device
        length = ids.shape[1] - 1
        tokens = model.config.tokens
        front = int(with_state) + int(model.objective.denoises)
        behind = front + 1 + model.action_places + len(tokens.closing)
        bucket = -(-(length + behind) // settings.bucket) * settings.bucket - behind
        words = torch.nn.functional.pad(ids[:, :-1], (0, bucket - length), value=tokens.pad)
        is_image = (ids == tokens.image) | (ids == tokens.video)
        places = None if bool(is_image[0, -1]) else is_image[0, :-1].nonzero()[:, 0]
        positions = torch.cat(
            [
                torch.arange(front + 1, front + 1 + bucket, device=device),
                torch.arange(1, front + 1, device=device),
                torch.arange(front + length + 1, front + length + 1 + behind - front, device=device),
            ]
        )
        key_mask = None
        if settings.bucket > 1:
            at = torch.arange(len(positions), device=device)
            key_mask = ((at < length) | (at >= bucket))[None, None, None]
        cos, sin = rotary_tables(positions[None], model.config, model.dtype)
        embed = model.model.embed_tokens
        return PromptPlan(embed(words), embed(ids[:, -1:]), places, cos, sin, key_mask)

    def _compile(self) -> None:
        """Compile the repeated blocks; one serves all others of its kind."""
        limits: Any = torch._dynamo.config
        # One per bucket and kind of layer; beyond the limit torch would quietly go on uncompiled.
        limits.recompile_limit = max(limits.recompile_limit, COMPILED_SHAPES)
        for block in (*self.model.model.running, *self.model.model.layers, *self.model.visual.blocks):
            block.compile(dynamic=False)


class _RecordedScene:
    """A scene whose passes are recorded one by one."""

    def __init__(self, engine: Engine, scene: PreparedScene) -> None:
        self._engine = engine
        self._scene = scene

    def hidden(self, tokens: Tensor, count: int, time: float | None = None) -> Tensor:
        """Replay the pass; objectives that choose tokens have no time."""
        assert time is None
        return self._engine.run_pass(self._scene, tokens, count)
