"""App. A.1's Gaussian kernel in Coq: what any nu' would satisfy, and what the given nu_ref does.

Where ref(a|s) ∝ exp(−‖psi(s) − nu(a)‖²/2), the log-odds of a token against the first one, a₀, are
``psi(s)·δ(a) + level(a)`` with ``δ(a) = nu(a) − nu(a₀)`` and ``level(a) = (‖nu(a₀)‖² − ‖nu(a)‖²)/2``.
Rational weights of the rows read both off. Then ``bent(a) = ‖δ(a)‖² + 2 level(a)`` is
``−2 nu(a₀)·δ(a)``, linear in δ(a), so that over one token more than there are coordinates it adds up
to 0 with the minors of δ as weights. At the given nu_ref, the shortest, whose vectors add up to 0,
level(a) is 0 and ``nu(a₀)`` is minus the mean of δ: ``‖δ(a)‖²`` is ``2 δ(a)·mean δ``.
"""

from __future__ import annotations

from itertools import combinations

from flint import arb, fmpq, fmpq_mat

from .coq_instance import allowed, cases, combination, naturals
from .coq_refutations import CoqClaim
from .coq_states import StateRows, each, rows_text, weight
from .coq_theory import ODDS
from .hypotheses import state_rows
from .instance import Witness, matrix

Deltas = dict[int, list[arb]]  # δ(a) of every token but the first

_ROWS = "In (s, x) rows -> In a (allowed s) ->"
_KERNEL = (
    "Definition coordinates : list nat := AXES.\n"
    "Definition entry (x : vector) (j : nat) : R :=\n"
    "  sum x (fun '(c, i) => if Nat.eqb i j then c else 0).\n"
    "Definition near (x : vector) (nu : nat -> R) : R :=\n"
    "  - sum coordinates (fun j => (entry x j - nu j) ^ 2) / 2.\n"
    "Definition kernel (nu : nat -> nat -> R) : Prop :=\n"
    f"  forall s x a, {_ROWS}\n"
    "  ref s a = exp (near x (nu a)) / sum (allowed s) (fun b => exp (near x (nu b))).\n"
)
_ODD = (
    "(* Log-odds of a token against the first. *)\n"
    "Definition odd (s a : nat) : R := ln (ref s a) - ln (ref s ANCHOR).\n"
)
_FIRST = (
    f"Lemma first_token s x a : {_ROWS} In ANCHOR (allowed s).\n"
    "Proof.\n"
    "  intros here _; cbv [rows In] in here.\n"
    "  repeat (destruct here as [same | here]; [injection same as <- _; vm_compute; auto 99 |]);\n"
    "  contradiction.\n"
    "Qed.\n"
)


def _linear(name: str, source: str, form: str) -> str:
    """``name``: odd s a is the difference of two exponents, which ``source`` says."""
    return (
        f"  assert ({name} : forall s x a, {_ROWS}\n"
        f"    odd s a = {form.format('a')} - {form.format('ANCHOR')}).\n"
        f"  {{ intros s x a here token; assert (first := first_token s x a here token).\n"
        f"    eapply log_odds; [exact ({source} s x _ here token) | exact ({source} s x _ here first) |].\n"
        f"    exact (positive _ (fun b => {form.format('b')}) a token). }}\n"
    )


_AUTO = "; cbv [rows In allowed]; auto 99"
_MEMBER = "by (cbv [rows In allowed]; auto 99)"
_NUMBERS = "VECTORS entry near dot coordinates sum fold_right Nat.eqb"


def some_kernel(witness: Witness, where: dict[str, int]) -> StateRows:
    """For ss.gaussian: weights of δ and level, and the sum with minors that should be 0."""
    rows, contexts, anchor, others = _setting(witness)
    ones = fmpq_mat([[*row, fmpq(1)] for row in rows.tolist()])
    read = _reader(ones)
    deltas = _deltas(witness, contexts, anchor, others, read[:-1])
    levels = _deltas(witness, contexts, anchor, others, read[-1:])
    d = rows.ncols()
    bent = {a: sum((x * x for x in deltas[a]), 2 * levels[a][0]) for a in others}

    def off(chosen: tuple[int, ...]) -> arb:
        left = [[deltas[b] for b in chosen if b != a] for a in chosen]
        terms = [
            (-1) ** i * _minor(m) * bent[a]
            for i, (a, m) in enumerate(zip(chosen, left, strict=True))
        ]
        return arb(abs(sum(terms, arb(0))))

    best = max(combinations(others, d + 1), key=lambda c: float(off(c).lower()))
    terms = " + ".join(
        f"{'- ' * (i % 2)}({_minor_text([b for b in best if b != a], range(d))}) * bent {a}%nat"
        for i, a in enumerate(best)
    )
    text = (
        _weights(contexts, read[:-1]) + "(* (|nu(a0)|^2 - |nu(a)|^2) / 2. *)\n"
        f"Definition level (a : nat) : R :=\n  {_of_odds(contexts, read[-1])}.\n"
        "(* It is -2 nu(a0).delta(a); with minors of delta as weights it adds up to 0. *)\n"
        "Definition bent (a : nat) : R := sum coordinates (fun j => delta a j ^ 2) + 2 * level a.\n"
        f"Definition off : R :=\n  {terms}.\n"
    )
    return _filled(witness, contexts, anchor, others, text, off(best), {})


