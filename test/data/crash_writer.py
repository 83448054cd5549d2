"""A recorder to be killed: writes numbered messages at a camera's rate until it dies.

Usage: crash_writer.py BAG STORAGE SEED. Each message's number is printed once the writer has taken it.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from dream_vla_ros.data.bag_writer import BagStorage, BagWriter
from dream_vla_ros.data.episode_metadata import EpisodeMetadata
from dream_vla_ros.data.storage import StoredTopic

_PERIOD_S = 0.004


def main() -> None:
    path, storage, seed = sys.argv[1], BagStorage(sys.argv[2]), int(sys.argv[3])
    random = np.random.default_rng(seed)
    writer = BagWriter(path, EpisodeMetadata(task="survive", robot="tabletop"), storage=storage)
    topics = {"/image": (20_000, 60_000), "/state": (100, 400)}
    for name in topics:
        writer.add_topic(StoredTopic(name, "std_msgs/msg/ByteMultiArray", definition="byte[] data\n"))
    number = 0
    while True:
        for name, (least, most) in topics.items():
            now = time.time_ns()
            size = int(random.integers(least, most))
            data = number.to_bytes(8, "little") + now.to_bytes(8, "little") + random.bytes(size)
            writer.write(name, b"\0\1\0\0" + data, now)
            print(number, now, flush=True)
            number += 1
        time.sleep(_PERIOD_S)


if __name__ == "__main__":
    main()
