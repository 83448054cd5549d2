"""scripts/system_packages.py names what is missing, and installs it as root."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load():
    spec = importlib.util.spec_from_file_location("system_packages", ROOT / "scripts" / "system_packages.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SYSTEM = load()


class Machine:
    """A machine that lacks some packages, on which apt-get may work."""

    def __init__(self, absent: set[str], *, root: bool, apt: bool, installs: bool = True) -> None:
        self.absent = absent
        self.root = root
        self.apt = apt
        self.installs = installs
        self.installed: list[str] = []

    def requirements(self):
        names = ("g++", "libegl1")
        return [
            SYSTEM.Requirement(f"the {name}", name, lambda name=name: name not in self.absent)
            for name in names
        ]

    def install(self, packages):
        self.installed += packages
        if self.installs:
            self.absent -= set(packages)
        return self.installs

    def run(self, monkeypatch) -> int:
        monkeypatch.setattr(SYSTEM, "requirements", self.requirements)
        monkeypatch.setattr(SYSTEM, "install", self.install)
        monkeypatch.setattr(SYSTEM.os, "geteuid", lambda: 0 if self.root else 1000)
        monkeypatch.setattr(SYSTEM.shutil, "which", lambda _: "/usr/bin/apt-get" if self.apt else None)
        return SYSTEM.main()


def test_nothing_missing_installs_nothing(monkeypatch):
    machine = Machine(set(), root=True, apt=True)
    assert machine.run(monkeypatch) == 0
    assert machine.installed == []


def test_root_on_debian_installs_only_what_is_missing(monkeypatch):
    machine = Machine({"libegl1"}, root=True, apt=True)
    assert machine.run(monkeypatch) == 0
    assert machine.installed == ["libegl1"]


@pytest.mark.parametrize(("root", "apt"), [(False, True), (True, False)])
def test_others_are_told_the_package(monkeypatch, capsys, root, apt):
    machine = Machine({"libegl1"}, root=root, apt=apt)
    assert machine.run(monkeypatch) == 1
    assert machine.installed == []
    error = capsys.readouterr().err
    assert "the libegl1 is missing" in error
    assert "apt-get install libegl1" in error
    assert "g++" not in error


def test_failed_install_is_an_error(monkeypatch, capsys):
    machine = Machine({"g++"}, root=True, apt=True, installs=False)
    assert machine.run(monkeypatch) == 1
    assert "g++" in capsys.readouterr().err


def test_this_machine_has_everything():
    assert [requirement.package for requirement in SYSTEM.missing()] == []
