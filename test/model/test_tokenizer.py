"""Tokenizers of checkpoint folders, published layout included."""

import json
import shutil
from dataclasses import replace

import pytest

from dream_vla_ros.model import tokenizer as words
from dream_vla_ros.model.config import DreamConfig, TokenIds
from dream_vla_ros.model.errors import CheckpointError


@pytest.fixture
def folder(tabletop_tiny, tmp_path):
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copyfile(tabletop_tiny / name, tmp_path / name)
    return tmp_path


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_ids_come_from_the_tokenizer(tabletop_tiny):
    config = DreamConfig.from_folder(tabletop_tiny)
    wrong = replace(config.tokens, mask=3, image=4, tokenizer_length=900)
    found = words.with_token_ids(config.with_tokens(wrong), tabletop_tiny, for_actions=True).tokens
    vocabulary = words.load_tokenizer(tabletop_tiny).get_vocab()
    assert found.mask == vocabulary["<|mask|>"]
    assert found.image == vocabulary["<|image_pad|>"]
    assert found.im_end == vocabulary["<|im_end|>"]
    assert found.tokenizer_length == len(vocabulary) == found.mask + 257
    assert vocabulary["<|action_0|>"] == found.mask + 1


def test_published_folders_load_without_their_code(folder):
    trap = "raise SystemExit('remote code ran')"
    (folder / "tokenization_dream.py").write_text(trap)
    (folder / "configuration_dreamvl.py").write_text(trap)
    auto_map = {"AutoTokenizer": ["tokenization_dream.DreamTokenizer", None]}
    edit(
        folder / "tokenizer_config.json",
        lambda d: d.update(auto_map=auto_map, tokenizer_class="DreamTokenizer", errors="replace"),
    )
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoConfig": "configuration_dreamvl.X"}}))
    tokenizer = words.load_tokenizer(folder)
    ids = tokenizer.encode("<|im_start|>user\nPick up the red block<|im_end|>\n")
    assert tokenizer.decode(ids) == "<|im_start|>user\nPick up the red block<|im_end|>\n"


def test_action_tokens_are_added_where_they_lack(folder):
    edit(
        folder / "tokenizer_config.json",
        lambda d: d.update(
            added_tokens_decoder={
                k: v for k, v in d["added_tokens_decoder"].items() if "action" not in v["content"]
            }
        ),
    )
    bare = words.load_tokenizer(folder)
    full = words.load_tokenizer(folder, n_action_bins=256)
    assert len(full) == len(bare) + 256
    assert full.convert_tokens_to_ids("<|action_0|>") == len(bare)


@pytest.mark.parametrize("text", ["grüß' die Tasse", "把红色方块拿起来", "🤖 go!", "a\tb\n\n c", "10.5 cm"])
def test_any_text_survives(tabletop_tiny, text):
    tokenizer = words.load_tokenizer(tabletop_tiny)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_without_tokenizer_the_config_counts(make_config, tmp_path):
    config = DreamConfig.from_dict(make_config())
    assert words.with_token_ids(config, tmp_path, for_actions=True) == config


@pytest.mark.parametrize("missing", ["merges.txt", "vocab.json"])
def test_a_missing_file_is_named(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=missing):
        words.load_tokenizer(folder)


@pytest.mark.parametrize("damaged", ["merges.txt", "vocab.json", "tokenizer_config.json"])
def test_a_damaged_file_gives_an_error_with_the_folder(folder, damaged):
    (folder / damaged).write_text("{ 3")
    with pytest.raises(CheckpointError, match=str(folder)):
        words.load_tokenizer(folder)


def test_a_foreign_tokenizer_is_refused(folder, make_config):
    edit(
        folder / "tokenizer_config.json",
        lambda d: d.update(
            mask_token=None,
            added_tokens_decoder={
                k: v for k, v in d["added_tokens_decoder"].items() if v["content"] != "<|mask|>"
            },
        ),
    )
    config = DreamConfig.from_dict(make_config(vocab_size=2000))
    with pytest.raises(CheckpointError, match="mask"):
        words.with_token_ids(config, folder, for_actions=True)


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(folder, make_config):
    config = DreamConfig.from_dict(make_config(vocab_size=800))
    with pytest.raises(CheckpointError, match="different checkpoints"):
        words.with_token_ids(config, folder, for_actions=True)


def test_published_ids_need_the_published_vocabulary(make_config, tmp_path):
    config = DreamConfig.from_dict(make_config()).with_tokens(TokenIds())
    with pytest.raises(CheckpointError, match="tokenizer files"):
        words.with_token_ids(config, tmp_path, for_actions=True)


def test_chat_template_is_found_wherever_it_was_saved(tmp_path):
    assert words.read_chat_template(tmp_path) is None
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "c"}')
    assert words.read_chat_template(tmp_path) == "c"
    (tmp_path / "chat_template.json").write_text('{"chat_template": "b"}')
    assert words.read_chat_template(tmp_path) == "b"
    (tmp_path / "chat_template.jinja").write_text("a")
    assert words.read_chat_template(tmp_path) == "a"
