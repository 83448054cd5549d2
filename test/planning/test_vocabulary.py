from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.planning.grammar import Chain, Choice, Repeat, Text, compile_automaton
from dream_vla_ros.planning.vocabulary import Vocabulary, byte_characters

AUTOMATON = compile_automaton(
    Chain(
        (Text(b"ab"), Repeat(Choice((Text(b"a"), Text(b"bb"), Text(b"\xff"))))),
    )
)


@given(st.dictionaries(st.integers(0, 99), st.binary(max_size=4) | st.text("ab", max_size=4).map(str.encode)))
def test_all_tokens_that_fit_are_listed_once(tokens: dict[int, bytes]):
    vocabulary = Vocabulary(tokens)
    for state in range(len(AUTOMATON.transitions)):
        steps = sorted(vocabulary.steps(AUTOMATON, state))
        expected = [
            (number, after)
            for number, text in sorted(tokens.items())
            if text and (after := AUTOMATON.after(text, state)) is not None
        ]
        assert steps == expected


def test_every_byte_has_a_character_of_its_own():
    characters = byte_characters()
    assert sorted(characters) == list(range(256))
    assert len(set(characters.values())) == 256
    assert characters[ord("a")] == "a"
    # As published vocabularies have them.
    assert characters[ord(" ")] == "Ġ"
    assert characters[ord("\n")] == "Ċ"


def test_byte_level_vocabularies_are_decoded():
    tokens = {"Ġblock": 3, '":': 4, "Ã¼": 5, "<|im_end|>": 6, "日": 7}
    vocabulary = Vocabulary.from_byte_level(tokens, special=[6])
    assert len(vocabulary) == 3
    for text, number in ((b" block", 3), (b'":', 4), ("ü".encode(), 5)):
        automaton = compile_automaton(Text(text))
        assert [token for token, _ in vocabulary.steps(automaton, 0)] == [number]


def test_a_trained_tokenizer_is_read_as_it_writes():
    tokenizers = __import__("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    text = '{"plan": [{"action": "pick-up", "parameters": {"block": "grün"}}]}'
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, show_progress=False, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([text] * 10, trainer)
    vocabulary = Vocabulary.from_byte_level(tokenizer.get_vocab())
    automaton = compile_automaton(Text(text.encode()))
    state = 0
    for token in tokenizer.encode(text).ids:
        state = dict(vocabulary.steps(automaton, state))[token]
    assert state in automaton.accepting
