"""Where domains are found: the ones this package brings, and folders of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .domain import Domain
from .errors import DomainError

_SHARE = Path("share") / "dream_vla_ros" / "config" / "planning"
_SOURCE = Path("config") / "planning"


def own_folder() -> Path:
    """Return the folder of the domains this package brings.

    It lies in the source tree, or, where the package is installed, in the share folder above it.

    :raises DomainError: If there is none.
    """
    here = Path(__file__).resolve()
    for parent in here.parents:
        for folder in (parent / _SHARE, parent / _SOURCE):
            if (folder / "tabletop.yaml").is_file():
                return folder
    raise DomainError(f"no {_SOURCE} in the source tree or {_SHARE} in the install that {here} belongs to")


def load_domain(name: str, folders: Sequence[str | Path] = ()) -> Domain:
    """Find a domain.

    :param name: A domain's name or alias, or the path of its YAML file.
    :param folders: Searched first, in order, then :func:`own_folder`.
    :raises DomainError: If there is none of that name, or its files are wrong.
    """
    if name.endswith((".yaml", ".yml")):
        return Domain.from_files(name)
    wanted = name.strip().lower()
    places = [*(Path(folder).expanduser() for folder in folders), own_folder()]
    for folder in places:
        if not folder.is_dir():
            raise DomainError(f"{folder}, where domains are looked for, is not a folder")
        if wanted and (folder / f"{wanted}.yaml").is_file() and "/" not in wanted:
            return Domain.from_files(folder / f"{wanted}.yaml")
    found: list[str] = []
    for path in (path for folder in places for path in sorted(folder.glob("*.yaml"))):
        try:
            domain = Domain.from_files(path)
        except DomainError:
            continue  # a broken file of another domain must not stand in the way of this one
        if wanted in domain.names:
            return domain
        found.append(domain.name)
    raise DomainError(
        f"no planning domain '{name}'; there are {', '.join(dict.fromkeys(found))} "
        f"in {', '.join(str(place) for place in places)}"
    )
