"""The set-up ``ref = softmax(psi(s)·nu_ref(a))`` in Coq: a nu_ref of logarithms, and its proof.

``nu_ref(a)`` is made of ``ln(ref(a|s)/ref(a0|s))`` at a basis of the rows psi(s). Of the other rows
it is true if a product of powers is, which are rational numbers where the powers are whole.
"""

from __future__ import annotations

from flint import fmpq

from .coq_instance import allowed, cases, combination, listed, number, vector
from .hypotheses import state_rows
from .instance import Witness, matrix

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
    odds = [{a: _weight(witness, s, a) / _weight(witness, s, tokens[0]) for a in tokens}
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


def _weight(witness: Witness, s: int, a: int) -> fmpq:
    bos = witness.instance.bos
    return witness.instance.row_of[s][a - (bos is not None and a > bos)]
