"""An instance's exact numbers as Coq definitions, and the enclosures that Coq proves one by one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

from flint import arb, fmpq, fmpq_mat

from .equalities import unrolling
from .hypotheses import left_null
from .instance import Witness
from .values import Field, Values

SHORT = 10**12  # whole numbers from here on are written with their powers of two apart


def number(x: fmpq) -> str:
    """An exact rational as Coq text."""
    top, bottom = int(x.p), int(x.q)
    text = _whole(abs(top)) + ("" if bottom == 1 else f" / {_whole(bottom)}")
    return f"- ({text})" if top < 0 and " " in text else "-" * (top < 0) + text


def _whole(n: int) -> str:
    twos = (n & -n).bit_length() - 1 if n else 0
    if n < SHORT or not twos:
        return str(n)
    return f"2 ^ {twos}" if n == 2**twos else f"({n >> twos} * 2 ^ {twos})"


def listed(items: Iterable[str]) -> str:
    """A Coq list."""
    return f"[{'; '.join(items)}]"


def naturals(items: Iterable[int]) -> str:
    """A Coq list of natural numbers."""
    return f"{listed(map(str, items))}%nat"


def cases(head: str, on: str, rows: Iterable[tuple[tuple[int, ...], str]], otherwise: str) -> str:
    """A definition by cases; arguments with one right side share a line."""
    shared: dict[str, list[str]] = {}
    for key, text in rows:
        if text != otherwise:
            shared.setdefault(text, []).append(", ".join(f"{i}%nat" for i in key))
    lines = [f"Definition {head} :=", f"  match {on} with"]
    lines += [f"  | {' | '.join(keys)} => {text}" for text, keys in shared.items()]
    wild = ", ".join("_" for _ in on.split(","))
    return "\n".join([*lines, f"  | {wild} => {otherwise}", "  end.\n"])


def _by_token(witness: Witness, s: int) -> list[fmpq]:
    """Weights of all tokens after a context."""
    row, bos = list(witness.instance.row_of[s]), witness.instance.bos
    return row if bos is None else [*row[:bos], fmpq(0), *row[bos:]]


def allowed(witness: Witness, s: int) -> list[int]:
    """The tokens of positive weight."""
    return [a for a, x in enumerate(_by_token(witness, s)) if x > 0]


def instance_text(witness: Witness) -> str:
    """Part 1 of the file: the numbers of the witness, nothing derived."""
    world = witness.instance
    weights = {s: _by_token(witness, s) for s in world.row_of}
    eos = "false" if world.eos is None else f"Nat.eqb (s mod A) {world.eos}"
    plain = [("A", world.tokens, "tokens"), ("L", world.order, "tokens that a context holds"),
             ("T", world.steps, "steps"), ("K", world.K, "specialists"),
             ("start", world.start, "context at step 0")]  # fmt: skip
    reach = {s for _, s in world.used}
    parts = [
        "".join(f"Definition {name} : nat := {n}%nat. (* {what} *)\n" for name, n, what in plain),
        f"Definition beta : R := {number(world.beta)}.\n"
        f"Definition beta' : R := {number(world.beta_prime)}.\n",
        "(* Tokens the reference policy allows after a context, and weights, by token; divided by\n"
        "   their sum they are its probabilities. *)\n"
        + cases("allowed (s : nat) : list nat", "s",
                [((s,), naturals(allowed(witness, s))) for s in weights], "[]")
        + cases("weight (s : nat) : list R", "s",
                [((s,), listed(map(number, row))) for s, row in weights.items()], "[]"),
        "(* Nothing follows eos. *)\n"
        f"Definition ended (s : nat) : bool := {eos}.\n",
        "(* Rewards r_k(s'), k from 0, on the reachable next contexts s'; the user's weights w. *)\n"
        + cases("reward (k s' : nat) : R", "k, s'",
                [((k, s), number(r[s])) for k, r in enumerate(world.rewards) for s in sorted(reach)],
                "0")
        + cases("w (k : nat) : R", "k", [((k,), number(x)) for k, x in enumerate(world.w)], "0"),
    ]  # fmt: skip
    if witness.lam is not None:
        parts.append(cases("lambda (k : nat) : R", "k",
                           [((k,), number(x)) for k, x in enumerate(witness.lam)], "0"))  # fmt: skip
    return "\n".join(parts)


def lambda_texts(witness: Witness, hypotheses: tuple[str, ...]) -> list[str]:
    """What the claim supposes of λ, each with its proof."""
    texts = []
    if "lambda-in-domain" in hypotheses:
        texts.append(
            "Lemma lambda_is_in_the_domain : beta * lambda_1 <= beta'.\n"
            "Proof.\n"
            "  cbv [lambda_1 sum fold_right map specialists seq K lambda beta beta'].\n"
            "  unfold Rabs; repeat destruct Rcase_abs; lra.\n"
            "Qed.\n"
        )
    if "lambda-nonzero" in hypotheses:
        k = next(k for k, x in enumerate(witness.lam or []) if x != 0)
        texts.append(
            "Lemma lambda_is_not_zero : exists k, In k specialists /\\ lambda k <> 0.\n"
            f"Proof. exists {k}%nat; split; [vm_compute; auto 99 | cbv [lambda]; lra]. Qed.\n"
        )
    return texts


def totals_text(witness: Witness) -> tuple[str, list[str]]:
    """The sums of weights, which Coq adds up once; and the lemmas' names."""
    world = witness.instance
    sums = {s: sum(row, fmpq(0)) for s, row in world.row_of.items()}
    lemmas = [
        f"Lemma total_{s} : total {s}%nat = {number(x)}.\n"
        "Proof. cbv [total sum fold_right allowed nth weight]; field. Qed.\n"
        for s, x in sums.items()
    ]
    return "".join(lemmas), [f"total_{s}" for s in sums]


