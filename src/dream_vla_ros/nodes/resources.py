"""Where the package's configurations and models lie, and which checkpoint stands for a trained one."""

from __future__ import annotations

from pathlib import Path

PACKAGE = "dream_vla_ros"
# Written into a checkpoint of random weights, so that nobody takes it for a trained one.
UNTRAINED_MARK = "UNTRAINED"
TABLETOP = "tabletop"
TABLETOP_LAYOUT = "tabletop_tiny"
# A checkpoint without weights is only a layout.
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt")


def share_folder() -> Path:
    """Return the folder that holds ``config``, ``launch`` and ``models``.

    The clone where the code runs from one, else what was installed.

    :raises FileNotFoundError: If there is neither.
    """
    clone = Path(__file__).resolve().parents[3]
    if (clone / "package.xml").is_file() and (clone / "config").is_dir():
        return clone
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        return Path(get_package_share_directory(PACKAGE))
    except PackageNotFoundError as error:
        raise FileNotFoundError(
            f"package '{PACKAGE}' is not installed: build it with colcon and source install/setup.bash"
        ) from error


def robot_config(robot: str) -> Path:
    """Return a robot's parameter file.

    :param robot: Name of a file in ``config`` without its ending, or a path.
    :raises FileNotFoundError: Naming the robots there are.
    """
    folder = share_folder() / "config"
    for path in (Path(robot), folder / f"{robot}.yaml"):
        if path.is_file():
            return path.resolve()
    known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
    raise FileNotFoundError(f"no robot '{robot}': give the path of a parameter file, or one of {known}")


def trained_tabletop_checkpoint() -> Path | None:
    """Return the checkpoint trained for the simulated tabletop; None where none is installed."""
    folder = share_folder() / "models" / TABLETOP
    return folder if has_weights(folder) else None


def has_weights(folder: Path) -> bool:
    """Tell whether a folder is a checkpoint with weights."""
    found = any(any(folder.glob(pattern)) for pattern in _WEIGHTS)
    return found and (folder / "config.json").is_file()


def is_untrained(folder: Path) -> bool:
    """Tell whether a checkpoint is marked as random weights."""
    return (folder / UNTRAINED_MARK).is_file()


def untrained_tabletop_folder(parent: Path, objective: str, seed: int) -> Path:
    """Return where :mod:`dream_vla_ros.nodes.policy.untrained` writes random weights.

    :param parent: Folder that holds such checkpoints.
    :param objective: Objective whose heads it has.
    :param seed: Of the weights.
    """
    return parent / f"{TABLETOP_LAYOUT}_untrained_{objective}_{seed}"
