from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.planning.automaton import MASKED, TokenAutomaton
from dream_vla_ros.planning.domain import Domain, Scene
from dream_vla_ros.planning.errors import GrammarError, PlanParseError
from dream_vla_ros.planning.grammar import (
    ByteAutomaton,
    Chain,
    Choice,
    Repeat,
    Text,
    compile_automaton,
    plan_grammar,
)
from dream_vla_ros.planning.plan_text import parse_plan
from dream_vla_ros.planning.vocabulary import Vocabulary

END, PAD = 7, 9
TOKENS = {0: b"a", 1: b"b", 2: b"ab", 3: b"ba", 4: b"bb", 5: b"c"}
GRAMMARS = [
    Chain((Text(b"a"), Repeat(Text(b"ba")), Choice((Text(b"b"), Text(b""))))),
    Choice((Text(b"ab"), Text(b"abab"), Text(b"bb"))),
    Chain((Repeat(Choice((Text(b"ab"), Text(b"b")))), Text(b"a"))),
    Chain((Text(b"a"), Choice((Text(b"bb"), Text(b"c"))), Repeat(Text(b"b")))),
]


def by_brute_force(grammar: ByteAutomaton, length: int) -> list[tuple[int, ...]]:
    """List every sequence: tokens of a text, then perhaps a closing token, then padding."""
    found = set()
    for count in range(length + 1):
        for ids in itertools.product(TOKENS, repeat=count):
            if not grammar.accepts(b"".join(TOKENS[i] for i in ids)):
                continue
            rest = length - count
            if rest == 0:
                found.add(ids)
            else:
                found.add((*ids, END, *[PAD] * (rest - 1)))
                found.add((*ids, *[PAD] * rest))
    return sorted(found)


@pytest.fixture(scope="module")
def cases() -> list[tuple[TokenAutomaton, dict[int, list[tuple[int, ...]]]]]:
    made = []
    for expression in GRAMMARS:
        grammar = compile_automaton(expression)
        automaton = TokenAutomaton(grammar, Vocabulary(TOKENS), [END], PAD)
        made.append((automaton, {length: by_brute_force(grammar, length) for length in (1, 2, 3, 5)}))
    return made


def draw_partial(data: st.DataObject, sequences: list[tuple[int, ...]], length: int) -> np.ndarray:
    """Draw a partly masked sequence, often one that can be filled."""
    tokens = st.sampled_from([*TOKENS, END, PAD, 77])
    base = data.draw(st.sampled_from(sequences) if sequences else st.tuples(*[tokens] * length))
    change = data.draw(
        st.lists(st.sampled_from(["keep", "mask", "mask", "draw"]), min_size=length, max_size=length)
    )
    return np.array(
        [
            {"keep": token, "mask": MASKED}[how] if how != "draw" else data.draw(tokens)
            for token, how in zip(base, change, strict=True)
        ]
    )


def fitting(sequences: list[tuple[int, ...]], ids: np.ndarray) -> list[tuple[int, ...]]:
    return [s for s in sequences if all(i in (MASKED, token) for i, token in zip(ids, s, strict=True))]


@settings(max_examples=300)
@given(st.data())
def test_exactly_the_tokens_on_some_accepted_sequence_are_allowed(cases, data):
    automaton, by_length = data.draw(st.sampled_from(cases))
    length = data.draw(st.sampled_from(list(by_length)))
    ids = draw_partial(data, by_length[length], length)
    rest = fitting(by_length[length], ids)
    allowed = automaton.allowed(ids)
    assert [row.tolist() for row in allowed] == [sorted({s[p] for s in rest}) for p in range(length)]
    assert automaton.feasible(ids) == bool(rest)
    assert automaton.accepts(ids) == (not (ids == MASKED).any() and bool(rest))
    mask = automaton.allowed_mask(ids, 100)
    assert mask.shape == (length, 100)
    assert [np.flatnonzero(row).tolist() for row in mask] == [row.tolist() for row in allowed]


@settings(max_examples=200)
@given(st.data())
def test_what_is_fixed_at_once_still_can_be_filled(cases, data):
    automaton, by_length = data.draw(st.sampled_from(cases))
    length = data.draw(st.sampled_from([3, 5]))
    sequences = by_length[length]
    if not sequences:
        return
    ids = np.where(
        data.draw(st.lists(st.booleans(), min_size=length, max_size=length)),
        MASKED,
        data.draw(st.sampled_from(sequences)),
    )
    open_places = np.flatnonzero(ids == MASKED).tolist()
    places = data.draw(st.permutations(open_places))
    allowed = automaton.allowed(ids)
    tokens = [int(data.draw(st.sampled_from(allowed[place].tolist()))) for place in places]
    result, taken = automaton.commit(ids, places, tokens)
    expected = ids.copy()
    for place, token, kept in zip(places, tokens, taken, strict=True):
        trial = expected.copy()
        trial[place] = token
        assert kept == bool(fitting(sequences, trial))
        expected = trial if kept else expected
    assert result.tolist() == expected.tolist()
    assert automaton.feasible(result)
    if places:
        assert taken[0]


