"""The tokenizer of a checkpoint folder, and the ids the model needs from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, Qwen2TokenizerFast  # type: ignore[attr-defined]

from .config import DreamConfig, TokenIds
from .errors import CheckpointError

NAMES = {
    "image": "<|image_pad|>",
    "video": "<|video_pad|>",
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
    "mask": "<|mask|>",
    "im_end": "<|im_end|>",
}
REQUIRED = ("mask", "im_end")  # what every prediction stands on; others may come from config.json


def action_token_name(index: int) -> str:
    """Return the text of an action token."""
    return f"<|action_{index}|>"


def has_tokenizer(folder: Path) -> bool:
    """Say whether a folder holds tokenizer files."""
    return (folder / "tokenizer.json").exists() or (folder / "vocab.json").exists()


def load_tokenizer(folder: str | Path, n_action_bins: int | None = None) -> PreTrainedTokenizerBase:
    """Load a folder's tokenizer without running its code, whatever class its files name.

    :param n_action_bins: if given, action tokens that the files lack are added behind the last token, as the
        published training does.
    :raises CheckpointError: if files are missing or cannot be read.
    """
    folder = Path(folder)
    if not has_tokenizer(folder):
        raise CheckpointError(
            f"{folder} has no tokenizer: tokenizer.json, or vocab.json and merges.txt, is missing"
        )
    if not (folder / "tokenizer.json").exists() and not (folder / "merges.txt").exists():
        raise CheckpointError(f"{folder / 'merges.txt'} is missing: vocab.json alone is no tokenizer")
    try:
        tokenizer = Qwen2TokenizerFast.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the library raises what its parsers raise, bare Exception included
        raise CheckpointError(f"the tokenizer files in {folder} cannot be read: {error}") from error
    if n_action_bins is not None and action_token_name(0) not in tokenizer.get_vocab():
        tokenizer.add_tokens([action_token_name(i) for i in range(n_action_bins)])
    return tokenizer


def with_token_ids(config: DreamConfig, folder: Path, *, for_actions: bool) -> DreamConfig:
    """Return the config with the ids of the folder's tokenizer; without one, with its own.

    :param for_actions: whether the action tokens are needed, too.
    :raises CheckpointError: if the tokenizer cannot be read or does not fit the model.
    """
    tokenizer = None
    if has_tokenizer(folder):
        tokenizer = load_tokenizer(folder, config.n_action_bins if for_actions else None)
    return config.with_tokens(resolve_token_ids(config, tokenizer, folder, for_actions=for_actions))


def resolve_token_ids(
    config: DreamConfig, tokenizer: PreTrainedTokenizerBase | None, source: Path, *, for_actions: bool
) -> TokenIds:
    """Take ids from the tokenizer where there is one, else from the config.

    :param for_actions: whether the action tokens must lie in the vocabulary too.
    :raises CheckpointError: if the tokenizer lacks a token, or ids lie outside the model's vocabulary.
    """
    tokens = config.tokens
    if tokenizer is not None:
        tokens = replace(tokens, **_ids_of(tokenizer, source))
    for name in ("mask", "im_end", "newline") if for_actions else ("mask", "pad"):
        if getattr(tokens, name) >= config.vocab_size:
            raise CheckpointError(
                f"{source}: token {name} has id {getattr(tokens, name)}, outside the vocabulary of "
                f"{config.vocab_size}; {_advice(tokenizer)}"
            )
    if for_actions and tokens.tokenizer_length > config.vocab_size:
        raise CheckpointError(
            f"{source}: the tokenizer has {tokens.tokenizer_length} tokens with its action tokens, but the "
            f"vocabulary only {config.vocab_size}; {_advice(tokenizer)}"
        )
    return tokens


def read_chat_template(folder: Path) -> str | None:
    """Return the chat template that a processor or tokenizer saved into the folder; None if there is none."""
    jinja = folder / "chat_template.jinja"
    try:
        if jinja.exists():
            return jinja.read_text(encoding="utf-8")
        for name in ("chat_template.json", "tokenizer_config.json"):
            path = folder / name
            template = (
                json.loads(path.read_text(encoding="utf-8")).get("chat_template") if path.exists() else None
            )
            if isinstance(template, str):
                return template
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"a chat template in {folder} cannot be read: {error}") from error
    return None


def _ids_of(tokenizer: PreTrainedTokenizerBase, source: Path) -> dict[str, Any]:
    vocabulary = tokenizer.get_vocab()
    ids: dict[str, Any] = {field: vocabulary[text] for field, text in NAMES.items() if text in vocabulary}
    lacking = [NAMES[field] for field in REQUIRED if field not in ids]
    if lacking:
        raise CheckpointError(f"{source}: the tokenizer lacks {', '.join(lacking)}; it is no Dream tokenizer")
    newline = tokenizer.encode("\n", add_special_tokens=False)
    if len(newline) != 1:
        raise CheckpointError(f"{source}: the tokenizer has no single token for a line break")
    ids["newline"] = newline[0]
    for field in ("pad", "eos"):
        if (value := getattr(tokenizer, f"{field}_token_id", None)) is not None:
            ids[field] = value
    ids["tokenizer_length"] = len(tokenizer)
    return ids


def _advice(tokenizer: PreTrainedTokenizerBase | None) -> str:
    if tokenizer is None:
        return "put the checkpoint's tokenizer files into the folder"
    return "tokenizer and config.json belong to different checkpoints"
