"""Whether a checkpoint and a robot belong together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dream_vla_ros.embodiment import Embodiment, ProprioLayout
from dream_vla_ros.model import DreamVLAForActionPrediction
from dream_vla_ros.policy.actions import ACTION_SIZE
from dream_vla_ros.policy.policy import PolicyError


def check_fit(model: DreamVLAForActionPrediction, embodiment: Embodiment, folder: Path) -> tuple[str, ...]:
    """Check that a model can drive a robot.

    :param model: As read from the folder, for the robot's chunk size.
    :returns: What a user should know although it is no error, one sentence each.
    :raises PolicyError: Naming the file of the checkpoint, the parameter of the robot, and what to do.
    """
    _check_chunk(model, embodiment, folder)
    _check_cameras(model, embodiment, folder)
    key = _check_statistics(model, embodiment, folder)
    return tuple(_check_proprio(model, embodiment, folder, key))


def _check_chunk(model: DreamVLAForActionPrediction, embodiment: Embodiment, folder: Path) -> None:
    wanted, trained = embodiment.action.chunk_size, model.config.chunk_size
    if trained is not None and trained != wanted:
        raise PolicyError(
            f"{folder / 'config.json'}: chunk_size is {trained}, but parameter 'action.chunk_size' is "
            f"{wanted}; set it to {trained}"
        )
    if model.action_dim != ACTION_SIZE:
        raise PolicyError(
            f"{folder}: the checkpoint predicts {model.action_dim} numbers per action; a Cartesian arm with "
            f"a gripper takes {ACTION_SIZE}"
        )


def _check_cameras(model: DreamVLAForActionPrediction, embodiment: Embodiment, folder: Path) -> None:
    trained, names = model.config.raw.get("num_images"), [camera.name for camera in embodiment.cameras]
    if trained is not None and trained != len(names):
        raise PolicyError(
            f"{folder / 'config.json'}: num_images is {trained}, but parameter 'cameras.names' lists "
            f"{len(names)}: {', '.join(names)}"
        )


def _check_statistics(model: DreamVLAForActionPrediction, embodiment: Embodiment, folder: Path) -> str:
    """Return the key of the statistics to use."""
    known = model.statistics.keys
    key = embodiment.action.unnorm_key
    if not known:
        raise PolicyError(
            f"{folder / 'dataset_statistics.json'} is missing or empty: actions have no units without it; "
            f"copy it from the training run"
        )
    listed = ", ".join(known)
    if not key and len(known) > 1:
        raise PolicyError(
            f"parameter 'action.unnorm_key' is empty, but {model.statistics.source} has {listed}"
        )
    if key and key not in known:
        raise PolicyError(
            f"parameter 'action.unnorm_key' is '{key}', but {model.statistics.source} has only {listed}"
        )
    key = key or known[0]
    dimension = model.statistics.action[key].dim
    if dimension != ACTION_SIZE:
        raise PolicyError(
            f"{model.statistics.source}: '{key}' has {dimension} action numbers, the robot takes "
            f"{ACTION_SIZE}; choose another with parameter 'action.unnorm_key'"
        )
    return key


def _check_proprio(
    model: DreamVLAForActionPrediction, embodiment: Embodiment, folder: Path, key: str
) -> Iterator[str]:
    layout, projector = embodiment.proprio.layout, model.proprio_projector
    if layout is ProprioLayout.NONE:
        if projector is not None:
            yield (
                f"{folder} has a proprio projector, but parameter 'proprio.layout' is none: the model does "
                f"not see the arm's state"
            )
        return
    wanted = f"parameter 'proprio.layout' is {layout.value}, {layout.size} numbers"
    if projector is None:
        raise PolicyError(
            f"{wanted}, but {folder} has no proprio_projector--*_checkpoint.pt: it was trained without the "
            f"arm's state; set proprio.layout to none"
        )
    if projector.input_width != layout.size:
        raise PolicyError(
            f"{wanted}, but {folder}: proprio_projector--*_checkpoint.pt takes {projector.input_width}"
        )
    if key not in model.statistics.proprio:
        raise PolicyError(f"{wanted}, but {model.statistics.source}: '{key}' has no proprio statistics")
    known = model.statistics.proprio[key].dim
    if known != layout.size:
        raise PolicyError(f"{wanted}, but {model.statistics.source}: '{key}' has {known} of them")