@settings(max_examples=100)
@given(st.data())
def test_the_best_sequence_is_the_best_of_all(cases, data):
    automaton, by_length = data.draw(st.sampled_from(cases))
    length = data.draw(st.sampled_from([2, 3, 5]))
    ids = draw_partial(data, by_length[length], length)
    rest = fitting(by_length[length], ids)
    scores = np.random.default_rng(data.draw(st.integers(0, 1000))).normal(
        size=(length, len(automaton.token_ids))
    )
    if not rest:
        with pytest.raises(GrammarError):
            automaton.best(ids, scores)
        return
    column = {int(token): index for index, token in enumerate(automaton.token_ids)}

    def total(sequence) -> float:
        return sum(scores[p, column[t]] for p, t in enumerate(sequence) if ids[p] == MASKED)

    assert total(automaton.best(ids, scores)) == pytest.approx(max(map(total, rest)))


def test_tokens_ruled_out_by_the_model_are_taken_last():
    automaton = TokenAutomaton(
        compile_automaton(Choice((Text(b"a"), Text(b"b")))), Vocabulary(TOKENS), [END], PAD
    )
    scores = np.zeros((2, len(automaton.token_ids)), np.float32)
    scores[0, 0] = -np.inf
    assert automaton.best(np.full(2, MASKED), scores)[0] == 1
    scores[0, :] = np.nan
    assert automaton.accepts(automaton.best(np.full(2, MASKED), scores))


def test_the_shortest_text_is_known():
    shortest = [TokenAutomaton(compile_automaton(g), Vocabulary(TOKENS), [END]).shortest for g in GRAMMARS]
    assert shortest == [1, 1, 1, 2]


def test_what_cannot_be_spelled_is_refused():
    with pytest.raises(GrammarError, match="cannot spell"):
        TokenAutomaton(compile_automaton(Text(b"abx")), Vocabulary(TOKENS), [END])
    with pytest.raises(GrammarError, match="closes the text"):
        TokenAutomaton(compile_automaton(Text(b"ab")), Vocabulary(TOKENS), [])


def test_ways_that_cannot_be_spelled_are_never_begun():
    grammar = compile_automaton(Choice((Text(b"ab"), Text(b"bx"))))
    automaton = TokenAutomaton(grammar, Vocabulary(TOKENS), [END])
    assert automaton.allowed(np.full(2, MASKED))[0].tolist() == [0, 2]


def test_a_sequence_has_one_dimension():
    automaton = TokenAutomaton(compile_automaton(Text(b"ab")), Vocabulary(TOKENS), [END])
    for shape in ((0,), (1, 2)):
        with pytest.raises(GrammarError, match="must be"):
            automaton.allowed(np.full(shape, MASKED))


@pytest.mark.parametrize("blanks", [False, True])
def test_any_order_of_unmasking_writes_a_plan(household: Domain, blanks: bool):
    scene = Scene(
        household, {"apple_1": "sliceable", "knife_1": "slicer", "sink_1": "object", "box_1": "container"}
    )
    words = [
        '{"',
        "plan",
        '": [',
        '"action',
        '": "',
        "grasp",
        "place",
        "-on",
        '", "',
        "parameters",
        "_1",
        '"]}',
    ]
    tokens = {256 + i: word.encode() for i, word in enumerate(words)} | {i: bytes([i]) for i in range(256)}
    automaton = TokenAutomaton(plan_grammar(scene, blanks=blanks), Vocabulary(tokens), [300, 301])
    rng = np.random.default_rng(5)
    for length in (automaton.shortest, automaton.shortest + 1, 96):
        ids = np.full(length, MASKED)
        while (ids == MASKED).any():
            allowed = automaton.allowed(ids)
            places = rng.permutation(np.flatnonzero(ids == MASKED))[:16].tolist()
            ids, _ = automaton.commit(ids, places, [int(rng.choice(allowed[place])) for place in places])
        text = b"".join(tokens.get(int(i), b"") for i in ids).decode()
        assert parse_plan(text).actions
        assert automaton.accepts(ids)
    with pytest.raises(PlanParseError):
        parse_plan(text[:20])
    assert not automaton.feasible(np.full(automaton.shortest - 1, MASKED))
