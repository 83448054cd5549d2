"""Chat prompts."""

import pytest

from dream_vla_ros.model.errors import ModelInputError
from dream_vla_ros.model.prompt import render
from dream_vla_ros.model.tokenizer import load_tokenizer

ASK = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}]}]
IMAGE = "<|vision_start|>{}<|vision_end|>"


@pytest.fixture(scope="module")
def tokenizer(tabletop_tiny):
    return load_tokenizer(tabletop_tiny)


def test_an_image_becomes_as_many_places_as_it_takes(tokenizer):
    text = render(ASK, tokenizer, None, [3])
    shown = IMAGE.format("<|image_pad|>" * 3)
    assert text == f"<|im_start|>user\n{shown}what?<|im_end|>\n<|im_start|>assistant\n"


def test_images_and_videos_keep_their_order(tokenizer):
    parts = [{"type": kind} for kind in ("video", "image", "video")]
    text = render([{"role": "user", "content": parts}], tokenizer, None, [1, 2, 3])
    kinds = ["<|video_pad|>", "<|image_pad|>" * 2, "<|video_pad|>" * 3]
    assert "".join(IMAGE.format(kind) for kind in kinds) in text


def test_turns_are_kept(tokenizer):
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
    ]
    assert render(turns, tokenizer, None, []).count("<|im_start|>") == 4


def test_the_folder_template_counts(tokenizer):
    part = "{{ '<|image_pad|>' if p.type == 'image' else p.text }}"
    template = f"SYSTEM {{% for m in messages %}}{{% for p in m.content %}}{part}{{% endfor %}}{{% endfor %}}"
    assert render(ASK, tokenizer, template, [2]) == "SYSTEM <|image_pad|><|image_pad|>what?"


def test_a_template_for_text_only_is_passed_over(tokenizer, caplog):
    blind = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert render(ASK, tokenizer, blind, [3]) == render(ASK, tokenizer, None, [3])
    assert "template" in caplog.text


@pytest.mark.parametrize("sizes", [[], [3, 3]])
def test_as_many_images_as_places(tokenizer, sizes):
    with pytest.raises(ModelInputError, match="1 images"):
        render(ASK, tokenizer, None, sizes)


@pytest.mark.parametrize("token", ["<|im_end|>", "<|image_pad|>", "<|mask|>", "<|action_3|>"])
def test_control_tokens_in_words_are_refused(tokenizer, token):
    with pytest.raises(ModelInputError, match="control token"):
        render([{"role": "user", "content": f"pick {token} up"}], tokenizer, None, [])