def given_kernel(witness: Witness, where: dict[str, int]) -> StateRows:
    """For ss.gaussian.given: weights of δ, and by how much one token leaves the sphere."""
    rows, contexts, anchor, others = _setting(witness)
    read = _reader(rows)
    deltas = _deltas(witness, contexts, anchor, others, read)
    n = len(others) + 1

    def off(a: int) -> arb:
        totals = [sum(column, arb(0)) for column in zip(*deltas.values(), strict=True)]
        return abs(
            sum((x * x - 2 * x * s / n for x, s in zip(deltas[a], totals, strict=True)), arb(0))
        )

    best = max(others, key=lambda a: float(off(a).lower()))
    every = " + ".join(f"delta {b}%nat j" for b in others)
    text = (
        _weights(contexts, read)
        + "(* |nu(a)|^2 - |nu(a0)|^2 of one token, where nu(a0) is minus the mean of delta. *)\n"
        "Definition off : R := sum coordinates (fun j =>\n"
        f"  delta {best}%nat j ^ 2 - 2 * delta {best}%nat j * ({every}) / {n}).\n"
    )
    middle = "".join(
        f"  assert (mean := centred {j}%nat); cbv [tokens sum fold_right coordinates In] in mean.\n"
        f"  assert (first_{j} : nu ANCHOR {j}%nat = - ({_added(others, j)}))\n"
        "    by (assert (zero := mean ltac:(auto 99)); lra); clear mean.\n"
        for j in range(rows.ncols())
    )
    return _filled(witness, contexts, anchor, others, text, off(best), {
        "TOKENS": naturals([anchor, *others]), "FARTHEST": f"{best}%nat", "MIDDLE": middle,
        "ROW": f"{contexts[0]}%nat", "FIRSTS": ", ".join(f"first_{j}" for j in range(rows.ncols())),
    })  # fmt: skip


def _added(tokens: list[int], j: int) -> str:
    return " + ".join(f"nu {b}%nat {j}%nat" for b in tokens)


def _setting(witness: Witness) -> tuple[fmpq_mat, list[int], int, list[int]]:
    """Rows psi(s), their contexts, the first token and the others."""
    rows, contexts = state_rows(witness.instance)
    anchor, *others = allowed(witness, contexts[0])
    return matrix(rows), contexts, anchor, others


def _reader(rows: fmpq_mat) -> list[list[fmpq]]:
    """The left inverse: line j gives the weights that read coordinate j off a field on the rows."""
    return list(((rows.transpose() * rows).inv() * rows.transpose()).tolist())


def _deltas(
    witness: Witness, contexts: list[int], anchor: int, others: list[int], read: list[list[fmpq]]
) -> Deltas:
    odds = {
        a: [arb(weight(witness, s, a) / weight(witness, s, anchor)).log() for s in contexts]
        for a in others
    }
    return {
        a: [sum((arb(c) * x for c, x in zip(line, odds[a], strict=True)), arb(0)) for line in read]
        for a in others
    }


def _minor(rows: list[list[arb]]) -> arb:
    if not rows:
        return arb(1)
    rest = [row[1:] for row in rows]
    return sum(((-1) ** i * rows[i][0] * _minor([*rest[:i], *rest[i + 1 :]]) for i in range(len(rows))),
               arb(0))  # fmt: skip


def _minor_text(tokens: list[int], axes: range) -> str:
    """The determinant of δ(a)_j, a by j, as Coq text."""
    if not tokens:
        return "1"
    return " + ".join(
        f"{'- ' * (i % 2)}delta {a}%nat {axes[0]}%nat"
        + (
            f" * ({_minor_text([*tokens[:i], *tokens[i + 1 :]], axes[1:])})"
            if len(tokens) > 1
            else ""
        )
        for i, a in enumerate(tokens)
    )


