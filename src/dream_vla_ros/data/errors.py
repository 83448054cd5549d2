"""Errors of the data room, and the record of what a damaged file lost."""

from __future__ import annotations

from dataclasses import dataclass, field


class DataError(ValueError):
    """Input that cannot be used; the message names the file or topic and what to do about it."""


class BagError(DataError):
    """A bag that cannot be read at all."""


class BagWriteError(OSError):
    """A bag that can no longer be written: disk full, unwritable, or closed."""


class DatasetError(DataError):
    """A dataset that cannot be read or written."""


@dataclass(frozen=True)
class Damage:
    """One thing that was wrong with a file, and what it cost.

    :param file: Name of the file.
    :param offset: Byte in the file where it was seen; -1 where there is no such place.
    :param problem: What was wrong, in words.
    :param messages_lost: Messages known to be lost; -1 where their number cannot be known.
    """

    file: str
    offset: int
    problem: str
    messages_lost: int = 0

    def __str__(self) -> str:
        where = f" at byte {self.offset}" if self.offset >= 0 else ""
        lost = "an unknown number of" if self.messages_lost < 0 else str(self.messages_lost)
        cost = "" if self.messages_lost == 0 else f"; {lost} messages lost"
        return f"{self.file}{where}: {self.problem}{cost}"


@dataclass
class DamageLog:
    """Everything that was wrong with the files of one bag."""

    entries: list[Damage] = field(default_factory=list)

    def add(self, file: str, offset: int, problem: str, messages_lost: int = 0) -> None:
        """Note one more problem."""
        self.entries.append(Damage(file, offset, problem, messages_lost))

    def __bool__(self) -> bool:
        return bool(self.entries)

    @property
    def messages_lost(self) -> int:
        """Messages known to be lost; those whose number is unknown count as none."""
        return sum(max(0, entry.messages_lost) for entry in self.entries)
