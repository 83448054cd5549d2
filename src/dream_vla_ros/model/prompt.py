"""Chat prompts: messages rendered by the checkpoint's own template, images as runs of place tokens."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from .errors import ModelInputError

Message = Mapping[str, Any]
IMAGE_PLACE = "<|image_pad|>"
VIDEO_PLACE = "<|video_pad|>"
DEFAULT_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""For folders that bring none: turns as the published training renders them, without a system message."""

_log = logging.getLogger(__name__)


def render(
    messages: Sequence[Message],
    tokenizer: PreTrainedTokenizerBase,
    template: str | None,
    sizes: Sequence[int],
) -> str:
    """Render messages up to and including the assistant's header.

    :param messages: `{"role": ..., "content": text or parts}`, a part being `{"type": "image"}`,
        `{"type": "video"}` or `{"type": "text", "text": ...}`.
    :param template: the folder's Jinja chat template; None is the default. One that cannot show images (a
        text model's) is passed over with a warning.
    :param sizes: how many tokens each image or video takes, in order.
    :raises ModelInputError: if messages and images do not fit.
    """
    parts = [part for message in messages for part in parts_of(message)]
    wanted = sum(part.get("type") in ("image", "video") for part in parts)
    if wanted != len(sizes):
        raise ModelInputError(f"messages show {wanted} images or videos, but {len(sizes)} were given")
    for part in parts:
        if part.get("type") not in ("image", "video"):
            _refuse_special(str(part.get("text", "")), tokenizer)
    text = _apply(messages, tokenizer, template or DEFAULT_CHAT_TEMPLATE)
    if template is not None and _places(text) != wanted:
        _log.warning("the folder's chat template does not show images; the default one is used instead")
        text = _apply(messages, tokenizer, DEFAULT_CHAT_TEMPLATE)
    return _widen(text, sizes)


def parts_of(message: Message) -> list[Mapping[str, Any]]:
    """Return the parts of a message; plain text is one part."""
    content = message.get("content", "")
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _apply(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, template: str) -> str:
    # typed for text-only messages
    turns: Any = list(messages)
    return str(
        tokenizer.apply_chat_template(
            turns, chat_template=template, tokenize=False, add_generation_prompt=True
        )
    )


def _places(text: str) -> int:
    return text.count(IMAGE_PLACE) + text.count(VIDEO_PLACE)


def _widen(text: str, sizes: Sequence[int]) -> str:
    """Replace each single place token by as many as the image takes."""
    pieces, rest = [], text
    for size in sizes:
        image, video = rest.find(IMAGE_PLACE), rest.find(VIDEO_PLACE)
        place = IMAGE_PLACE if video < 0 or 0 <= image < video else VIDEO_PLACE
        before, rest = rest.split(place, 1)
        pieces += [before, place * size]
    return "".join([*pieces, rest])


def _refuse_special(text: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Keep control tokens out of what people write: they would end the turn or fake an image."""
    for token in tokenizer.get_added_vocab():
        if token in text:
            raise ModelInputError(f"the text holds the control token {token}: leave it out")
