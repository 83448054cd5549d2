"""Write a checkpoint of random weights for the simulated tabletop, to try the graph without a trained one."""

from __future__ import annotations

import argparse
from pathlib import Path

from dream_vla_ros.nodes.resources import (
    TABLETOP_LAYOUT,
    UNTRAINED_MARK,
    has_weights,
    is_untrained,
    share_folder,
    untrained_tabletop_folder,
)

OBJECTIVES = ("flow_matching", "l1_regression", "diffusion", "discrete", "discrete_diffusion")


def untrained_tabletop_checkpoint(parent: Path, objective: str, seed: int) -> Path:
    """Return a checkpoint of random weights in the tabletop's layout; it is written once.

    :param parent: Folder to write it into.
    :param objective: Objective whose heads it gets.
    :param seed: Of the weights.
    :raises FileNotFoundError: If the layout is not installed.
    """
    folder = untrained_tabletop_folder(parent, objective, seed)
    if has_weights(folder) and is_untrained(folder):
        return folder
    layout = share_folder() / "models" / TABLETOP_LAYOUT
    if not layout.is_dir():
        raise FileNotFoundError(f"{layout} is missing: install the package anew")
    from dream_vla_ros.model.initialize import initialize_checkpoint

    initialize_checkpoint(layout, folder, objective, seed)
    # Last, so that a folder whose writing was cut short is written anew.
    (folder / UNTRAINED_MARK).write_text(
        f"Random weights in the layout {TABLETOP_LAYOUT}, objective {objective}, seed {seed}. "
        "For trying the graph only; no task will succeed.\n"
    )
    return folder


def main(argv: list[str] | None = None) -> int:
    """Write it from the command line.

    :param argv: Arguments, ``sys.argv[1:]`` by default.
    :returns: The exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parent", type=Path, help="folder that the checkpoint's folder is written into")
    parser.add_argument("--objective", default=OBJECTIVES[0], choices=OBJECTIVES)
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    arguments = parser.parse_args(argv)
    print(untrained_tabletop_checkpoint(arguments.parent, arguments.objective, arguments.seed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
