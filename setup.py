"""Describe the dream_vla_ros package to setuptools and colcon."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.develop import develop

NAME = "dream_vla_ros"
# colcon runs a link to this file in its build folder.
ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "src" / NAME
SHEBANG = "#!/usr/bin/env python3\n"


class Develop(develop):
    """Let the scripts of ``colcon build --symlink-install`` follow the active virtual environment."""

    def write_script(self, script_name: str, contents: str, *arguments: object) -> None:
        """Replace the interpreter that ran the build; setup.cfg does so for a plain build.

        :param script_name: name of the console script.
        :param contents: its text, whose first line names the interpreter.
        :param arguments: what else setuptools passes.
        """
        _, _, body = contents.partition("\n")
        super().write_script(script_name, SHEBANG + body, *arguments)


def requirements() -> list[str]:
    """Read what the package imports.

    :returns: requirement specifiers.
    """
    lines = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def files(folders: Iterable[str]) -> list[Path]:
    """List the files below some folders of the repository.

    :param folders: names of folders, which may be missing.
    :returns: paths relative to the repository, without Python's caches.
    """
    paths = (path for folder in folders for path in sorted((ROOT / folder).rglob("*")))
    return [path.relative_to(ROOT) for path in paths if path.is_file() and "__pycache__" not in path.parts]


def share_files() -> list[tuple[str, list[str]]]:
    """Collect what is installed below ``share/dream_vla_ros``.

    :returns: pairs of target folder and source files, as setuptools' ``data_files`` wants them.
    """
    folders: dict[str, list[str]] = {
        "share/ament_index/resource_index/packages": [f"resource/{NAME}"],
        f"share/{NAME}": ["package.xml"],
    }
    for path in files(("launch", "config", "models")):
        folders.setdefault(f"share/{NAME}/{path.parent.as_posix()}", []).append(path.as_posix())
    return list(folders.items())


def package_files() -> list[str]:
    """List what the package holds besides Python, such as ``py.typed`` and simulation assets.

    :returns: paths relative to the package.
    """
    paths = (ROOT / path for path in files([f"src/{NAME}"]))
    return [path.relative_to(PACKAGE).as_posix() for path in paths if path.suffix != ".py"]


setup(
    name=NAME,
    version="0.1.0",
    description="Dream-VLA, a vision-language-action model, on a real arm or in simulation over ROS 2",
    license="Apache-2.0",
    maintainer="dream_vla_ros maintainers",
    maintainer_email="maintainers@dream-vla-ros.example",
    package_dir={"": "src"},
    packages=find_packages("src", include=[NAME, f"{NAME}.*"]),
    package_data={NAME: package_files()},
    data_files=share_files(),
    python_requires=">=3.10",
    install_requires=requirements(),
    extras_require={
        # Training draws its curves there where it is installed.
        "tensorboard": ["tensorboard>=2.18"],
        # Conversion of RLDS sets, as those of Open X-Embodiment are.
        "rlds": ["tensorflow-datasets>=4.9", "tensorflow-cpu>=2.16"],
    },
    zip_safe=False,
    cmdclass={"develop": Develop},
    entry_points={
        "console_scripts": [
            f"sim = {NAME}.nodes.sim.node:main",
            f"policy = {NAME}.nodes.policy.node:main",
            f"controller = {NAME}.nodes.controller.node:main",
            f"expert = {NAME}.nodes.policy.expert_node:main",
            f"planner = {NAME}.nodes.planner.node:main",
            f"visualizer = {NAME}.nodes.visualizer.node:main",
            f"teleop = {NAME}.nodes.teleop.node:main",
            f"recorder = {NAME}.nodes.recorder.node:main",
            f"dream_vla = {NAME}.nodes.cli.main:main",
            f"demo = {NAME}.nodes.demo.main:main",
        ]
    },
)
