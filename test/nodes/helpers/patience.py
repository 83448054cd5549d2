"""Parameter files for busy machines: a message kept back must not pass for something that fell silent."""

from __future__ import annotations

import re
from pathlib import Path

_BUDGETS_S = {"state_max_age": 2.0, "policy_timeout": 3.0, "chunk_max_age": 4.0}


def patient(text: str) -> str:
    """Return a robot's parameter file with budgets that no test waits for."""
    for name, seconds in _BUDGETS_S.items():
        text, count = re.subn(rf"(?m)^( +{name}:) [0-9.]+$", rf"\1 {seconds}", text)
        assert count == 1, name
    return text


def write_patient(source: Path, folder: Path) -> Path:
    """Write a patient copy of a parameter file and return its path."""
    path = folder / source.name
    path.write_text(patient(source.read_text(encoding="utf-8")), encoding="utf-8")
    return path
