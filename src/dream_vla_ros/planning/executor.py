"""Carrying out one symbolic action, looking before and after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .belief import Belief
from .interfaces import Environment, ExecutionStatus, Grounder, Observation
from .outcomes import ActionCode, ActionRecord, Answer, AnswerCode
from .problem import Problem
from .terms import Atom, GroundAction, Literal
from .transition import transition_model

# A message with more reasons than this is no longer read to its end, by people or models.
_MAX_REASONS = 4


class ActionExecutor:
    """Looks whether an action is possible, has it carried out, and looks whether it did what it should.

    :param belief: What is believed; kept up to date.
    :param looks: How often the scene is looked at for effects that are not clear.
    """

    def __init__(
        self,
        problem: Problem,
        environment: Environment,
        grounder: Grounder,
        belief: Belief,
        *,
        looks: int = 2,
    ) -> None:
        self.problem = problem
        self.model = transition_model(problem)
        self.belief = belief
        self._environment = environment
        self._grounder = grounder
        self._looks = looks
        self._askable = dict.fromkeys(problem.scene.askable_atoms())

    def look(self, atoms: Iterable[Atom], observation: Observation | None = None) -> dict[Atom, Answer]:
        """Find out which atoms hold and believe it; atoms that are never asked for are left out.

        :param observation: What is seen; None looks now.
        """
        asked = [atom for atom in dict.fromkeys(atoms) if atom in self._askable]
        if not asked:
            return {}
        if observation is None:
            observation = self._environment.observe()
        answers = self._grounder.ground(asked, observation)
        self.belief.learn(asked, answers)
        return dict(zip(asked, answers, strict=True))

    def look_at_all(self) -> None:
        """Find out about every atom that can be asked for."""
        self.look(self._askable)

    def carry_out(self, action: GroundAction) -> ActionRecord:
        """Do an action of the problem.

        :raises TaskInterrupted: As the environment does.
        """
        self.look(self.model.atoms_to_know(action))
        missing = self.model.missing(self.belief.state, action)
        if missing:
            needs = _join(condition.words for condition in missing)
            return ActionRecord(
                action, ActionCode.PRECONDITIONS_MISSING, f"not possible; it needs that {needs}"
            )
        expected = self.model.effects(self.belief.state, action)
        instruction = self.problem.scene.instruction(action)
        execution = self._environment.execute(action, instruction)
        if execution.status is ExecutionStatus.IMPOSSIBLE:
            code, message = ActionCode.PRECONDITIONS_MISSING, f"not possible; {execution.message}"
        elif execution.status is ExecutionStatus.FAULT:
            code, message = ActionCode.EXECUTION_FAULT, f"not carried out; {execution.message}"
        else:
            code, message = self._judge(action, expected)
        return ActionRecord(action, code, message, instruction, execution.duration_s)

    def _judge(self, action: GroundAction, expected: Sequence[Literal]) -> tuple[ActionCode, str]:
        # What cannot be asked for, and what stays unclear, is believed to be as it should.
        self.belief.expect(expected, f"expected after {action}")
        by_atom = {literal.atom: literal for literal in expected}
        answers: dict[Atom, Answer] = {}
        open_atoms = list(by_atom)
        for _ in range(self._looks):
            answers.update(self.look(open_atoms))
            open_atoms = [atom for atom, answer in answers.items() if answer.code is AnswerCode.UNKNOWN]
            if not open_atoms:
                break
        reasons = []
        for atom, answer in answers.items():
            wanted = by_atom[atom]
            if answer.code is AnswerCode.UNKNOWN:
                reasons.append(f"it is not clear whether {self.problem.scene.statement(wanted)}")
            elif (answer.code is AnswerCode.YES) != wanted.positive:
                reasons.append(self.problem.scene.statement(Literal(atom, not wanted.positive)))
        if reasons:
            return ActionCode.EFFECTS_MISSING, f"carried out, but {_join(reasons)}"
        return ActionCode.SUCCEEDED, "done"


def _join(reasons: Iterable[str]) -> str:
    listed = list(reasons)
    shown = ", and ".join(listed[:_MAX_REASONS])
    return f"{shown}, and {len(listed) - _MAX_REASONS} more" if len(listed) > _MAX_REASONS else shown
