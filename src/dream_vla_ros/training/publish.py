"""Write what a training made as a checkpoint in the published layout, with what a user should know of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dream_vla_ros.model.checkpoint import COMPONENTS, HEADS, open_folder
from dream_vla_ros.model.checkpoint_writer import save_checkpoint, write_json
from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.training.curves import write_curves
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.lora import fold, has_adapters, load_adapter, save_adapter
from dream_vla_ros.training.metrics import METRICS, read_metrics

CARD = "README.md"
CURVES = "curves.png"
TRAINING = "training_config.json"
EMBODIMENT = "embodiment.yaml"
_ROWS = 12
_HIDDEN = ("step", "samples_per_s", "gradient_norm", "learning_rate")


@dataclass(frozen=True)
class Publication:
    """What stands beside the weights.

    :param title: Of the model card.
    :param summary: What the model is and is for, in a few sentences.
    :param configuration: Everything the training was told.
    :param embodiment: Content of the robot's parameter file.
    :param stages: Names and folders of the training's stages, for the curves.
    :param base: What it was trained from.
    :param notes: What a user should know, one sentence each.
    """

    title: str
    summary: str
    configuration: Mapping[str, Any]
    embodiment: str
    stages: Sequence[tuple[str, Path]]
    base: str
    notes: tuple[str, ...] = ()


def publish(
    model: DreamVLAForActionPrediction,
    out: Path,
    like: Path,
    about: Publication,
    *,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a checkpoint; it is there completely or not at all.

    :param model: Trained; adapters are written on their own and then folded into its weights.
    :param out: Folder of the checkpoint; one that is there is replaced.
    :param like: Folder whose tokenizer files are taken along.
    :param dtype: Of the weights on disk.
    """
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if has_adapters(model):
        save_adapter(model, partial, about.base)
        fold(model)
    save_checkpoint(model.to(dtype), partial, like=like)
    write_json(partial / TRAINING, about.configuration)
    (partial / EMBODIMENT).write_text(about.embodiment, encoding="utf-8")
    for name, folder in about.stages:
        if (folder / METRICS).exists():
            shutil.copyfile(folder / METRICS, partial / f"{name}_{METRICS}")
    write_curves(partial / CURVES, [(name, read_metrics(folder)) for name, folder in about.stages])
    (partial / CARD).write_text(model_card(model, about), encoding="utf-8")
    _replace(partial, out)
    return out


def model_card(model: DreamVLAForActionPrediction, about: Publication) -> str:
    """Return the model card as Markdown."""
    count = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        f"# {about.title}",
        "",
        about.summary,
        "",
        f"- Parameters: {count / 1e6:.1f} million",
        f"- Objective: `{model.objective.value}`, chunks of {model.chunk_size} actions",
        f"- Trained from: {about.base}",
        f"- Statistics: {', '.join(f'`{key}`' for key in model.statistics.keys)}",
        *(f"- {note}" for note in about.notes),
    ]
    if any(len(read_metrics(folder)) > 1 for _, folder in about.stages):
        lines += ["", f"![Curves]({CURVES})"]
    for name, folder in about.stages:
        if entries := read_metrics(folder):
            lines += ["", f"## Curve of {name}", "", *curve_table(entries)]
    return "\n".join([*lines, "", f"`{TRAINING}` holds everything the training was told.", ""])


def curve_table(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return metrics as a Markdown table of a few rows, each the mean of the lines up to its step."""
    names = list(dict.fromkeys(key for entry in entries for key in entry if key not in _HIDDEN))
    size = -(-len(entries) // _ROWS)
    rows = []
    for start in range(0, len(entries), size):
        part = entries[start : start + size]
        rows.append(f"| {part[-1]['step']} | {' | '.join(_mean(part, name) for name in names)} |")
    return [f"| step | {' | '.join(names)} |", f"|---:|{'---:|' * len(names)}", *rows]


def merge_adapter(base: Path, adapter: Path, out: Path, objective: str) -> Path:
    """Fold a LoRA adapter into the checkpoint that it was trained from.

    :param base: Checkpoint folder; of a fine-tuning, its heads and projectors stand with the adapter.
    :param adapter: Folder that holds ``lora_adapter/`` and the trained heads and projectors.
    :raises TrainingError: If they do not belong together.
    """
    adapter, base = open_folder(adapter), open_folder(base)
    together = out.with_name(f".{out.name}.sources")
    shutil.rmtree(together, ignore_errors=True)
    together.mkdir(parents=True)
    try:
        for name, path in _sources(base, adapter).items():
            (together / name).symlink_to(path.resolve())
        model = DreamVLAForActionPrediction.from_pretrained(together, objective)
        load_adapter(model, adapter)
        fold(model)
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        save_checkpoint(model, partial, like=together)
        for name in (TRAINING, EMBODIMENT, CARD, CURVES):
            if (adapter / name).is_file():
                shutil.copyfile(adapter / name, partial / name)
        _replace(partial, out)
    finally:
        shutil.rmtree(together, ignore_errors=True)
    return out


def configuration_of(value: Any) -> Any:
    """Return settings as JSON can hold them."""
    return json.loads(json.dumps(value, default=str))


def _replace(partial: Path, out: Path) -> None:
    if out.exists() and not (out / "config.json").exists() and any(out.iterdir()):
        raise TrainingError(f"{out} holds something that is no checkpoint: give another folder")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def _sources(base: Path, adapter: Path) -> dict[str, Path]:
    """Return files by name: the base's weights and tokenizer, everything else as it was fine-tuned."""
    found = {path.name: path for path in base.iterdir() if path.is_file()}
    own = {
        path.name: path
        for path in adapter.iterdir()
        if path.is_file() and (".safetensors" not in path.name or path.name == HEADS)
    }
    if any(_is_component(name) for name in own):
        found = {name: path for name, path in found.items() if not _is_component(name)}
    return found | own


def _is_component(name: str) -> bool:
    return name == HEADS or any(name.startswith(f"{part}--") for part in COMPONENTS)


def _mean(entries: Sequence[Mapping[str, Any]], name: str) -> str:
    values = [entry[name] for entry in entries if entry.get(name) is not None]
    return f"{sum(values) / len(values):.4g}" if values else ""
