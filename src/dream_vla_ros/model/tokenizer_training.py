"""Make a small tokenizer laid out like Dream's: byte-level words, control tokens, action tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from .prompt import DEFAULT_CHAT_TEMPLATE
from .tokenizer import action_token_name

END = "<|endoftext|>"
CONTROL_TOKENS = (
    END,
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<|beginoftext|>",
    "<|mask|>",
)
"""In the published order; the mask token is the last before the action tokens."""


def train_tokenizer(
    sentences: Iterable[str], folder: str | Path, vocabulary: int, n_action_bins: int = 256
) -> int:
    """Train on sentences and write `vocab.json`, `merges.txt` and `tokenizer_config.json`.

    Every text can be encoded: the alphabet is the 256 bytes.

    :param vocabulary: most word pieces to learn, bytes included.
    :returns: the tokenizer's length, control and action tokens included.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    words = Tokenizer(models.BPE())
    words.normalizer = normalizers.NFC()
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    words.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    words.train_from_iterator(sentences, trainer)
    words.model.save(str(folder))
    first = words.get_vocab_size()
    names = [*CONTROL_TOKENS, *(action_token_name(i) for i in range(n_action_bins))]
    added = {
        str(first + index): {
            "content": name,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": index < len(CONTROL_TOKENS),
        }
        for index, name in enumerate(names)
    }
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 4096,
        "bos_token": None,
        "eos_token": END,
        "pad_token": END,
        "unk_token": None,
        "mask_token": "<|mask|>",
        "chat_template": DEFAULT_CHAT_TEMPLATE,
        "added_tokens_decoder": added,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    return first + len(names)
