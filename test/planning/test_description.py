from __future__ import annotations

from pathlib import Path

import pytest

from dream_vla_ros.planning.description import fill, placeholders
from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.errors import DomainError

PDDL = """(define (domain lights)
  (:types lamp room)
  (:predicates (on ?lamp - lamp) (inRoom ?lamp - lamp ?room - room))
  (:action switch :parameters (?lamp - lamp ?room - room)
    :precondition (inRoom ?lamp ?room) :effect (on ?lamp)))
"""
YAML = """\
pddl: lights.pddl
description: Lamps.
types:
  lamp: {description: "{name} lamp", present: "Is there a {object}?"}
objects:
  desk: {type: lamp}
predicates:
  on: {question: "Is the {lamp} on?", statement: "the {lamp} is on", negation: "the {lamp} is off"}
  inRoom: {question: "Is the {lamp} in the {room}?", statement: "the {lamp} is in the {room}", ask: never}
actions:
  switch: {instruction: "switch on the {lamp} in the {room}"}
"""


@pytest.fixture
def read(tmp_path: Path):
    def read(text: str) -> Domain:
        (tmp_path / "lights.pddl").write_text(PDDL)
        (tmp_path / "lights.yaml").write_text(text)
        return Domain.from_files(tmp_path / "lights.yaml")

    return read


def test_names_are_taken_as_they_are_written(read):
    domain = read(YAML)
    assert set(domain.words.predicates) == {"on", "inroom"}
    assert domain.words.predicates["on"].question == "Is the {lamp} on?"
    assert domain.asked_predicates() == ("on",)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("  switch: {instruction", "  swich: {instruction", "action 'swich'.*not in the PDDL.*switch"),
        (
            '  switch: {instruction: "switch on the {lamp} in the {room}"}',
            "",
            "action 'switch'.*not described",
        ),
        ('question: "Is the {lamp} on?", ', "", "predicate 'on'.*no question"),
        ("Is the {lamp} on?", "Is the {lump} on?", "predicate 'on'.*{lump}.*{lamp}"),
        ("Is the {lamp} on?", "Is the lamp on?", "predicate 'on'.*does not mention {lamp}"),
        ("Is the {lamp} on?", "Is the {lamp on?", "predicate 'on'.*question"),
        ("Is the {lamp} on?", "Is the {lamp.__class__} on?", "predicate 'on'.*not a name"),
        ("Is the {lamp} on?", "Is the {lamp!r} on?", "predicate 'on'.*name and nothing else"),
        ("Is the {lamp} on?", "Is the {} on?", "predicate 'on'.*not a name"),
        ("ask: never", "ask: sometimes", "predicate 'inroom'.*sometimes.*always, never"),
        ("negation:", "denial:", "predicate 'on'.*'denial'"),
        ("desk: {type: lamp}", "desk: {type: sofa}", "object 'desk'.*sofa.*lamp, room"),
        ("desk: {type: lamp}", "desk: lamp", "object 'desk'.*mapping"),
        ("  lamp: {desc", "  lump: {desc", "type 'lump'.*lamp"),
        ("description: Lamps.", "description: [Lamps]", "text, not a list"),
        ("description: Lamps.", "descriptoin: Lamps.", "unknown key 'descriptoin'"),
        ("description: Lamps.", "aliases: lamps", "aliases"),
        ("description: Lamps.", "plan_parameters: by_magic", "by_magic.*by_name, by_position"),
        ("description: Lamps.", "description: Lamps.\ndescription: More.", "'description' is given twice"),
        ("predicates:\n", "predicates: []\nthings:\n", "things"),
        ("pddl: lights.pddl", "pddl: lamps.pddl", "lamps.pddl cannot be read"),
        ("pddl: lights.pddl", "pddl: [a]", "name of a file"),
        ("pddl: lights.pddl", "- a\n- b", "not YAML"),
        (
            "pddl: lights.pddl",
            "pddl: !!python/object/apply:os.getcwd [x]",
            "could not determine a constructor",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_and_name(read, old: str, new: str, reason: str):
    assert old in YAML
    with pytest.raises(DomainError, match=reason) as error:
        read(YAML.replace(old, new))
    assert "lights.yaml" in str(error.value) or "lamps.pddl" in str(error.value)


def test_a_list_is_no_description(read):
    with pytest.raises(DomainError, match=r"lights\.yaml must be a mapping"):
        read("[1, 2]")


def test_an_alias_bomb_is_refused_quickly(read):
    bomb = "a: &a [x, x]\n" + "".join(
        f"a{n}: &a{n} [*a{n - 1 if n else ''}, *a{n - 1 if n else ''}]\n" for n in range(40)
    )
    with pytest.raises(DomainError):
        read(bomb + "description: *a39\n")


@pytest.mark.parametrize(
    ("slip", "reason"),
    [
        ("{parameter: lamp}", "keys parameter, neighbours, place"),
        ("{parameter: sofa, neighbours: inRoom, place: inRoom}", "'sofa'.*not one of its parameters"),
        ("{parameter: lamp, neighbours: on, place: inRoom}", "'on' is not a predicate of two objects"),
    ],
)
def test_a_slip_has_to_fit_the_domain(read, slip: str, reason: str):
    with pytest.raises(DomainError, match=reason):
        read(YAML.replace('in the {room}"}\n', f'in the {{room}}", slip: {slip}}}\n'))


def test_only_plain_names_are_filled_in():
    assert placeholders("{a} and {b-c}") == ("a", "b-c")
    assert fill("{a}{{{b}}}", {"a": "1", "b": "{a}"}) == "1{{a}}"
