"""Which tokens keep a partly unmasked sequence on the way to a text of a grammar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import GrammarError
from .grammar import ByteAutomaton
from .vocabulary import Vocabulary

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
MASKED = -1


class TokenAutomaton:
    """A grammar over tokens: a text of it, then a closing token, then padding to the end.

    Sequences are (length,) arrays of token ids with :data:`MASKED` where a token is still open. A text may be
    split into tokens in any way, and may also fill the sequence without a closing token.

    :param grammar: The language of the text.
    :param vocabulary: The tokens that stand for text.
    :param end_ids: Tokens that close the text, for example ``<|im_end|>`` and ``<|endoftext|>``.
    :param pad_id: Token that fills what is left; it closes the text, too. None takes the last of ``end_ids``.
    :raises GrammarError: If the vocabulary cannot spell any text of the grammar.
    """

    def __init__(
        self,
        grammar: ByteAutomaton,
        vocabulary: Vocabulary,
        end_ids: Sequence[int],
        pad_id: int | None = None,
    ) -> None:
        if not end_ids and pad_id is None:
            raise GrammarError("the automaton needs a token that closes the text")
        padding = end_ids[-1] if pad_id is None else pad_id
        edges = _edges(grammar, vocabulary, sorted({*end_ids, padding}), padding)
        tokens, labels = np.unique(edges[:, 1], return_inverse=True)
        self.token_ids: IntArray = tokens
        """The tokens that can occur at all, ascending; (tokens,)."""
        self._states = len(grammar.transitions) + 1
        self._finals = np.zeros(self._states, bool)
        self._finals[[*grammar.accepting, self._states - 1]] = True
        self._edges = _Edges(edges[:, 0], labels.reshape(-1), edges[:, 2], self._states, len(tokens))
        self.shortest = self._shortest()
        """Fewest tokens a text of the grammar takes, without a closing one."""

    def accepts(self, ids: IntArray) -> bool:
        """Say whether a sequence without open places is a text of the grammar."""
        return bool(np.all(np.asarray(ids) != MASKED)) and self.feasible(ids)

    def feasible(self, ids: IntArray) -> bool:
        """Say whether the open places of a sequence can be filled."""
        labels = self._labels(ids)
        return labels is not None and bool((self._forward(labels)[-1] & self._finals).any())

    def allowed_compact(self, ids: IntArray) -> BoolArray:
        """Say which tokens may stand at each place, so that all the others can still be filled.

        :returns: (length, tokens), columns as in :attr:`token_ids`. At a fixed place only its token; nothing
            anywhere if the sequence cannot be filled.
        """
        labels = self._labels(ids)
        allowed = np.zeros((len(ids), len(self.token_ids)), bool)
        if labels is None:
            return allowed
        forward = self._forward(labels)
        backward = self._backward(labels)
        for place, label in enumerate(labels):
            if label == MASKED:
                self._edges.allowed(forward[place], backward[place + 1], allowed[place])
            else:
                allowed[place, label] = (forward[place] & backward[place]).any()
        return allowed

    def allowed(self, ids: IntArray) -> list[IntArray]:
        """List the tokens that may stand at each place, so that all the others can still be filled.

        :returns: Ascending token ids for each place; empty everywhere if the sequence cannot be filled.
        """
        return [self.token_ids[row] for row in self.allowed_compact(ids)]

    def allowed_mask(self, ids: IntArray, vocabulary_size: int) -> BoolArray:
        """Return the same as a (length, vocabulary) mask."""
        mask = np.zeros((len(ids), vocabulary_size), bool)
        mask[:, self.token_ids] = self.allowed_compact(ids)
        return mask

    def commit(
        self, ids: IntArray, places: Sequence[int], tokens: Sequence[int]
    ) -> tuple[IntArray, BoolArray]:
        """Fix several open places at once, in order, leaving out each that would block what is fixed already.

        Tokens that are allowed one by one may not go together.

        :param ids: A sequence that can be filled.
        :param places: The surest first.
        :param tokens: The token for each place.
        :returns: The new sequence, and which of the places were fixed.
        """
        result = np.array(ids, np.int64)
        taken = np.zeros(len(places), bool)
        first = 0
        while first < len(places):
            count = self._longest_feasible(result, places[first:], tokens[first:])
            for index in range(first, first + count):
                result[places[index]] = tokens[index]
                taken[index] = True
            first += count + 1
        return result, taken

    def best(self, ids: IntArray, scores: NDArray[np.floating]) -> IntArray:
        """Fill all open places by the one text whose tokens have the highest sum of scores.

        :param scores: (length, tokens) log-probabilities, columns as in :attr:`token_ids`.
        :raises GrammarError: If the sequence cannot be filled.
        """
        labels = self._labels(ids)
        length = len(ids)
        if labels is None:
            raise GrammarError("the sequence holds a token that no text of the grammar has")
        totals = np.full((length + 1, self._states), -np.inf)
        totals[0, 0] = 0.0
        came = np.zeros((length, self._states), np.int64)
        for place in range(length):
            row = np.where(np.isfinite(scores[place]), scores[place], -1e30)
            if labels[place] != MASKED:
                row = np.where(np.arange(len(row)) == labels[place], 0.0, -np.inf)
            totals[place + 1], came[place] = self._edges.best(totals[place], row)
        ends = np.where(self._finals, totals[-1], -np.inf)
        state = int(np.argmax(ends))
        if not np.isfinite(ends[state]):
            raise GrammarError(f"no text of the grammar fits the {length} places and what is fixed in them")
        result = np.empty(length, np.int64)
        for place in range(length - 1, -1, -1):
            edge = came[place, state]
            result[place] = self.token_ids[self._edges.label[edge]]
            state = int(self._edges.source[edge])
        return result

    def _labels(self, ids: IntArray) -> IntArray | None:
        ids = np.asarray(ids, np.int64)
        if ids.ndim != 1 or len(ids) == 0:
            raise GrammarError(f"a sequence of token ids must be (length,), not of shape {ids.shape}")
        index = np.searchsorted(self.token_ids, ids).clip(max=len(self.token_ids) - 1)
        known = self.token_ids[index] == ids
        if not np.all(known | (ids == MASKED)):
            return None
        return np.where(ids == MASKED, MASKED, index)

    def _forward(self, labels: IntArray) -> BoolArray:
        reached = np.zeros((len(labels) + 1, self._states), bool)
        reached[0, 0] = True
        for place, label in enumerate(labels):
            self._edges.after(reached[place], label, reached[place + 1])
        return reached

    def _backward(self, labels: IntArray) -> BoolArray:
        reaching = np.zeros((len(labels) + 1, self._states), bool)
        reaching[-1] = self._finals
        for place in range(len(labels) - 1, -1, -1):
            self._edges.before(reaching[place + 1], labels[place], reaching[place])
        return reaching

    def _longest_feasible(self, ids: IntArray, places: Sequence[int], tokens: Sequence[int]) -> int:
        """Return how many of the first places can be fixed together."""

        def fits(count: int) -> bool:
            trial = ids.copy()
            for place, token in zip(places[:count], tokens[:count], strict=True):
                if trial[place] not in (MASKED, token):
                    return False
                trial[place] = token
            return self.feasible(trial)

        if fits(len(places)):
            return len(places)
        low, high = 0, len(places)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def _shortest(self) -> int:
        # Padding follows only a closing token, so the first place where a text can end counts them all.
        reached = np.zeros(self._states, bool)
        reached[0] = True
        closing = self._finals.copy()
        closing[-1] = False
        for count in range(1, self._states + 1):
            following = np.zeros(self._states, bool)
            self._edges.after(reached, MASKED, following)
            reached = following
            if (reached & closing).any():
                return count
        raise GrammarError("the vocabulary cannot spell any text of the grammar")


def _edges(grammar: ByteAutomaton, vocabulary: Vocabulary, end_ids: Sequence[int], pad_id: int) -> IntArray:
    """List (state, token id, next state) between token boundaries; the last state is "closed"."""
    seen = {0}
    queue = [0]
    rows: list[tuple[int, int, int]] = []
    for state in queue:  # grows while it is walked
        for token, there in vocabulary.steps(grammar, state):
            rows.append((state, token, there))
            if there not in seen:
                seen.add(there)
                queue.append(there)
    closed = len(grammar.transitions)
    rows.extend((state, token, closed) for state in sorted(grammar.accepting & seen) for token in end_ids)
    rows.append((closed, pad_id, closed))
    return _without_dead_ends(np.array(rows, np.int64), grammar, closed)


def _without_dead_ends(edges: IntArray, grammar: ByteAutomaton, closed: int) -> IntArray:
    alive = np.zeros(closed + 1, bool)
    alive[[*grammar.accepting, closed]] = True
    while True:
        more = alive.copy()
        more[edges[alive[edges[:, 2]], 0]] = True
        if np.array_equal(more, alive):
            break
        alive = more
    if not alive[0]:
        raise GrammarError("the vocabulary cannot spell any text of the grammar")
    return edges[alive[edges[:, 0]] & alive[edges[:, 2]]]


class _Edges:
    """Edges sorted by target, with what is needed to walk them either way."""

    def __init__(self, source: IntArray, label: IntArray, target: IntArray, states: int, labels: int) -> None:
        order = np.lexsort((source, target))
        self.source, self.label, self.target = source[order], label[order], target[order]
        self._by_label = [np.flatnonzero(self.label == number) for number in range(labels)]
        pairs = np.unique(np.stack([self.source, self.target], axis=1), axis=0)
        self._pair_source, self._pair_target = pairs[:, 0], pairs[:, 1]
        self._starts = np.flatnonzero(np.r_[True, self.target[1:] != self.target[:-1]])
        self._group_target = self.target[self._starts]
        self._states = states

    def after(self, states: BoolArray, label: int, result: BoolArray) -> None:
        """Mark the states one token after some states."""
        if label == MASKED:
            result[self._pair_target[states[self._pair_source]]] = True
        else:
            edges = self._by_label[label]
            result[self.target[edges[states[self.source[edges]]]]] = True

    def before(self, states: BoolArray, label: int, result: BoolArray) -> None:
        """Mark the states one token before some states."""
        if label == MASKED:
            result[self._pair_source[states[self._pair_target]]] = True
        else:
            edges = self._by_label[label]
            result[self.source[edges[states[self.target[edges]]]]] = True

    def allowed(self, before: BoolArray, after: BoolArray, result: BoolArray) -> None:
        """Mark the labels of the edges from some states to others."""
        result[self.label[before[self.source] & after[self.target]]] = True

    def best(self, totals: NDArray[np.floating], scores: NDArray[np.floating]) -> tuple[NDArray, IntArray]:
        """Return the best total of each state after one more token, and the edge it came by."""
        candidates = totals[self.source] + scores[self.label]
        best = np.full(self._states, -np.inf)
        best[self._group_target] = np.maximum.reduceat(candidates, self._starts)
        came = np.zeros(self._states, np.int64)
        hits = np.flatnonzero((candidates == best[self.target]) & np.isfinite(candidates))
        came[self.target[hits]] = hits
        return best, came
