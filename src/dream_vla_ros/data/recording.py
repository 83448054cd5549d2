"""A bag seen through one robot's description: its topics by role, on one clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.clock import LATEST_S, Stamps, check_common_clock, usable_stamps
from dream_vla_ros.data.errors import BagError
from dream_vla_ros.data.topics import IMAGE_TYPES, TopicNames
from dream_vla_ros.embodiment import Camera, Embodiment
from dream_vla_ros.geometry import Array

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CameraStream:
    """Where one camera's images are.

    :param numbers: (images,) numbers of the messages in the topic's index.
    :param stamps_ns: (images,) capture times, strictly increasing.
    """

    topic: str
    numbers: Int64
    stamps_ns: Int64


@dataclass(eq=False)
class Recording:
    """One bag and what is needed to read it as one robot's.

    :param clock_offsets_s: Topics to what is added to their stamps [s].
    :param notes: What was left out on the way, in words.
    """

    bag: Bag
    embodiment: Embodiment
    names: TopicNames = field(default_factory=TopicNames)
    clock_offsets_s: Mapping[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _stamps: dict[str, Stamps] = field(default_factory=dict)

    def find(self, name: str, types: Iterable[str], what: str) -> str:
        """Return the bag's name for a topic of the robot's file."""
        return self.names.find(self.bag, name, types, what)

    def maybe(self, name: str, types: Iterable[str], what: str) -> str | None:
        """Return the bag's name for a topic of the robot's file, None where it was not recorded."""
        return self.names.maybe(self.bag, name, types, what) if name else None

    def stamps(self, topic: str) -> Stamps:
        """Return the usable capture stamps of a topic.

        :raises ClockError: If they cannot be used.
        """
        if topic not in self._stamps:
            known = self.clock_offsets_s
            found = usable_stamps(self.bag.index(topic), known.get(topic, 0.0))
            self._stamps[topic] = found
            self.notes += found.notes
        return self._stamps[topic]

    def check_clocks(self) -> None:
        """Check that the topics read so far were stamped by clocks that agree.

        :raises ClockError: Naming the topic and how to correct it.
        """
        check_common_clock(list(self._stamps.values()), self.embodiment.timing.clock_tolerance)

    def camera(self, camera: Camera, spoiled: Collection[int] = ()) -> CameraStream:
        """Return a camera's stream.

        :param spoiled: Numbers of messages to leave out, their images being damaged.
        :raises BagError: If it was not recorded, or none is left.
        """
        topic = self.find(camera.topic, IMAGE_TYPES, f"camera '{camera.name}'")
        stamps = self.stamps(topic)
        fit = ~np.isin(stamps.numbers, list(spoiled))
        if not fit.all():
            self.notes.append(f"{topic}: {int(np.sum(~fit))} damaged images left out")
        if not fit.any():
            raise BagError(f"{self.bag.path}: {topic} holds no image that can be decoded")
        return CameraStream(topic, stamps.numbers[fit], stamps.stamps_ns[fit])

    def stamped(self, topic: str) -> Iterator[tuple[int, Any]]:
        """Decode a topic's messages in the order of their stamps.

        :returns: Stamp in ns, and message.
        """
        stamps = self.stamps(topic)
        by_number = dict(zip(stamps.numbers.tolist(), stamps.stamps_ns.tolist(), strict=True))
        messages = self.bag.messages(topic, stamps.numbers)
        found = [(by_number[number], message) for number, message in messages]
        return iter(sorted(found, key=lambda pair: pair[0]))

    def arrived(self, topic: str, get: Callable[[Any], float | None]) -> tuple[Int64, Array]:
        """Read one number from each message of a type without a header, by time of arrival.

        :param get: Takes the number from a message; None skips it.
        :returns: (n,) times in ns, strictly increasing, and (n,) numbers.
        """
        index = self.bag.index(topic)
        # In a playback recorded again arrival says nothing by itself; its distance to the stamps does.
        lags = [stream.lag_s for stream in self._stamps.values()]
        common = float(np.median(lags)) if lags else 0.0
        shift = round(common * 1e9) if abs(common) > LATEST_S else 0
        found: dict[int, float] = {}
        for number, message in self.bag.messages(topic):
            value = get(message)
            if value is not None and np.isfinite(value):
                found[int(index.log_ns[number]) - shift] = float(value)
        times = np.array(sorted(found), dtype=np.int64)
        return times, np.array([found[time] for time in times.tolist()])

    def only_message(self, topic: str) -> Any:
        """Return the newest message of a latched topic.

        :raises BagError: If it holds none that can be decoded.
        """
        messages = [message for _, message in self.bag.messages(topic)]
        if not messages:
            raise BagError(f"{self.bag.path}: {topic} holds no readable message")
        return messages[-1]
