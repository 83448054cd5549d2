"""Measure how fast bags become a dataset: two 640 x 480 cameras at 30 Hz, on every core.

Usage: conversion.py [--minutes 2] [--rate 5 15 30] [--images video exact]
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from rosbags.typesys import Stores, get_typestore

from dream_vla_ros.data.bag_episodes import BagRules
from dream_vla_ros.data.bag_writer import BagWriter
from dream_vla_ros.data.convert import Conversion, convert, find_sources
from dream_vla_ros.data.dataset_stage import ImageRules, ImageStorage
from dream_vla_ros.data.episode_metadata import EpisodeMetadata
from dream_vla_ros.data.idle import IdleRule, Trim
from dream_vla_ros.data.storage import StoredTopic

ROOT = Path(__file__).resolve().parents[1]
CAMERA_HZ, STATE_HZ = 30, 100
START_NS = 1_700_000_000 * 10**9
# A camera's picture of a still room has about this much noise, in levels of 255.
NOISE_LEVELS = 4.0


def main() -> int:
    """Record, convert, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rate", type=float, nargs="+", default=[5.0, 15.0, 30.0])
    parser.add_argument("--images", nargs="+", default=["video", "exact"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dream_vla_conversion_") as name:
        folder = Path(name)
        cores = os.cpu_count() or 1
        for number in range(cores):
            record(folder / "bags" / f"bag_{number}", arguments.minutes * 60.0 / cores)
        for rate in arguments.rate:
            for images in arguments.images:
                measure(folder, rate, ImageStorage(images), arguments.minutes * 60.0)
    return 0


def measure(folder: Path, rate: float, storage: ImageStorage, recorded_s: float) -> None:
    """Convert once and print how fast it was."""
    robot = folder / "robot.yaml"
    text = (ROOT / "config" / "tabletop.yaml").read_text(encoding="utf-8")
    robot.write_text(text.replace("rate: 5.0", f"rate: {rate}"), encoding="utf-8")
    target = folder / f"set_{rate:g}_{storage.value}"
    rules = BagRules(idle=IdleRule(Trim.NONE))
    before, began = processor_s(), time.monotonic()
    report = convert(Conversion(find_sources([folder / "bags"]), robot, target, rules, ImageRules(storage)))
    took, worked = time.monotonic() - began, processor_s() - before
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    cores = os.cpu_count() or 1
    print(
        f"{rate:4.0f} Hz, {storage.value:5}: {report.frames} frames in {took:.1f} s, "
        f"{recorded_s / took:.1f} x real time ({recorded_s / (worked / cores):.1f} x on {cores} idle cores), "
        f"{size / recorded_s * 60 / 1e6:.0f} MB a minute",
        flush=True,
    )


def record(path: Path, seconds: float) -> None:
    """Write a bag of JPEG images, poses, joints and gripper commands."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types

    def header(ns: int) -> object:
        stamp = types["builtin_interfaces/msg/Time"](ns // 10**9, ns % 10**9)
        return types["std_msgs/msg/Header"](stamp, "base_link")

    pictures = make_pictures()
    with BagWriter(path, EpisodeMetadata(task="move about")) as writer:

        def write(topic: str, kind: str, ns: int, message: object) -> None:
            definition = store.generate_msgdef(kind, ros_version=2)[0]
            writer.add_topic(StoredTopic(topic, kind, definition=definition))
            writer.write(topic, bytes(store.serialize_cdr(message, kind)), ns + 2_000_000, wait=True)

        for tick in range(round(seconds * STATE_HZ)):
            t = tick / STATE_HZ
            ns = START_NS + round(t * 1e9)
            point = types["geometry_msgs/msg/Point"](0.3 + 0.1 * np.sin(t), 0.1 * np.cos(t), 0.2)
            turn = types["geometry_msgs/msg/Quaternion"](0.0, 1.0, 0.0, 0.0)
            pose = types["geometry_msgs/msg/Pose"](point, turn)
            kind = "geometry_msgs/msg/PoseStamped"
            write("/ee_pose", kind, ns, types[kind](header(ns), pose))
            kind = "sensor_msgs/msg/JointState"
            none, fingers = np.zeros(0), np.full(2, 0.037 * (t % 4.0 < 2.0))
            names = ["left_finger", "right_finger"]
            write("/joint_states", kind, ns, types[kind](header(ns), names, fingers, none, none))
        kind = "sensor_msgs/msg/CompressedImage"
        for frame in range(round(seconds * CAMERA_HZ)):
            ns = START_NS + round(frame / CAMERA_HZ * 1e9)
            for number, camera in enumerate(("third_person", "wrist")):
                data = pictures[(frame + 50 * number) % len(pictures)]
                message = types[kind](header(ns), "jpeg", data)
                write(f"/{camera}/image_raw/compressed", kind, ns, message)
        writer.close(success=True)


def make_pictures() -> list[np.ndarray]:
    """Return JPEG images of a textured scene that passes by."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (30, 60, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (1600, 560), interpolation=cv2.INTER_CUBIC).astype(np.float64)
    pictures = []
    for shift in range(150):
        view = scene[shift // 2 : shift // 2 + 480, 4 * shift : 4 * shift + 640]
        noisy = np.clip(view + random.normal(0.0, NOISE_LEVELS, view.shape), 0, 255).astype(np.uint8)
        pictures.append(cv2.imencode(".jpg", noisy, (cv2.IMWRITE_JPEG_QUALITY, 85))[1])
    return pictures


def processor_s() -> float:
    """Return the processor time of this process and its finished children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    sys.exit(main())
