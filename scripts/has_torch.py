"""Tell by the exit status whether the installed PyTorch meets the requirement and pip can leave it."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement


def main(argv: list[str]) -> int:
    """Compare the installed release with the requirement.

    :param argv: path of a requirements file with a ``torch`` line.
    :returns: 0 if the installed release meets it, 1 if not.
    """
    lines = Path(argv[0]).read_text(encoding="utf-8").splitlines()
    requirement = next(Requirement(line) for line in lines if line.startswith("torch>"))
    try:
        return 0 if requirement.specifier.contains(version("torch"), prereleases=True) else 1
    except PackageNotFoundError:
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
