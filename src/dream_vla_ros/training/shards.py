"""Make the shards of a store that are missing, in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path

from dream_vla_ros.training.store import has_shard


def make_missing(
    store: str | Path,
    names: Sequence[str],
    make: Callable[[int], object],
    *,
    workers: int,
    progress: Callable[[int, int], object],
    begin: Callable[[], object] | None = None,
) -> None:
    """Make what is missing.

    :param names: Of all shards.
    :param make: Writes the shard of a place in ``names``; has to be picklable.
    :param workers: Processes to share the work.
    :param progress: Called with the shards there are and those there will be.
    :param begin: Called in each process before anything else; has to be picklable, and must not fail: a pool
        starts workers that do anew for ever.
    """
    missing = [at for at, name in enumerate(names) if not has_shard(store, name)]
    progress(len(names) - len(missing), len(names))
    if not missing:
        return
    # Fresh processes: a graphics context must not be inherited.
    with multiprocessing.get_context("spawn").Pool(min(workers, len(missing)), begin) as pool:
        for done, _ in enumerate(pool.imap_unordered(make, missing), start=len(names) - len(missing) + 1):
            progress(done, len(names))
