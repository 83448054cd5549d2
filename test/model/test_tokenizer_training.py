"""Making small tokenizers."""

import json

from dream_vla_ros.model.tabletop_words import sentences
from dream_vla_ros.model.tokenizer import load_tokenizer
from dream_vla_ros.model.tokenizer_training import CONTROL_TOKENS, train_tokenizer

MOST_PIECES = 744  # with control and action tokens the vocabulary stays within 1024


def test_the_committed_tokenizer_can_be_made_again(tabletop_tiny, tmp_path):
    length = train_tokenizer(sentences(), tmp_path, MOST_PIECES)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (tabletop_tiny / name).read_bytes()
    assert length == len(load_tokenizer(tabletop_tiny))
    assert length <= json.loads((tabletop_tiny / "config.json").read_text())["vocab_size"]


def test_control_tokens_stand_in_the_published_order(tabletop_tiny):
    tokenizer = load_tokenizer(tabletop_tiny)
    first = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    ids = [tokenizer.convert_tokens_to_ids(name) for name in CONTROL_TOKENS]
    published = {"<|im_end|>": 2, "<|vision_start|>": 9, "<|image_pad|>": 12, "<|mask|>": 23}
    assert ids == list(range(first, first + len(CONTROL_TOKENS)))
    for name, offset in published.items():
        assert tokenizer.convert_tokens_to_ids(name) == first + offset


def test_a_usual_instruction_is_short(tabletop_tiny):
    tokenizer = load_tokenizer(tabletop_tiny)
    assert len(tokenizer.encode("pick up the red block")) <= 6


def test_other_numbers_of_bins(tmp_path):
    length = train_tokenizer(["a b c"], tmp_path, 300, n_action_bins=16)
    assert load_tokenizer(tmp_path).convert_tokens_to_ids("<|action_15|>") == length - 1
