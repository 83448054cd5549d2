from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.planning.loose_json import LooseJsonError, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
).filter(lambda value: isinstance(value, list | dict))


@given(VALUES, st.sampled_from([None, 0, 2]), st.booleans())
def test_proper_json_is_read_without_remarks(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    read = read_json(text)
    assert read.value == value
    assert read.end == len(text)
    assert read.remarks == ()
    assert read.cut == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, -3e4]}', {"a": ["1", "2.5", "-3e4"]}),
        ("{'a': 'b'}", {"a": "b"}),
        ("{“a”: ‘b’}", {"a": "b"}),
        ("{a: b_1, c: d-2}", {"a": "b_1", "c": "d-2"}),
        ('{"a": "b",}', {"a": "b"}),
        ('{,"a": "b",,"c": "d"}', {"a": "b", "c": "d"}),
        ('["a" "b"]', ["a", "b"]),
        ('{"a": "b" "c": "d"}', {"a": "b", "c": "d"}),
        ('["a"; "b"]', ["a", "b"]),
        ("[True, False, None, null, TRUE]", [True, False, None, None, True]),
        ('["a", // first\n "b" /* second */ # third\n]', ["a", "b"]),
        ('["a", ..., "b", …]', ["a", "b"]),
        ('{"a" = "b"}', {"a": "b"}),
        ('["a\nb"]', ["a\nb"]),
        (r'["a\"b\\c\nd\x"]', ['a"b\\c\ndx']),
        ('[["a"}', [["a"]]),
        ('{"a": ["b", "c"}', {"a": ["b", "c"]}),
        ('{"a": "b", "a": "c"}', {"a": "c"}),
    ],
)
def test_what_people_forgive_is_forgiven_and_told(text: str, value):
    read = read_json(text)
    assert read.value == value
    assert not read.cut
    plain = text.startswith(('{"a": [1', "[True", '["a\nb', '["a\\'))
    assert bool(read.remarks) != plain


@pytest.mark.parametrize("text", ["", "a", '"a"', "{:}", '{"a" "b"}', "[)", '{"a": :}', "[" * 100])
def test_what_makes_no_sense_is_refused(text: str):
    with pytest.raises(LooseJsonError):
        read_json(text)


@given(VALUES, st.data())
def test_a_cut_text_keeps_what_was_finished(value, data):
    text = json.dumps(value)
    end = data.draw(st.integers(1, len(text) - 1))
    read = read_json(text[:end])
    assert read.cut
    assert read.is_cut(read.value)
    if isinstance(value, list):
        kept = read.value if not read.is_cut(read.value[-1] if read.value else None) else read.value[:-1]
        assert kept == value[: len(kept)]


@given(st.text(alphabet="{}[]\",:'\\/*#.a1 \n", max_size=60))
def test_any_text_is_read_or_refused(text: str):
    try:
        read = read_json("[" + text)
    except LooseJsonError:
        return
    assert isinstance(read.value, list)