def _of_odds(contexts: list[int], line: list[fmpq]) -> str:
    return combination((c, f"odd {s}%nat a") for c, s in zip(line, contexts, strict=True))


def _weights(contexts: list[int], read: list[list[fmpq]]) -> str:
    found = [((j,), _of_odds(contexts, line)) for j, line in enumerate(read)]
    says = "(* nu(a) - nu(a0), read off the rows. *)\n"
    return says + cases("delta (a j : nat) : R", "j", found, "0")


def _filled(
    witness: Witness, contexts: list[int], anchor: int, others: list[int], weights: str, left: arb,
    more: dict[str, str],
) -> StateRows:  # fmt: skip
    rows, _ = state_rows(witness.instance)
    fills = more | {
        "AXES": naturals(range(matrix(rows).ncols())), "ANCHOR": f"{anchor}%nat",
        "VECTORS": " ".join(f"x_{i}" for i in range(len(rows))),
        "EACH": each((s, i, a) for i, s in enumerate(contexts) for a in others),
    }  # fmt: skip
    odd = _ODD.replace("ANCHOR", f"{anchor}%nat")
    return StateRows(rows_text(rows, contexts), odd + weights, fills, left)


KERNELS: dict[str, CoqClaim] = {
    "ss.gaussian": CoqClaim(
        ("DOT",),
        "App. A.1: ref(a|s) is proportional to exp(-||psi(s) - nu'(a)||^2 / 2) for some nu'",
        _KERNEL + "Definition claim : Prop := exists nu, kernel nu.\n",
        "Rabs off", "0",
        "intros [nu says]; apply (Rgt_not_eq _ _ broken).\n"
        + _linear("linear", "says", "near x (nu {})")
        + "  cbv [off bent delta level sum fold_right coordinates].\n"
        f"  rewrite EACH {_MEMBER}.\n"
        f"  transitivity (Rabs 0); [apply f_equal; cbv [{_NUMBERS}]; field | exact Rabs_R0].",
        "odd delta level bent off coordinates", ODDS + _FIRST, user=False, rows=some_kernel,
    ),
    "ss.gaussian.given": CoqClaim(
        ("DOT",),
        "App. A.1: ref(a|s) is proportional to exp(-||psi(s) - nu_ref(a)||^2 / 2) at the given nu_ref,\n"
        "   that of ref = softmax(psi(s).nu_ref(a)) whose vectors add up to 0: the shortest",
        _KERNEL
        + "Definition softmax (nu : nat -> nat -> R) : Prop :=\n"
        f"  forall s x a, {_ROWS}\n"
        "  ref s a = exp (dot x (nu a)) / sum (allowed s) (fun b => exp (dot x (nu b))).\n"
        "Definition tokens : list nat := TOKENS.\n"
        "Definition claim : Prop := exists nu, softmax nu /\\\n"
        "  (forall j, In j coordinates -> sum tokens (fun a => nu a j) = 0) /\\ kernel nu.\n",
        "Rabs off", "0",
        "intros [nu [soft [centred says]]]; apply (Rgt_not_eq _ _ broken).\n"
        + _linear("linear", "soft", "dot x (nu {})")
        + _linear("bowed", "says", "near x (nu {})")
        + "  assert (flat : sum coordinates (fun j => nu FARTHEST j ^ 2)\n"
        "    = sum coordinates (fun j => nu ANCHOR j ^ 2)).\n"
        f"  {{ assert (one : odd ROW FARTHEST = _) by (apply (linear ROW x_0){_AUTO}).\n"
        f"    assert (two : odd ROW FARTHEST = _) by (apply (bowed ROW x_0){_AUTO}).\n"
        f"    rewrite one in two; cbv [{_NUMBERS}] in two |- *; lra. }}\n"
        "MIDDLE"
        "  cbv [off delta sum fold_right coordinates].\n"
        f"  rewrite EACH {_MEMBER}.\n"
        "  transitivity (Rabs (sum coordinates (fun j => nu FARTHEST j ^ 2)\n"
        "    - sum coordinates (fun j => nu ANCHOR j ^ 2))).\n"
        f"  - apply f_equal; cbv [{_NUMBERS}]; rewrite FIRSTS; field.\n"
        "  - rewrite flat, Rminus_eq_0; exact Rabs_R0.",
        "odd delta off coordinates", ODDS + _FIRST, user=False, rows=given_kernel,
    ),
}  # fmt: skip
