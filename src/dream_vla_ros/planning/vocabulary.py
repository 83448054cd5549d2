"""The tokens of a tokenizer as the bytes they stand for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping

from .grammar import ByteAutomaton


class Vocabulary:
    """Which bytes each token stands for, sorted to find quickly the tokens an automaton can read.

    :param tokens: Bytes by token id; tokens that stand for no text are left out.
    """

    def __init__(self, tokens: Mapping[int, bytes]) -> None:
        entries = sorted((value, number) for number, value in tokens.items() if value)
        self._texts = [value for value, _ in entries]
        self._ids = [number for _, number in entries]

    @classmethod
    def from_byte_level(cls, tokens: Mapping[str, int], special: Collection[int] = ()) -> Vocabulary:
        """Read the vocabulary of a byte-level BPE tokenizer, as ``tokenizer.get_vocab()`` gives it.

        Such vocabularies (GPT-2's, Qwen's) write each byte as one printable character.

        :param tokens: Id by token.
        :param special: Ids of tokens that stand for no text.
        """
        decoder = {character: byte for byte, character in byte_characters().items()}
        skipped = set(special)
        decoded = {}
        for text, number in tokens.items():
            if number not in skipped and all(character in decoder for character in text):
                decoded[number] = bytes(decoder[character] for character in text)
        return cls(decoded)

    def __len__(self) -> int:
        return len(self._ids)

    def steps(self, automaton: ByteAutomaton, state: int) -> Iterator[tuple[int, int]]:
        """List the tokens an automaton can read in a state.

        :returns: Pairs of token id and the state after it.
        """
        stack: list[tuple[bytes, int, int, int]] = [(b"", state, 0, len(self._texts))]
        while stack:
            prefix, here, low, high = stack.pop()
            for byte, there in automaton.transitions[here].items():
                text = prefix + bytes([byte])
                first = bisect_left(self._texts, text, low, high)
                if first == high or not self._texts[first].startswith(text):
                    continue
                last = (
                    bisect_left(self._texts, prefix + bytes([byte + 1]), first, high) if byte < 255 else high
                )
                while first < last and self._texts[first] == text:
                    yield self._ids[first], there
                    first += 1
                if first < last:
                    stack.append((text, there, first, last))


def byte_characters() -> dict[int, str]:
    """Return the character that byte-level vocabularies write for each byte.

    Printable bytes of Latin-1 stand for themselves; the others get the characters from 256 on, in order.
    """
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    characters = {byte: chr(byte) for byte in printable}
    for number, byte in enumerate(byte for byte in range(256) if byte not in characters):
        characters[byte] = chr(256 + number)
    return characters
