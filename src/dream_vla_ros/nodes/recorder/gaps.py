"""Messages that never came, by the numbers that their publisher gave the others."""

from __future__ import annotations

from collections.abc import Sequence


class Gaps:
    """Counts what one topic misses.

    The middleware tells of messages that got lost on the wire, but not of those that a full queue pushed out
    because nobody took them in time. Their numbers are missing in either case. Numbers say nothing where
    several publishers share a topic, since each has its own.
    """

    def __init__(self) -> None:
        self._publishers: tuple[bytes, ...] = ()
        self._newest = 0

    @property
    def countable(self) -> bool:
        """Whether the numbers tell what is missing."""
        return len(self._publishers) == 1 and self._newest > 0

    def offered_by(self, publishers: Sequence[bytes]) -> None:
        """Note who publishes now.

        :param publishers: Identities of all publishers of the topic.
        """
        known = tuple(sorted(publishers))
        if known != self._publishers:
            self._publishers, self._newest = known, 0

    def missed_before(self, number: int | None) -> int:
        """Return how many messages are missing between this one and the one before.

        :param number: What the publisher numbered this one with; None where the middleware does not tell.
        """
        if number is None or len(self._publishers) != 1:
            self._newest = 0
            return 0
        # Smaller than before: the publisher began anew and is not discovered as another one yet.
        missed = number - self._newest - 1 if 0 < self._newest < number else 0
        self._newest = number
        return missed
