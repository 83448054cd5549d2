from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dream_vla_ros import planning
from dream_vla_ros.planning.errors import DomainError
from dream_vla_ros.planning.library import load_domain, own_folder


@pytest.mark.parametrize("name", ["tabletop", "blocksworld", "household", "igibson", " TableTop "])
def test_shipped_domains_are_found_by_name_and_alias(name: str):
    assert name.strip().lower() in load_domain(name).names


def test_a_domain_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(DomainError, match="no planning domain 'kitchen'.*blocksworld, household, tabletop"):
        load_domain("kitchen")


@pytest.mark.parametrize("name", ["", "/", "../tabletop", "../config/planning/tabletop"])
def test_a_name_is_no_path(name: str):
    with pytest.raises(DomainError, match="no planning domain"):
        load_domain(name)


def own_domain(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    text = (own_folder() / "tabletop.pddl").read_text().replace("(domain tabletop)", f"(domain {name})")
    (folder / f"{name}.pddl").write_text(text)
    words = (own_folder() / "tabletop.yaml").read_text().replace("pddl: tabletop.pddl", f"pddl: {name}.pddl")
    (folder / f"{name}.yaml").write_text(words)


def test_users_add_their_own(tmp_path: Path):
    own_domain(tmp_path, "bench")
    assert load_domain("bench", [tmp_path]).name == "bench"
    assert load_domain(str(tmp_path / "bench.yaml")).name == "bench"
    assert load_domain("household", [tmp_path]).name == "household"


def test_the_documented_example_is_a_domain(tmp_path: Path):
    text = (Path(__file__).parents[2] / "docs" / "planning.md").read_text()
    (tmp_path / "kitchen.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    (tmp_path / "kitchen.pddl").write_text(
        "(define (domain kitchen) (:types item) (:predicates (on ?upper ?lower - item) (heavy ?item - item))"
        "(:action put-on :parameters (?item ?support - item) :precondition (not (heavy ?item))"
        ":effect (on ?item ?support)))"
    )
    # The slip names a predicate that says what is beside what.
    words = (tmp_path / "kitchen.yaml").read_text()
    (tmp_path / "kitchen.yaml").write_text(words.replace("neighbours: beside", "neighbours: on"))
    domain = load_domain("galley", [tmp_path])
    assert domain.asked_predicates() == ("on",)
    assert domain.words.objects["cup"].description == "white cup"


def test_the_users_come_first(tmp_path: Path):
    own_domain(tmp_path, "tabletop")
    (tmp_path / "tabletop.yaml").write_text(
        (tmp_path / "tabletop.yaml").read_text().replace("pick up the {block}", "lift the {block}")
    )
    assert load_domain("tabletop", [tmp_path]).words.actions["pick-up"].instruction == "lift the {block}"


def test_a_broken_file_of_another_domain_does_no_harm(tmp_path: Path):
    (tmp_path / "broken.yaml").write_text("[")
    assert load_domain("igibson", [tmp_path]).name == "household"
    with pytest.raises(DomainError, match=r"broken\.yaml"):
        load_domain("broken", [tmp_path])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(DomainError, match="nowhere"):
        load_domain("kitchen", [tmp_path / "nowhere"])


def test_an_installed_package_finds_its_share_folder(tmp_path: Path):
    site = tmp_path / "lib" / "python3" / "site-packages"
    source = Path(planning.__file__).parent
    shutil.copytree(source, site / "dream_vla_ros" / "planning", ignore=shutil.ignore_patterns("__pycache__"))
    (site / "dream_vla_ros" / "__init__.py").touch()
    share = tmp_path / "share" / "dream_vla_ros" / "config" / "planning"
    shutil.copytree(own_folder(), share)
    script = "from dream_vla_ros.planning.library import *; print(own_folder(), load_domain('tabletop').name)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(site), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(share), "tabletop"]
