"""What goes wrong between a robot and its policy: a clock that is set, and cameras that misbehave."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from dataclasses import dataclass

from ros_graph import BEST_EFFORT, Graph
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from dream_vla_ros.nodes.conversions import time_from_msg, time_to_msg

_CLOCK_PERIOD_S = 0.01
_CAMERAS = ("third_person", "wrist")


class TestClock:
    """Publishes ``/clock``: the machine's time and an offset that a test may set."""

    __test__ = False

    def __init__(self, graph: Graph) -> None:
        self.offset_s = 0.0
        self._publisher = graph.publisher(Clock, "/clock", BEST_EFFORT)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def now_ns(self) -> int:
        return time.time_ns() + round(self.offset_s * 1e9)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(_CLOCK_PERIOD_S):
            self._publisher.publish(Clock(clock=time_to_msg(self.now_ns())))


@dataclass
class Faults:
    """What is done to the images of every camera.

    :param frozen: The last image comes again and again.
    :param swapped: Of each two images the later comes first.
    :param ahead_s: Added to stamps.
    :param delay_s: Images come this much later.
    """

    frozen: bool = False
    swapped: bool = False
    ahead_s: float = 0.0
    delay_s: float = 0.0


class CameraRelay:
    """Passes images from ``<camera>/image_raw`` on to ``faulty/<camera>/image_raw``, with faults."""

    def __init__(self, graph: Graph) -> None:
        self.faults = Faults()
        self.passed = 0
        self._changed = threading.Condition()
        self._queue: list[tuple[float, int, str, Image]] = []
        self._order = itertools.count()
        self._last: dict[str, Image] = {}
        self._kept: dict[str, Image] = {}
        self._ending = False
        self._publishers = {}
        for camera in _CAMERAS:
            topic = f"{camera}/image_raw"
            self._publishers[camera] = graph.publisher(Image, f"faulty/{topic}", BEST_EFFORT)
            graph.node.create_subscription(Image, topic, self._receiver(camera), BEST_EFFORT)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @staticmethod
    def remappings() -> dict[str, str]:
        """Let a node look at the faulty images."""
        return {f"{camera}/image_raw": f"faulty/{camera}/image_raw" for camera in _CAMERAS}

    def close(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join()

    def _receiver(self, camera: str):
        return lambda image: self._receive(camera, image)

    def _receive(self, camera: str, image: Image) -> None:
        faults = self.faults
        if faults.frozen:
            image = self._last.get(camera, image)
        self._last[camera] = image
        if faults.ahead_s:
            image.header.stamp = time_to_msg(time_from_msg(image.header.stamp) + round(faults.ahead_s * 1e9))
        images = [image]
        if faults.swapped:
            earlier = self._kept.pop(camera, None)
            if earlier is None:
                self._kept[camera] = image
                return
            images = [image, earlier]
        with self._changed:
            for one in images:
                due = time.monotonic() + faults.delay_s
                heapq.heappush(self._queue, (due, next(self._order), camera, one))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._ending and not (self._queue and self._queue[0][0] <= time.monotonic()):
                    wait_s = self._queue[0][0] - time.monotonic() if self._queue else None
                    self._changed.wait(wait_s if wait_s is None else max(0.0, wait_s))
                if self._ending:
                    return
                _, _, camera, image = heapq.heappop(self._queue)
            self._publishers[camera].publish(image)
            self.passed += 1
