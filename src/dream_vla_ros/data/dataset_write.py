"""Put staged episodes together as a LeRobot v3 dataset."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dream_vla_ros.data import dataset_layout as layout
from dream_vla_ros.data.bag_metadata import write_atomically
from dream_vla_ros.data.dataset_stage import ImageRules, ImageStorage, StagedEpisode, described
from dream_vla_ros.data.errors import DatasetError
from dream_vla_ros.data.frame_statistics import ColourCount, model_statistics, number_statistics
from dream_vla_ros.data.video import join
from dream_vla_ros.embodiment import Embodiment

_MB = 1 << 20


def assemble(
    staged: Sequence[tuple[Path, StagedEpisode]],
    embodiment: Embodiment,
    embodiment_text: str,
    rules: ImageRules,
    target: Path,
    *,
    key: str,
) -> None:
    """Write a dataset from staged episodes; the same episodes in the same order give the same bytes.

    :param staged: Folder and description of each, in the order they shall have.
    :param embodiment_text: Content of the robot's file, kept with the dataset.
    :param target: Folder of the dataset; ``meta/info.json`` is written last.
    :param key: Name of the statistics in ``dataset_statistics.json``.
    :raises DatasetError: If there are no episodes, or images of one camera differ in size.
    """
    if not staged:
        raise DatasetError(f"{target}: no episode is left to write")
    sizes = _sizes(staged)
    features = described(embodiment, sizes, rules)
    for folder in ("data", "videos", "meta"):
        shutil.rmtree(target / folder, ignore_errors=True)
    tasks = list(dict.fromkeys(one.instruction for _, one in staged))
    rows = [_row(number, one) for number, (_, one) in enumerate(staged)]
    numbers = _write_data(staged, features, tasks, target, rows)
    if rules.storage is ImageStorage.VIDEO:
        for name in sizes:
            _write_videos(staged, name, embodiment.action.period_s, target, rows)
    _write_tasks(tasks, target)
    _write_episodes(rows, target)
    statistics = {name: number_statistics(values) for name, values in numbers.items()}
    for name in sizes:
        total = ColourCount()
        for _, one in staged:
            total = total.merge(ColourCount(*one.colours[name]))
        statistics[layout.CAMERA_PREFIX + name] = total.statistics()
    _write_json(target / layout.STATISTICS, statistics)
    proprio = numbers[layout.STATE] if layout.proprio_names(embodiment) else np.zeros((len(rows), 0))
    published = model_statistics(key, numbers[layout.ACTION], proprio, len(staged))
    _write_json(target / layout.MODEL_STATISTICS, published)
    rate = embodiment.action.rate
    info = {
        "codebase_version": layout.VERSION,
        "robot_type": embodiment.robot,
        "total_episodes": len(staged),
        "total_frames": sum(one.length for _, one in staged),
        "total_tasks": len(tasks),
        "chunks_size": layout.FILES_PER_CHUNK,
        "data_files_size_in_mb": layout.DATA_FILE_MB,
        "video_files_size_in_mb": layout.VIDEO_FILE_MB,
        "fps": int(rate) if rate == int(rate) else rate,
        "splits": {"train": f"0:{len(staged)}"},
        "data_path": layout.DATA,
        "video_path": layout.VIDEO if rules.storage is ImageStorage.VIDEO else None,
        "features": features,
        "dream_vla": {
            "embodiment": embodiment_text,
            "image_size": rules.size,
            "image_jpeg": bool(rules.size) and rules.jpeg,
            "statistics": key,
        },
    }
    _write_json(target / layout.INFO, info)


def _sizes(staged: Sequence[tuple[Path, StagedEpisode]]) -> dict[str, tuple[int, int]]:
    first = staged[0][1]
    for _, one in staged:
        for name, size in one.images.items():
            if size != first.images[name]:
                raise DatasetError(
                    f"images of camera '{name}' have {size[1]} x {size[0]} pixels in {one.source}, but "
                    f"{first.images[name][1]} x {first.images[name][0]} in {first.source}: convert them "
                    "apart, or bring them to one size with --image-size"
                )
    return dict(first.images)


def _row(number: int, one: StagedEpisode) -> dict[str, Any]:
    row: dict[str, Any] = {
        "episode_index": number,
        "tasks": [one.instruction],
        "length": one.length,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
        "dream_vla/source": one.source,
        "dream_vla/part": one.part,
        "dream_vla/first_ns": one.first_ns,
        "dream_vla/success": one.success,
    }
    for feature, values in one.statistics.items():
        row.update({f"stats/{feature}/{name}": value for name, value in values.items()})
    return row


def _write_data(
    staged: Sequence[tuple[Path, StagedEpisode]],
    features: Mapping[str, Mapping[str, Any]],
    tasks: Sequence[str],
    target: Path,
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """Write the data files; returns all numbers by feature."""
    schema = layout.data_schema(features)
    numbers: dict[str, list[Any]] = {}
    writer, file, size, begins = None, -1, 0.0, 0
    try:
        for number, (folder, one) in enumerate(staged):
            source = folder / f"{one.stem}.parquet"
            table = pq.read_table(source)
            count = np.full(one.length, 0, dtype=np.int64)
            placed = {
                "episode_index": count + number,
                "index": count + begins + np.arange(one.length),
                "task_index": count + tasks.index(one.instruction),
            }
            columns = {name: placed[name] if name in placed else table[name] for name in schema.names}
            table = pa.table(columns, schema=schema)
            share = source.stat().st_size / _MB
            if writer is None or size + share > layout.DATA_FILE_MB:
                if writer is not None:
                    writer.close()
                file, size = file + 1, 0.0
                path = target / layout.DATA.format(**layout.place(file))
                path.parent.mkdir(parents=True, exist_ok=True)
                writer = pq.ParquetWriter(path, schema, compression="snappy", use_dictionary=True)
            writer.write_table(table)
            size += share
            rows[number] |= {f"data/{name}": value for name, value in layout.place(file).items()}
            rows[number] |= {"dataset_from_index": begins, "dataset_to_index": begins + one.length}
            begins += one.length
            for name in schema.names:
                if not pa.types.is_struct(schema.field(name).type):
                    numbers.setdefault(name, []).append(_numbers(table[name], one.length))
            for name, values in placed.items():
                rows[number].update(
                    {f"stats/{name}/{what}": one for what, one in number_statistics(values).items()}
                )
    finally:
        if writer is not None:
            writer.close()
    return {name: np.concatenate(parts) for name, parts in numbers.items()}


def _numbers(column: pa.ChunkedArray, length: int) -> Any:
    if pa.types.is_fixed_size_list(column.type):
        return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(length, -1)
    return column.to_numpy().reshape(length)


def _write_videos(
    staged: Sequence[tuple[Path, StagedEpisode]],
    camera: str,
    period_s: float,
    target: Path,
    rows: list[dict[str, Any]],
) -> None:
    """Join the episodes' videos up to the size that LeRobot's files have."""
    key = layout.CAMERA_PREFIX + camera
    groups: list[list[Path]] = []
    size, frames = 0.0, 0
    for number, (folder, one) in enumerate(staged):
        part = folder / f"{one.stem}-{camera}.mp4"
        share = part.stat().st_size / _MB
        if not groups or size + share > layout.VIDEO_FILE_MB:
            groups.append([])
            size, frames = 0.0, 0
        groups[-1].append(part)
        place = layout.place(len(groups) - 1)
        rows[number] |= {f"videos/{key}/{name}": value for name, value in place.items()}
        rows[number] |= {
            f"videos/{key}/from_timestamp": frames * period_s,
            f"videos/{key}/to_timestamp": (frames + one.length) * period_s,
        }
        size += share
        frames += one.length
    for number, parts in enumerate(groups):
        path = target / layout.VIDEO.format(video_key=key, **layout.place(number))
        path.parent.mkdir(parents=True, exist_ok=True)
        if len(parts) == 1:
            _link(parts[0], path)
        else:
            join(parts, path)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_tasks(tasks: Sequence[str], target: Path) -> None:
    """Write the tasks as pandas would: the instruction is the index."""
    column = {"pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    pandas = {
        "index_columns": ["__index_level_0__"],
        "column_indexes": [
            {
                "name": None,
                "field_name": None,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": {"encoding": "UTF-8"},
            }
        ],
        "columns": [
            {"name": "task_index", "field_name": "task_index", **column},
            {
                "name": None,
                "field_name": "__index_level_0__",
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": None,
            },
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    schema = pa.schema(
        [("task_index", pa.int64()), ("__index_level_0__", pa.string())], {"pandas": json.dumps(pandas)}
    )
    table = pa.table({"task_index": range(len(tasks)), "__index_level_0__": list(tasks)}, schema=schema)
    path = target / layout.TASKS
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _write_episodes(rows: Sequence[Mapping[str, Any]], target: Path) -> None:
    path = target / layout.EPISODES.format(**layout.place(0))
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({name: [row[name] for row in rows] for name in rows[0]})
    # Where nobody said whether any episode succeeded the column has no type of its own.
    success = table.column_names.index("dream_vla/success")
    table = table.set_column(success, "dream_vla/success", table["dream_vla/success"].cast(pa.bool_()))
    pq.write_table(table, path, compression="snappy")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
