"""Claims about psi(s), the features of states, in Coq; and the set-up that they suppose.

The set-up is ``ref = softmax(psi(s)·nu_ref(a))``. There nu_ref(a) is made of
``ln(ref(a|s)/ref(a0|s))`` at a basis of the rows psi(s); of the other rows it is true if a product
of powers is, and these are rational numbers where the powers are whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flint import arb, fmpq

from .coq_instance import allowed, cases, combination, listed, naturals, number, vector
from .hypotheses import left_null, state_rows
from .instance import Witness, matrix


@dataclass(frozen=True)
class StateRows:
    """Features psi(s) of states s that have some, and what a claim asks of them at one place.

    text: their definitions, x_i by row. weights: what they are combined by, as Coq definitions.
    fills: what stands for a name in the claim's texts. left: its left side where that is not the
    certificate's.
    """

    text: str
    weights: str
    fills: dict[str, str]
    left: arb | None = None


def rows_text(rows: list[dict[int, fmpq]], contexts: list[int]) -> str:
    """The definitions of rows x_i, and of their list with contexts."""
    return (
        "(* Features psi(s) of the reachable states s that the claim speaks of. *)\n"
        + "".join(f"Definition x_{i} : vector := {vector(row)}.\n" for i, row in enumerate(rows))
        + "Definition rows : list (nat * vector) := "
        + listed(f"({s}%nat, x_{i})" for i, s in enumerate(contexts))
        + ".\n"
    )


def each(places: Iterable[tuple[int, int, int | None]]) -> str:
    """What ``linear`` says of rows (s, i) and tokens a, to be rewritten where it occurs."""
    return ", ".join(
        f"?(linear {s}%nat x_{i}{'' if a is None else f' {a}%nat'})" for s, i, a in places
    )


def state_rows_of(witness: Witness, where: dict[str, int]) -> StateRows:
    """The rows that single-exponential and (13) speak of, with weights y, ``yᵀΨ = 0``, for one of them."""
    world, two = witness.instance, "continuation" in where
    ahead = [(t, s) for t, s in world.used
             if t + world.order < world.steps and s not in world.ended]  # fmt: skip
    rows, contexts = state_rows(world, ahead if two else None)
    null = left_null(matrix(rows))
    here = where["s'" if two else "s"]
    y = max((null[i] for i, s in enumerate(contexts) if s == here), key=any)
    terms = [f"({number(c)}, ({s}%nat, x_{i}))"
             for i, (c, s) in enumerate(zip(y, contexts, strict=True)) if c != 0]  # fmt: skip
    places = [(s, i, a) for i, s in enumerate(contexts)
              for a in ([None] if two else allowed(witness, s))]  # fmt: skip
    fills = {"EACH": each(places), "VECTORS": " ".join(f"x_{i}" for i in range(len(rows)))}
    left = None
    if two:
        this, that, left = odds(witness, contexts, y, where["continuation"])
        fills |= {"FIRST": naturals(this), "SECOND": naturals(that)}
    weights = f"Definition y : list (R * (nat * vector)) :=\n  {listed(terms)}.\n"
    return StateRows(rows_text(rows, contexts), weights, fills, left)


def continuations(witness: Witness, s: int) -> dict[tuple[int, ...], fmpq]:
    """What may follow s, L tokens long, and its probability; in the certificate's order."""
    world = witness.instance
    law: dict[tuple[int, ...], tuple[int, fmpq]] = {(): (s, fmpq(1))}
    for _ in range(world.order):
        law = {(*c, y % world.tokens): (y, p * q)
               for c, (x, p) in law.items() for y, q in world.moves.get(x, ())}  # fmt: skip
    return {c: p for c, (_, p) in law.items()}


def odds(
    witness: Witness, contexts: list[int], y: list[fmpq], chosen: int
) -> tuple[tuple[int, ...], tuple[int, ...], arb]:
    """The continuation numbered ``chosen``, the one whose ``y·log law`` is farthest, and how far."""
    laws = [list(continuations(witness, s).items()) for s in contexts]
    sums = {
        law[0][0]: sum((arb(c) * arb(p).log() for c, (_, p) in zip(y, law, strict=True)), arb(0))
        for law in zip(*laws, strict=True)
    }  # fmt: skip
    this = list(sums)[chosen]
    that = max(sums, key=lambda c: float(abs(sums[c] - sums[this]).mid()))
    return this, that, abs(sums[this] - sums[that])


