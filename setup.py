"""Describe the dream_vla_ros package to setuptools and colcon."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

NAME = "dream_vla_ros"


def share_files() -> list[tuple[str, list[str]]]:
    """Collect what is installed below ``share/dream_vla_ros``.

    :returns: pairs of target folder and source files, as setuptools' ``data_files`` wants them.
    """
    folders: dict[str, list[str]] = {
        "share/ament_index/resource_index/packages": [f"resource/{NAME}"],
        f"share/{NAME}": ["package.xml"],
    }
    for path in sorted([*Path("launch").glob("*.py"), *Path("config").rglob("*"), *Path("models").rglob("*")]):
        if path.is_file():
            folders.setdefault(f"share/{NAME}/{path.parent.as_posix()}", []).append(path.as_posix())
    return list(folders.items())


setup(
    name=NAME,
    version="0.1.0",
    description="Dream-VLA on a real arm: policy, controller, simulation and tools",
    license="Apache-2.0",
    maintainer="dream_vla_ros maintainers",
    maintainer_email="maintainers@dream-vla-ros.example",
    package_dir={"": "src"},
    packages=find_packages("src", include=[NAME, f"{NAME}.*"]),
    data_files=share_files(),
    python_requires=">=3.10",
    zip_safe=False,
    entry_points={
        "console_scripts": [
            f"sim = {NAME}.nodes.sim_node:main",
            f"policy = {NAME}.nodes.policy_node:main",
            f"controller = {NAME}.nodes.controller_node:main",
            f"expert = {NAME}.nodes.expert_node:main",
            f"dream_vla = {NAME}.nodes.cli:main",
            f"demo = {NAME}.nodes.demo:main",
        ]
    },
)
