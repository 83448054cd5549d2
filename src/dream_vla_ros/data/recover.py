"""Make a whole bag of one that was cut off or damaged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.bag_metadata import BagMetadata
from dream_vla_ros.data.bag_writer import BagStorage, BagWriter, WriterLimits
from dream_vla_ros.data.episode_metadata import EpisodeMetadata, RecordingState
from dream_vla_ros.data.errors import BagError, Damage


@dataclass(frozen=True)
class Recovery:
    """What ``recover`` did.

    :param kept: Messages in the new bag, by topic.
    :param damage: What was wrong, and what it cost.
    """

    source: Path
    target: Path
    kept: dict[str, int]
    damage: tuple[Damage, ...]


def recover(source: str | Path, target: str | Path, *, storage: BagStorage | None = None) -> Recovery:
    """Write everything that can be read of a bag into a new, indexed one; the source is left as it is.

    Messages are copied as they are, without decoding. The new bag's metadata says that it was recovered, so
    that conversion leaves it out unless told otherwise.

    :param target: Folder to create; must not exist.
    :param storage: The source's by default.
    :raises BagError: If nothing can be read.
    :raises BagWriteError: If the target cannot be written.
    """
    with Bag(source) as bag:
        known = EpisodeMetadata.from_custom_data(bag.metadata.custom if bag.metadata else {})
        metadata = known or EpisodeMetadata(notes=f"recovered from {bag.name}")
        total = sum(len(index) for index in bag.topics.values())
        if total == 0:
            raise BagError(f"{source}: no message is left in it")
        kind = storage or _storage_of(bag)
        writer = BagWriter(target, metadata, storage=kind, limits=WriterLimits(flush_bytes=1 << 20))
        try:
            for index in bag.topics.values():
                writer.add_topic(index.topic)
            for name, number, data in bag.read_all():
                writer.write(name, data, int(bag.topics[name].log_ns[number]), wait=True)
            status = writer.close(success=metadata.success, notes=metadata.notes)
        except BaseException:
            writer.discard()
            raise
        _mark(Path(target), bag.finished)
        return Recovery(Path(source), Path(target), dict(status.written), tuple(bag.damage.entries))


def _storage_of(bag: Bag) -> BagStorage:
    named = bag.metadata.storage if bag.metadata else ""
    sqlite = named == BagStorage.SQLITE.value or bag.path.name.endswith(".db3")
    return BagStorage.SQLITE if sqlite else BagStorage.MCAP


def _mark(folder: Path, was_finished: bool) -> None:
    """Set the state of the new bag; one that was whole stays what it was."""
    bag = BagMetadata.read(folder)
    known = EpisodeMetadata.from_custom_data(bag.custom)
    if known is not None and not was_finished:
        custom = replace(known, state=RecordingState.RECOVERED).to_custom_data()
        replace(bag, custom=custom).write(folder)
