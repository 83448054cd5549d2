"""From camera images and words to what the networks take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from .checkpoint import open_folder
from .config import DreamConfig, VisionConfig, read_json
from .errors import CheckpointError, ModelInputError
from .prompt import Message, parts_of, render
from .tokenizer import load_tokenizer, read_chat_template

PREPROCESSOR = "preprocessor_config.json"
PUBLISHED_PIXELS = (3136, 3211264)  # smallest and largest image that Dream-VL is shown
REMEMBERED_PROMPTS = 64  # a robot repeats its instruction at every prediction
Image = npt.NDArray[np.uint8]


class DreamProcessor:
    """Messages and images to ids and patches, with a checkpoint's own tokenizer and settings."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Qwen2VLImageProcessorPil,
        chat_template: str | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.chat_template = chat_template

    def encode(
        self,
        messages: Sequence[Message],
        images: Sequence[Image] = (),
        videos: Sequence[Sequence[Image]] = (),
    ) -> dict[str, Tensor]:
        """Encode a conversation up to and including the assistant's header.

        :param messages: as `prompt.render` takes them.
        :param images: uint8 RGB (height, width, 3), one per image part, in order; sides that are no multiple
            of a token's (28 pixels) are resized to the nearest.
        :param videos: the frames of each video part, in order, all of one size.
        :returns: `input_ids` (1, S) and, if anything is shown, `pixel_values` (patches, patch_width) and
            `image_grid_thw` (images and videos, 3), both in the order of the parts.
        :raises ModelInputError: if an image is malformed, or messages and images do not fit.
        """
        shown = self.encode_images(images)
        moving = [self.encode_video(video) for video in videos]
        vision = _in_order(messages, shown, moving)
        return {"input_ids": self.tokenize(messages, vision), **vision}

    def tokenize(self, messages: Sequence[Message], vision: Mapping[str, Tensor]) -> Tensor:
        """Return the ids (1, S) of a conversation about images that are encoded already."""
        text = render(messages, self.tokenizer, self.chat_template, self._sizes(vision))
        return torch.tensor([self.tokenizer.encode(text, add_special_tokens=False)])

    def encode_images(self, images: Sequence[Image]) -> dict[str, Tensor]:
        """Cut images into normalised patches; empty without images."""
        if not len(images):
            return {}
        for index, image in enumerate(images):
            if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
                kind = getattr(image, "dtype", type(image).__name__)
                raise ModelInputError(f"image {index} must be a uint8 array, not {kind}")
            if image.ndim != 3 or image.shape[2] != 3 or not image.size:
                raise ModelInputError(f"image {index} must be RGB (height, width, 3), not {image.shape}")
        try:
            made = self.image_processor(
                images=[np.ascontiguousarray(image) for image in images],
                input_data_format="channels_last",
                return_tensors="np",
            )
        except ValueError as error:
            raise ModelInputError(f"an image cannot be cut into patches: {error}") from error
        return {
            "pixel_values": torch.from_numpy(made["pixel_values"]),
            "image_grid_thw": torch.from_numpy(made["image_grid_thw"].astype(np.int64)),
        }

    def encode_video(self, frames: Sequence[Image]) -> dict[str, Tensor]:
        """Cut a video into patches that each span `temporal_patch_size` frames.

        :param frames: uint8 RGB of one size; the last is repeated to fill the last patch.
        :returns: `pixel_values` and `image_grid_thw` (1, 3).
        """
        if not len(frames) or len({np.shape(frame) for frame in frames}) != 1:
            raise ModelInputError("a video must have frames, all of one size")
        span, size = self.image_processor.temporal_patch_size, self.image_processor.patch_size
        filled = [*frames, *[frames[-1]] * (-len(frames) % span)]
        made = self.encode_images(filled)
        _, rows, columns = made["image_grid_thw"][0].tolist()
        # a still image repeats itself along time: keep one of each, then put frame beside frame
        still = made["pixel_values"].unflatten(1, (-1, span, size, size))[:, :, 0]
        patches = still.unflatten(0, (-1, span, rows * columns)).movedim(1, 3).flatten(0, 1).flatten(1)
        return {
            "pixel_values": patches,
            "image_grid_thw": torch.tensor([[len(filled) // span, rows, columns]]),
        }

    def decode(self, ids: Tensor | Sequence[int], *, keep_special: bool = False) -> str:
        """Return the text of ids, up to the end of the assistant's turn unless special tokens are kept."""
        listed = [int(i) for i in (ids.flatten().tolist() if isinstance(ids, Tensor) else ids)]
        if not keep_special:
            ends = {self.tokenizer.eos_token_id, self.tokenizer.convert_tokens_to_ids("<|im_end|>")}
            listed = listed[: next((at for at, token in enumerate(listed) if token in ends), len(listed))]
        return str(self.tokenizer.decode(listed, skip_special_tokens=not keep_special))

    def _sizes(self, vision: Mapping[str, Tensor]) -> list[int]:
        if not vision:
            return []
        merged = self.image_processor.merge_size**2
        return [int(grid.prod()) // merged for grid in vision["image_grid_thw"]]

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> DreamProcessor:
        """Read tokenizer, chat template and image settings of a checkpoint folder; no code of it is run.

        :raises CheckpointError: naming the file that is missing, damaged or does not fit `config.json`.
        """
        path = open_folder(folder)
        config = DreamConfig.from_folder(path)
        words = load_tokenizer(path, None if config.model_type == "dream-vl" else config.n_action_bins)
        return cls(words, load_image_processor(path, config.vision), read_chat_template(path))


class DreamVLAProcessor(DreamProcessor):
    """One observation, an image per camera and an instruction, to the inputs of Dream-VLA."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Qwen2VLImageProcessorPil,
        chat_template: str | None = None,
    ) -> None:
        super().__init__(tokenizer, image_processor, chat_template)
        self._prompts: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def __call__(self, images: Sequence[Image], instruction: str) -> dict[str, Tensor]:
        """Encode one observation.

        :param images: uint8 RGB at training size, third person first, one per camera.
        :param instruction: in plain words; put into lower case as in training.
        :returns: `input_ids` (1, S), `pixel_values` (patches, patch_width), `image_grid_thw` (images, 3).
        :raises ModelInputError: if there is no image or no instruction, or one is malformed.
        """
        if not len(images):
            raise ModelInputError("Dream-VLA needs at least one camera image")
        vision = self.encode_images(images)
        return {"input_ids": self.prompt(instruction, vision), **vision}

    def prompt(self, instruction: str, vision: Mapping[str, Tensor]) -> Tensor:
        """Return the ids (1, S) of the question for an instruction about images that are encoded already.

        :param vision: with `image_grid_thw` (images, 3).
        :raises ModelInputError: if there is no instruction.
        """
        if not isinstance(instruction, str) or not instruction.strip():
            raise ModelInputError(f"the instruction must be words, not {instruction!r}")
        key = (instruction, tuple(self._sizes(vision)))
        if key not in self._prompts:
            while len(self._prompts) >= REMEMBERED_PROMPTS:
                self._prompts.pop(next(iter(self._prompts)))
            count = len(vision["image_grid_thw"])
            self._prompts[key] = self.tokenize(action_question(instruction, count), vision)
        return self._prompts[key].clone()


def _in_order(
    messages: Sequence[Message], images: Mapping[str, Tensor], videos: Sequence[Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """Put patches and grids of images and videos in the order in which messages show them."""
    if not videos:
        return dict(images)
    patches, grids = [], []
    stills: list[tuple[Tensor, Tensor]] = []
    if images:
        counts = images["image_grid_thw"].prod(-1).tolist()
        stills = list(
            zip(images["pixel_values"].split(counts), images["image_grid_thw"].split(1), strict=True)
        )
    waiting = {"image": stills, "video": [(v["pixel_values"], v["image_grid_thw"]) for v in videos]}
    for part in (part for message in messages for part in parts_of(message)):
        if part.get("type") in waiting:
            if not waiting[part["type"]]:
                raise ModelInputError(f"messages show more {part['type']}s than were given")
            seen, grid = waiting[part["type"]].pop(0)
            patches.append(seen)
            grids.append(grid)
    if left := sum(map(len, waiting.values())):
        raise ModelInputError(f"{left} of the images and videos given are not shown in the messages")
    return {"pixel_values": torch.cat(patches), "image_grid_thw": torch.cat(grids)}


def action_question(instruction: str, num_images: int) -> list[Message]:
    """Return the conversation that asks for an action, as in the published training."""
    question = f"What action should the robot take to {instruction.lower()}?"
    parts: list[dict[str, Any]] = [{"type": "image"}] * num_images
    return [{"role": "user", "content": [*parts, {"type": "text", "text": question}]}]


def load_image_processor(folder: Path, vision: VisionConfig) -> Qwen2VLImageProcessorPil:
    """Read `preprocessor_config.json`; without it, the published settings with the sizes of `config.json`.

    :raises CheckpointError: if it is malformed or its patches are not the model's.
    """
    path = folder / PREPROCESSOR
    data = read_json(path) if path.exists() else {}
    for key, expected in {
        "patch_size": vision.patch_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "merge_size": vision.spatial_merge_size,
    }.items():
        if data.get(key, expected) != expected:
            raise CheckpointError(f"{path}: {key} is {data[key]}, but config.json has {expected}")
    raw_size = data.get("size")
    size: Mapping[str, Any] = raw_size if isinstance(raw_size, dict) else {}
    low, high = (
        next((found for found in candidates if found is not None), default)
        for candidates, default in (
            (
                (data.get("min_pixels"), size.get("min_pixels"), size.get("shortest_edge")),
                PUBLISHED_PIXELS[0],
            ),
            ((data.get("max_pixels"), size.get("max_pixels"), size.get("longest_edge")), PUBLISHED_PIXELS[1]),
        )
    )
    colours = {key: data[key] for key in ("image_mean", "image_std") if key in data}
    if any(not isinstance(value, list) or len(value) != 3 for value in colours.values()):
        raise CheckpointError(f"{path}: image_mean and image_std must be three numbers each")
    return Qwen2VLImageProcessorPil(
        min_pixels=low,
        max_pixels=high,
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.spatial_merge_size,
        **colours,
    )