def weights_text(witness: Witness, where: dict[str, int]) -> str:
    """Weights y of the places with ``yᵀΨ = 0``: row (t, s') of the projection beside the features."""
    world = witness.instance
    per_step = witness.claim == "ss.lemma1.per-step"
    places = [p for p in world.used if not per_step or p[0] == where["t"]]
    row = left_null(world.rows(places))[places.index((where["t"], where["s'"]))]
    terms = [
        f"({number(c)}, ({t}%nat, {s}%nat))"
        for c, (t, s) in zip(row, places, strict=True)
        if c != 0
    ]
    return f"Definition y : list (R * (nat * nat)) :=\n  {listed(terms)}.\n"


def free_text(values: Values, where: dict[str, int]) -> str:
    """The action a_{t+L} of each context, which (12) leaves free: the worse of the two extremes."""
    world, t = values.world, where["t"] + values.world.order
    found = [float(x.lhs.mid()) for x in unrolling(values, None) if x.where == where]
    pick = max if found.index(max(found)) else min  # it yields the least Q first
    chosen = []
    for s in world.states[t]:
        x = pick(values.next[s], key=lambda x: float(values.Q[where["k"]][t, x].mid()))
        chosen.append(((s,), f"{x % world.tokens}%nat"))
    return cases("free (s : nat) : nat", "s", chosen, "0%nat")


def vector(row: dict[int, fmpq]) -> str:
    """A feature row as a Coq list of ``value @ coordinate``."""
    return listed(f"{number(x)} @ {j}" for j, x in sorted(row.items()))


def features_text(witness: Witness) -> str:
    """The feature rows of the reachable (t, s'), and the coordinates that occur."""
    psi = witness.instance.psi
    columns = sorted({j for row in psi.values() for j in row})
    return (
        "(* Features psi(t, s') of the reachable (t, s'), t the step of the action. *)\n"
        + cases("psi (t s' : nat) : vector", "t, s'",
                [(place, vector(row)) for place, row in psi.items()], "[]")
        + f"Definition coordinates : list nat := {naturals(columns)}.\n"
    )  # fmt: skip


def combination(terms: Iterable[tuple[fmpq, str]]) -> str:
    """``Σ c x`` as Coq text."""
    shown = [x if c == 1 else f"({number(c)}) * {x}" for c, x in terms if c != 0]
    return " + ".join(shown) or "0"