POWERS = """\
Lemma exp_of_ln q n : 0 < q -> exp (IZR n * ln q) = powerRZ q n.
Proof. intros above; rewrite powerRZ_Rpower by exact above; reflexivity. Qed.
"""
MOST_POWERS = 20  # above, Coq would multiply for long


def set_up_text(witness: Witness) -> str:
    """``Lemma set_up``; a remark instead where rows have no small whole relation."""
    rows, contexts = state_rows(witness.instance)
    if not rows:
        return _REMARK
    psi = matrix(rows)
    columns = sorted({j for row in rows for j in row})
    echelon, rank = psi.transpose().rref()
    basis = [next(i for i in range(len(rows)) if echelon[k, i] != 0) for k in range(rank)]
    chosen = matrix([rows[i] for i in basis])
    if chosen.ncols() != len(columns):
        return _REMARK
    inverse = chosen.transpose() * (chosen * chosen.transpose()).inv()
    powers = (psi * inverse).tolist()
    if any(d.q != 1 or abs(d) > MOST_POWERS for row in powers for d in row):
        return _REMARK
    tokens = allowed(witness, contexts[0])
    odds = [{a: weight(witness, s, a) / weight(witness, s, tokens[0]) for a in tokens}
            for s in contexts]  # fmt: skip
    nu = [((a, j), combination((c, f"ln ({number(odds[i][a])})") for c, i in zip(row, basis, strict=True)))
          for a in tokens for j, row in zip(columns, inverse.tolist(), strict=True)]  # fmt: skip
    lemmas, names = [], []
    for i in range(len(rows)):
        for a in tokens:
            names.append(f"soft_{i}_{a}")
            terms = " + ".join(f"IZR ({d.p}) * ln ({number(odds[b][a])})"
                               for d, b in zip(powers[i], basis, strict=True))  # fmt: skip
            lemmas.append(
                f"Lemma {names[-1]} : exp (dot psi_{i} (nu_ref {a}%nat)) = {number(odds[i][a])}.\n"
                f"Proof.\n  replace (dot psi_{i} (nu_ref {a}%nat)) with ({terms})\n"
                f"    by (cbv [dot sum fold_right psi_{i} nu_ref]; field).\n"
                "  rewrite ?exp_plus, !exp_of_ln by lra; simpl; field.\nQed.\n"
            )
    pairs = listed(f"({s}%nat, psi_{i})" for i, s in enumerate(contexts))
    return (
        "(* The set-up: ref = softmax(psi(s).nu_ref(a)) at every state s that has features. *)\n"
        + "".join(f"Definition psi_{i} : vector := {vector(row)}.\n" for i, row in enumerate(rows))
        + f"Definition psi_of : list (nat * vector) := {pairs}.\n"
        + cases("nu_ref (a j : nat) : R", "a, j", nu, "0")
        + POWERS
        + "".join(lemmas)
        + "Lemma set_up : forall s x a, In (s, x) psi_of -> In a (allowed s) -> ref s a =\n"
        "  exp (dot x (nu_ref a)) / sum (allowed s) (fun b => exp (dot x (nu_ref b))).\n"
        "Proof.\n"
        "  intros s x a here token; cbv [psi_of In] in here.\n"
        "  repeat (destruct here as [same | here]; [injection same as <- <-; vm_compute in token;\n"
        "    repeat (destruct token as [<- | token];\n"
        "      [cbv [ref total allowed sum fold_right nth weight];\n"
        f"       rewrite {', '.join('?' + n for n in names)}; field |]); contradiction |]);\n"
        "  contradiction.\n"
        "Qed.\n"
    )


_REMARK = "(* That ref = softmax(psi(s).nu_ref(a)) for some nu_ref is not proved here. *)\n"


def weight(witness: Witness, s: int, a: int) -> fmpq:
    """The weight of a token after a context."""
    bos = witness.instance.bos
    return witness.instance.row_of[s][a - (bos is not None and a > bos)]
