"""Make a whole bag of one that was cut off or damaged.

Everything that can be read is copied, untouched, into a new bag with index and metadata; what was lost is
listed. The old bag is left as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dream_vla_ros.data.bag_writer import BagStorage
from dream_vla_ros.data.cli_common import EXIT_ERROR, EXIT_OK
from dream_vla_ros.data.errors import BagWriteError, DataError
from dream_vla_ros.data.recover import recover


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bag", type=Path, help="folder of the bag, or a storage file")
    parser.add_argument("--out", type=Path, help="folder of the new bag (default: BAG_recovered)")
    parser.add_argument(
        "--storage", choices=[one.value for one in BagStorage], help="of the new bag (default: as before)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Recover; what was kept and lost is listed on standard output."""
    source = arguments.bag
    target = arguments.out or source.with_name(f"{source.name.split('.')[0]}_recovered")
    storage = BagStorage(arguments.storage) if arguments.storage else None
    try:
        done = recover(source, target, storage=storage)
    except (DataError, BagWriteError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    for damage in done.damage:
        print(f"damage: {damage}")
    for topic, count in done.kept.items():
        print(f"kept: {topic}: {count} messages")
    print(f"{done.target}: {sum(done.kept.values())} messages")
    return EXIT_OK