def solution_text(witness: Witness) -> str:
    """``nu = Ψᵀ(ΨΨᵀ)⁻¹ X`` for independent rows, with the proof that ``psi·nu = X``."""
    world = witness.instance
    columns = sorted({j for row in world.psi.values() for j in row})
    if all(len(row) == 1 for row in world.psi.values()):
        inverse = [[1 / world.psi[p][j] if j in world.psi[p] else fmpq(0) for p in world.used]
                   for j in columns]  # fmt: skip
    else:
        rows = world.rows(world.used)
        inverse = (rows.transpose() * (rows * rows.transpose()).inv()).tolist()
    names = [f"X {t}%nat {s}%nat" for t, s in world.used]
    found = [((j,), combination(zip(row, names, strict=True)))
             for j, row in zip(columns, inverse, strict=True)]  # fmt: skip
    return (
        "(* The feature rows are linearly independent, so every X has its nu: this one, the shortest. *)\n"
        + cases("solution (X : nat -> nat -> R) (j : nat) : R", "j", found, "0")
        + "Lemma every_nu_exists X : represents (solution X) X.\n"
        "Proof. each_place t s'; cbv [dot sum fold_right psi solution]; field. Qed.\n"
    )


def linear_rewards_text(witness: Witness) -> str:
    """A nu for each reward, found by elimination, and the proof that it is one (Assumption 1)."""
    world = witness.instance
    columns = sorted({j for row in world.psi.values() for j in row})
    rows, n = world.rows(world.used), len(columns)
    found = []
    for k, r in enumerate(world.rewards):
        right = fmpq_mat([[r[s]] for _, s in world.used])
        augmented = fmpq_mat([[*a, *b] for a, b in zip(rows.tolist(), right.tolist(), strict=True)])
        echelon, rank = augmented.rref()
        for i in range(rank):
            pivot = next(j for j in range(n + 1) if echelon[i, j] != 0)
            found.append(((k, columns[pivot]), number(echelon[i, n])))
    return (
        cases("nu_reward (k j : nat) : R", "k, j", found, "0")
        + "Lemma assumption_1 : forall k, In k specialists ->\n"
        "  represents (nu_reward k) (fun _ s' => reward k s').\n"
        "Proof.\n"
        "  intros k here; vm_compute in here; repeat (destruct here as [<- | here]; [ | ]);\n"
        "  try contradiction; each_place t s';\n"
        "  cbv [dot sum fold_right psi nu_reward reward]; field.\n"
        "Qed.\n"
    )


def enclosed(
    name: str, term: str, x: arb, digits: int, slack: int, known: list[str], proof: str
) -> str:
    """``low <= term <= high`` with decimals, and its proof from the enclosures named.

    slack: by how many units of the last decimal it is wider than need be, for Coq's own rounding.
    """
    middle = int((x.mid() * 10**digits).floor().unique_fmpz())
    use = f"generalize {' '.join(known)}; intros; " if known else ""
    return _lemma(name, term, middle - slack, middle + 1 + slack, digits, use + proof)


def between(name: str, term: str, ends: tuple[float, float], digits: int, proof: str) -> str:
    """The same between two binary64 numbers, rounded outward."""
    low, high = (Fraction(x) * 10**digits for x in ends)
    return _lemma(name, term, math.floor(low) - 1, math.ceil(high) + 1, digits, proof)


def _lemma(name: str, term: str, low: int, high: int, digits: int, proof: str) -> str:
    ends = _decimal(low, digits), _decimal(high, digits)
    return f"Lemma {name} :\n  {ends[0]}\n  <= {term}\n  <= {ends[1]}.\nProof. {proof}. Qed.\n"


def _decimal(n: int, digits: int) -> str:
    text = str(abs(n)).rjust(digits + 1, "0")
    return f"{'-' * (n < 0)}{text[:-digits]}.{text[-digits:]}"


def soft_values(witness: Witness, fields: dict[str, Field], digits: int) -> tuple[str, list[str]]:
    """Enclosures of V, from the last step back, of each taste; and their names.

    fields: Coq name of a taste -> its V on (t, s) in reward units.
    """
    world = witness.instance
    parts, names = [], []
    for t in reversed(range(world.steps)):
        left = world.steps - t
        for s in world.states[t]:
            for taste, V in fields.items():
                short = taste.strip("()").replace("specialist ", "").replace("%nat", "")
                later = [f"V_{short}_{t + 1}_{x}" for x, _ in world.moves[s] if (t + 1, x) in V]
                names.append(f"V_{short}_{t}_{s}")
                parts.append(enclosed(names[-1], f"V_left {taste} {left}%nat {s}%nat", V[t, s],
                                      digits, 2 * left, list(dict.fromkeys(later)), "one_step"))  # fmt: skip
    return "\n".join(parts), names
