"""The packages declare what they import, and install what a user launches."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ament_index_python.packages import get_package_prefix, get_package_share_directory

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "dream_vla_ros"

# Imported only for a robot, a distribution or a data format that needs them.
OPTIONAL = {
    "control_msgs",
    "franka_msgs",
    "interbotix_xs_msgs",
    "moveit_msgs",
    "rosbag2_py",
    "tensorflow",
    "tensorflow_datasets",
    "tf2_msgs",
}
# Import name -> rosdep key, where the two differ.
ROSDEP_KEYS = {
    "PIL": "python3-pil",
    "cv2": "python3-opencv",
    "huggingface_hub": "python3-huggingface-hub-pip",
    "matplotlib": "python3-matplotlib",
    "mujoco": "python3-mujoco-pip",
    "numpy": "python3-numpy",
    "scipy": "python3-scipy",
    "tf2_ros": "tf2_ros_py",
    "torch": "python3-pytorch-pip",
    "transformers": "python3-transformers-pip",
    "transforms3d": "python3-transforms3d",
    "yaml": "python3-yaml",
}
SCRIPTS = {
    "controller": "controller.node",
    "demo": "demo.main",
    "dream_vla": "cli.main",
    "expert": "policy.expert_node",
    "planner": "planner.node",
    "policy": "policy.node",
    "recorder": "recorder.node",
    "sim": "sim.node",
    "teleop": "teleop.node",
    "visualizer": "visualizer.node",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared_in(package_xml: Path) -> set[str]:
    tags = {"depend", "build_depend", "exec_depend", "test_depend"}
    return {element.text for element in ElementTree.parse(package_xml).getroot() if element.tag in tags}


def requirement_names(name: str) -> set[str]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return {normal(re.split(r"[<>=\[ ]", line)[0]) for line in lines if line and not line.startswith("#")}


def imports_of(paths: Iterable[Path]) -> dict[str, str]:
    """Map every third-party package that some files import to one of them that does."""
    found: dict[str, str] = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            else:
                continue
            for name in names:
                found.setdefault(name.split(".")[0], str(path.relative_to(ROOT)))
    own = {"dream_vla_ros", *sys.stdlib_module_names, *OPTIONAL}
    return {name: where for name, where in found.items() if name not in own}


def imported_packages() -> dict[str, str]:
    return imports_of([*PACKAGE.rglob("*.py"), *(ROOT / "launch").glob("*.py")])


def test_versions_and_licences_agree():
    for path in (ROOT / "package.xml", ROOT / "src/dream_vla_msgs/package.xml"):
        root = ElementTree.parse(path).getroot()
        assert root.findtext("version") == "0.1.0", path
        assert root.findtext("license") == "Apache-2.0", path
    output = subprocess.run(
        [sys.executable, "setup.py", "--version", "--license"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stdout.split()[-2:] == ["0.1.0", "Apache-2.0"]
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_every_import_is_declared():
    in_xml = declared_in(ROOT / "package.xml")
    in_pip = requirement_names("runtime.txt")
    distributions = packages_distributions()
    undeclared = {}
    for name, where in imported_packages().items():
        from_ros = name in in_xml or ROSDEP_KEYS.get(name) in in_xml
        from_pip = bool(in_pip & {normal(owner) for owner in distributions.get(name, [])})
        if not from_ros and not from_pip:
            undeclared[name] = where
    assert not undeclared, "declare these in package.xml or requirements/runtime.txt"


def test_every_import_without_a_wheel_distribution_comes_by_pip():
    """What has no rosdep key must stand in requirements/runtime.txt, or a virtual environment lacks it."""
    ros_packages = declared_in(ROOT / "package.xml")
    in_pip = requirement_names("runtime.txt")
    distributions = packages_distributions()
    for name, where in imported_packages().items():
        if name in ros_packages or name in {"tf2_ros", "cv_bridge", "tf_transformations"}:
            continue
        owners = {normal(owner) for owner in distributions.get(name, [])}
        assert in_pip & owners, f"{where} imports {name} of {owners}; add it to requirements/runtime.txt"


@pytest.mark.parametrize(
    "name",
    [
        "rclpy",
        "cv_bridge",
        "launch_ros",
        "tf_transformations",
        "control_msgs",
        "moveit_msgs",
        "rviz2",
        "visualization_msgs",
        "python3-numpy",
        "python3-opencv",
        "python3-yaml",
        "python3-pytorch-pip",
        "python3-transformers-pip",
        "dream_vla_msgs",
    ],
)
def test_package_xml_declares(name):
    assert name in declared_in(ROOT / "package.xml")


def test_what_only_tests_import_comes_by_pip():
    """What a test imports is in dev.txt, or the test fails or skips in a fresh clone."""
    folders = (ROOT / "test", ROOT / "benchmarks")
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    helpers = {path.stem for path in paths} | {path.parent.name for path in paths}
    in_pip = requirement_names("runtime.txt") | requirement_names("dev.txt")
    known = declared_in(ROOT / "package.xml") | {"dream_vla_msgs", "tf2_ros"} | helpers
    distributions = packages_distributions()
    missing = {
        name: where
        for name, where in imports_of(paths).items()
        if name not in known and not in_pip & {normal(owner) for owner in distributions.get(name, [])}
    }
    assert not missing, "add these to requirements/dev.txt"


def test_message_packages_in_use_are_declared_by_the_message_package():
    declared = declared_in(ROOT / "src/dream_vla_msgs/package.xml")
    used = set()
    for path in (ROOT / "src/dream_vla_msgs").rglob("*"):
        if path.suffix in {".msg", ".srv", ".action"}:
            used |= set(re.findall(r"^([a-z_0-9]+)/\w+", path.read_text(), re.MULTILINE))
    used -= {"dream_vla_msgs"}
    assert used
    assert used <= declared


@pytest.mark.parametrize("script", SCRIPTS)
def test_console_script_runs_what_it_names(script):
    module = importlib.import_module(f"dream_vla_ros.nodes.{SCRIPTS[script]}")
    assert callable(module.main)


def check_installed(prefix: Path, share: Path) -> None:
    for script in SCRIPTS:
        path = prefix / "lib" / "dream_vla_ros" / script
        assert path.read_text().splitlines()[0] == "#!/usr/bin/env python3", path
        assert os.access(path, os.X_OK), path
    for folder in ("launch", "config", "models"):
        expected = {
            path.relative_to(ROOT)
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert expected, f"{folder} holds nothing to install"
        for path in expected:
            assert (share / path).is_file(), f"run 'make setup' to install {path}"
            assert (share / path).is_file(), f"{path} is not installed; run 'make setup'"
            assert (share / path).read_bytes() == (ROOT / path).read_bytes(), path
    assert (share / "package.xml").is_file()


def test_workspace_has_everything_installed():
    prefix = Path(get_package_prefix("dream_vla_ros"))
    check_installed(prefix, Path(get_package_share_directory("dream_vla_ros")))


@pytest.mark.slow
def test_plain_build_installs_everything(tmp_path):
    """Copy the sources and build without links, as in a parent workspace."""
    clone = tmp_path / "ws" / "src" / "dream_vla_ros"
    clone.mkdir(parents=True)
    for name in ("launch", "config", "models", "resource", "requirements"):
        shutil.copytree(ROOT / name, clone / name)
    shutil.copytree(PACKAGE, clone / "src" / "dream_vla_ros", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "setup.cfg", "package.xml", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, clone / name)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-m", "colcon", "build", "--packages-select", "dream_vla_ros"],
        cwd=tmp_path / "ws",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    prefix = tmp_path / "ws" / "install" / "dream_vla_ros"
    check_installed(prefix, prefix / "share" / "dream_vla_ros")
    installed = next(prefix.glob("lib/python3*/site-packages/dream_vla_ros"))
    expected = {
        path.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert Path("py.typed") in expected
    assert {path for path in expected if not (installed / path).is_file()} == set()
