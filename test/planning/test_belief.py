from __future__ import annotations

from dream_vla_ros.planning.belief import Belief
from dream_vla_ros.planning.outcomes import Answer, AnswerCode
from dream_vla_ros.planning.terms import Atom, Literal

ON, CLEAR, HELD = Atom("on", ("a", "b")), Atom("clear", ("a",)), Atom("holding", ("a",))


def answer(atom: Atom, code: AnswerCode, probability: float = 0.5) -> Answer:
    return Answer(str(atom), code, probability)


def test_what_is_given_is_believed():
    belief = Belief(frozenset({ON}))
    assert belief.state == {ON}
    assert [(a.query, a.code, a.message) for a in belief.answers()] == [("(on a b)", AnswerCode.YES, "given")]


def test_seeing_is_believing():
    belief = Belief(frozenset({ON}))
    belief.learn([ON, CLEAR], [answer(ON, AnswerCode.NO), answer(CLEAR, AnswerCode.YES)])
    assert belief.state == {CLEAR}


def test_what_is_not_clear_is_believed_as_before():
    belief = Belief(frozenset({ON}))
    belief.learn([ON, CLEAR], [answer(ON, AnswerCode.UNKNOWN, 0.4), answer(CLEAR, AnswerCode.UNKNOWN, 0.6)])
    assert belief.state == {ON}
    assert [a.code for a in belief.answers()] == [AnswerCode.UNKNOWN] * 2


def test_what_is_expected_is_believed_until_seen():
    belief = Belief(frozenset({ON}))
    belief.expect([Literal(ON, False), Literal(HELD)], "expected after grasp(a)")
    assert belief.state == {HELD}
    assert {a.query: a.message for a in belief.answers()}["(holding a)"] == "expected after grasp(a)"
    belief.learn([HELD], [answer(HELD, AnswerCode.NO)])
    assert belief.state == frozenset()


def test_answers_come_once_and_in_order():
    belief = Belief()
    for code in (AnswerCode.NO, AnswerCode.YES):
        belief.learn([ON, CLEAR, HELD], [answer(atom, code) for atom in (ON, CLEAR, HELD)])
    assert [a.query for a in belief.answers()] == ["(clear a)", "(holding a)", "(on a b)"]
    assert all(a.code is AnswerCode.YES for a in belief.answers())
