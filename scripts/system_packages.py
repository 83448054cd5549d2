"""Check for the system libraries that pip cannot bring, and install them or name their packages.

Run by ``make setup`` with the interpreter that the environment is made from, so standard library only.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Requirement:
    """One thing that must be on the machine.

    :param what: the missing thing in words.
    :param package: its Debian or Ubuntu package.
    :param present: tells whether it is there.
    """

    what: str
    package: str
    present: Callable[[], bool]


def _command(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


def _library(name: str) -> Callable[[], bool]:
    def loads() -> bool:
        try:
            ctypes.CDLL(name)
        except OSError:
            return False
        return True

    return loads


def _module(name: str) -> Callable[[], bool]:
    def imports() -> bool:
        command = [sys.executable, "-c", f"import {name}"]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0

    return imports


def _python_headers() -> bool:
    return Path(sysconfig.get_paths()["include"], "Python.h").is_file()


def _egl_vendor() -> bool:
    folders = ("/usr/share/glvnd/egl_vendor.d", "/etc/glvnd/egl_vendor.d", "/opt/glvnd/egl_vendor.d")
    return any(next(Path(folder).glob("*.json"), None) for folder in folders)


def _software_renderer() -> bool:
    if any("nvidia" in path.name for path in Path("/usr/share/glvnd/egl_vendor.d").glob("*.json")):
        return True
    roots = (Path("/usr/lib"), Path("/usr/lib64"), *Path("/usr/lib").glob("*-linux-gnu"))
    patterns = ("dri/swrast_dri.so", "dri/libdril_dri.so", "libgallium-*.so")
    return any(next(root.glob(pattern), None) for root in roots for pattern in patterns)


def requirements() -> list[Requirement]:
    """List what the project needs from the system.

    :returns: requirements with their package names.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return [
        Requirement("a C compiler (cc)", "gcc", _command("cc")),
        Requirement("a C++ compiler (c++)", "g++", _command("c++")),
        Requirement("CMake", "cmake", _command("cmake")),
        Requirement("make", "make", _command("make")),
        Requirement(f"the C headers of {sys.executable}", f"{version}-dev", _python_headers),
        Requirement(f"the venv module of {sys.executable}", f"{version}-venv", _module("ensurepip, venv")),
        Requirement("EGL, to render without a screen (libEGL.so.1)", "libegl1", _library("libEGL.so.1")),
        Requirement("an EGL vendor library", "libegl-mesa0", _egl_vendor),
        Requirement("Mesa's renderer", "libgl1-mesa-dri", _software_renderer),
        Requirement("OpenGL (libOpenGL.so.0)", "libopengl0", _library("libOpenGL.so.0")),
    ]


def missing() -> list[Requirement]:
    """List what is not there.

    :returns: the unmet requirements.
    """
    return [requirement for requirement in requirements() if not requirement.present()]


def install(packages: list[str]) -> bool:
    """Install Debian packages, as root.

    :param packages: package names.
    :returns: whether apt-get succeeded.
    """
    print("installing system packages: " + " ".join(packages), flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    environment.pop("LD_LIBRARY_PATH", None)
    commands = (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    )
    for command in commands:
        result = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
        if result.returncode:
            print(f"error: {' '.join(command[:2])} failed", file=sys.stderr)
            return False
    return True


def main() -> int:
    """Check, install where allowed, and report.

    :returns: the exit status.
    """
    absent = missing()
    if absent and os.geteuid() == 0 and shutil.which("apt-get"):
        install(sorted({requirement.package for requirement in absent}))
        absent = missing()
    for requirement in absent:
        print(
            f"error: {requirement.what} is missing; Debian/Ubuntu package: {requirement.package}",
            file=sys.stderr,
        )
    if absent:
        packages = " ".join(sorted({requirement.package for requirement in absent}))
        print(f"error: run: sudo apt-get install {packages}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
