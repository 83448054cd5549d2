"""A JSON reader for text that a model wrote: it forgives what people forgive and says what it forgave.

Forgiven: trailing and missing commas, single and curly quotes, names without quotes, comments, ellipses,
Python's words for true, false and null, line breaks in text, a missing bracket, and a missing end.
"""

from __future__ import annotations

import re
from typing import Any

_MAX_DEPTH = 24
_SPACE = re.compile(r"(?:\s+|//[^\n]*|/\*[^*]*\*/|#[^\n]*|\.\.\.,?|…,?)+")
_WORD = re.compile(r"[^\s,:\[\]{}()\"'“”‘’]+")
_CLOSING_QUOTE = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_PLAIN_TEXT = {quote: re.compile(f"[^{closing}\\\\]*") for quote, closing in _CLOSING_QUOTE.items()}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_CODE_POINT = re.compile(r"\\u([0-9a-fA-F]{4})")
_LITERALS = {"true": True, "false": False, "null": None, "none": None}


class LooseJsonError(ValueError):
    """Text that is no JSON even to a forgiving eye.

    :param position: Where in the text reading failed.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class Read:
    """What was read from one place of a text.

    :param value: Dictionaries, lists, text, numbers as they were written (text), booleans and None.
    :param end: Where in the text it ends.
    :param remarks: What was forgiven, each once.
    :param cut: The objects and arrays, outermost last, that the text ended in. They hold what was finished.
    """

    def __init__(self, value: Any, end: int, remarks: tuple[str, ...], cut: tuple[Any, ...]) -> None:
        self.value = value
        self.end = end
        self.remarks = remarks
        self.cut = cut

    def is_cut(self, part: Any) -> bool:
        """Say whether the text ended inside an object or array of the value."""
        return any(part is other for other in self.cut)


def read_json(text: str, start: int = 0) -> Read:
    """Read the JSON object or array that begins at a place of a text.

    :param start: Where its bracket stands.
    :raises LooseJsonError: If there is none.
    """
    if start >= len(text) or text[start] not in "{[":
        raise LooseJsonError("no bracket opens here", start)
    reader = _Reader(text, start)
    value = reader.value(0)
    return Read(value, reader.position, tuple(reader.remarks), tuple(reader.cut))


class _End(Exception):
    """The text ended inside a value, which is therefore left out."""


class _Reader:
    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self.position = start
        self.remarks: dict[str, None] = {}
        self.cut: list[Any] = []

    def value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise LooseJsonError(f"brackets are nested more than {_MAX_DEPTH} deep", self.position)
        self._skip()
        character = self._peek()
        if character == "{":
            return self._object(depth)
        if character == "[":
            return self._array(depth)
        if character in _CLOSING_QUOTE:
            return self._string(character)
        return self._word()

    def _object(self, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        self.position += 1
        try:
            while not self._closes("}"):
                name = self._name()
                self._skip()
                if self._peek() not in (":", "="):
                    raise LooseJsonError(f"no colon after '{name[:40]}'", self.position)
                if self._peek() == "=":
                    self._remark("an equals sign for a colon")
                self.position += 1
                value = self.value(depth + 1)
                if name in result:
                    self._remark(f"'{name[:40]}' is given twice, the last one counts")
                result[name] = value
                if self.cut:
                    self.cut.append(result)
                    break
                self._comma("}")
        except _End:
            self.cut.append(result)
        return result

    def _array(self, depth: int) -> list[Any]:
        result: list[Any] = []
        self.position += 1
        try:
            while not self._closes("]"):
                result.append(self.value(depth + 1))
                if self.cut:
                    self.cut.append(result)
                    break
                self._comma("]")
        except _End:
            self.cut.append(result)
        return result

    def _name(self) -> str:
        character = self._peek()
        if character in _CLOSING_QUOTE:
            return self._string(character)
        self._remark("a name has no quotes")
        return self._bare()

    def _string(self, quote: str) -> str:
        closing = _CLOSING_QUOTE[quote]
        if quote != '"':
            self._remark("quotes are not straight double ones")
        plain = _PLAIN_TEXT[quote]
        parts: list[str] = []
        position = self.position + 1
        while True:
            start, position = position, self._run_end(plain, position)
            parts.append(self.text[start:position])
            if position >= len(self.text) or (self.text[position] == "\\" and position + 1 >= len(self.text)):
                raise _End
            if self.text[position] == closing:
                break
            if (code := _CODE_POINT.match(self.text, position)) is not None:
                parts.append(chr(int(code.group(1), 16)))
                position = code.end()
                continue
            escaped = self.text[position + 1]
            parts.append(_ESCAPES.get(escaped, escaped))
            position += 2
        self.position = position + 1
        # JSON writes characters beyond the first 65,536 as two halves.
        return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _run_end(self, pattern: re.Pattern[str], position: int) -> int:
        match = pattern.match(self.text, position)
        return match.end() if match is not None else position

    def _word(self) -> Any:
        word = self._bare()
        if word.lower() in _LITERALS:
            return _LITERALS[word.lower()]
        if not re.fullmatch(r"-?\d+(\.\d*)?([eE][+-]?\d+)?", word):
            self._remark("text has no quotes")
        return word

    def _bare(self) -> str:
        match = _WORD.match(self.text, self.position)
        if match is None:
            raise LooseJsonError(f"'{self._peek()}' stands where a value should", self.position)
        self.position = match.end()
        if self.position == len(self.text):
            raise _End
        return match.group()

    def _comma(self, closing: str) -> None:
        self._skip()
        character = self._peek()
        if character in (",", ";"):
            self.position += 1
            self._skip()
            if self._peek() == closing:
                self._remark("a comma too many")
            elif character == ";":
                self._remark("a semicolon for a comma")
        elif character not in "]}":
            self._remark("a comma is missing")

    def _closes(self, closing: str) -> bool:
        self._skip()
        while self._peek() == ",":
            self._remark("a comma too many")
            self.position += 1
            self._skip()
        character = self._peek()
        if character == closing:
            self.position += 1
        elif character in "]}":
            self._remark(f"'{closing}' is missing")
        else:
            return False
        return True

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.position)
        if match is not None:
            self.position = match.end()
            if match.group().strip():
                self._remark("comments or ellipses between values")

    def _peek(self) -> str:
        if self.position >= len(self.text):
            raise _End
        return self.text[self.position]

    def _remark(self, remark: str) -> None:
        self.remarks[remark] = None
