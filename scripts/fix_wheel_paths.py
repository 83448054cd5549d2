"""Point the CMake and ament files of ROS wheels at the environment that they are installed in.

The wheels were built in a container, and their CMake exports name that container's Python and NumPy headers
(``/opt/python/cp3XX-cp3XX/...``). Message packages built against them would not find the headers.
"""

from __future__ import annotations

import argparse
import re
import sys
import sysconfig
from pathlib import Path

_BAKED_PREFIX = re.compile(r"/opt/python/cp3\d+-cp3\d+t?")
# Any NumPy, not only the container's: its headers move when another major release is installed later.
_BAKED_NUMPY = re.compile(r"/[^\";]*/site-packages/numpy/_?core/include")
_BAKED_PYTHON = re.compile(_BAKED_PREFIX.pattern + r"/include/python3\.\d+")


def numpy_include() -> str:
    """Return the folder of NumPy's C headers.

    :returns: an absolute path.
    """
    import numpy

    return numpy.get_include()


def rewrite(text: str, *, python_include: str, numpy_headers: str, prefix: str) -> str:
    """Replace the paths of the build container.

    :param text: contents of a CMake or ament index file.
    :param python_include: folder of this interpreter's C headers.
    :param numpy_headers: folder of NumPy's C headers.
    :param prefix: root of the environment, which is the ament prefix.
    :returns: the text with every container path replaced.
    """
    text = _BAKED_NUMPY.sub(lambda _: numpy_headers, text)
    text = _BAKED_PYTHON.sub(lambda _: python_include, text)
    return _BAKED_PREFIX.sub(lambda _: prefix, text)


def fix_prefix(prefix: Path, *, python_include: str, numpy_headers: str) -> int:
    """Rewrite every affected file below ``share``.

    :param prefix: root of the environment.
    :param python_include: folder of this interpreter's C headers.
    :param numpy_headers: folder of NumPy's C headers.
    :returns: how many files were changed.
    """
    share = prefix / "share"
    candidates = [
        *share.glob("*/cmake/**/*.cmake"),
        *share.glob("ament_index/resource_index/parent_prefix_path/*"),
    ]
    changed = 0
    for path in candidates:
        if path.is_symlink() or not path.is_file():
            continue
        before = path.read_text(encoding="utf-8", errors="surrogateescape")
        after = rewrite(
            before, python_include=python_include, numpy_headers=numpy_headers, prefix=str(prefix)
        )
        if after != before:
            path.write_text(after, encoding="utf-8", errors="surrogateescape")
            changed += 1
    return changed


def main(argv: list[str] | None = None) -> int:
    """Run the rewrite for the environment of this interpreter.

    :param argv: command-line arguments, ``sys.argv[1:]`` by default.
    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prefix", type=Path, default=Path(sys.prefix), help="root of the environment")
    arguments = parser.parse_args(argv)
    python_include = sysconfig.get_paths()["include"]
    if not (Path(python_include) / "Python.h").is_file():
        print(
            f"error: {python_include}/Python.h is missing; install the Python headers "
            f"(Debian/Ubuntu: python3-dev or python{sys.version_info.major}.{sys.version_info.minor}-dev)",
            file=sys.stderr,
        )
        return 1
    changed = fix_prefix(arguments.prefix, python_include=python_include, numpy_headers=numpy_include())
    print(f"rewrote container paths in {changed} files below {arguments.prefix}/share")
    return 0


if __name__ == "__main__":
    sys.exit(main())
