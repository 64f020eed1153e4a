"""The catalogue: every claim with its source, status and hypotheses, as a table."""

from __future__ import annotations

from fnmatch import fnmatchcase

from toymdp import InstanceError

from . import bellman_claims, delta_claims, optimum_claims, theorem1_claims
from .claim import Claim

_LINEAR = ("ss.asm1", "ss.asm2")
_THEOREM = ("ss.asm1", "ss.asm2", "q-linear", "lambda-in-domain")

_TABLE = (
    Claim(
        "ss.asm0", "SS §3", r"\pi_{ref}(a|s) \propto \exp(\psi(s)^\top\nu_{ref}(a))",
        "set-up", "equality", "instance", bellman_claims.as_claim("ss.asm0"),
        "the section's set-up: reported, it alone makes no row not-applicable",
    ),
    Claim(
        "ss.asm1", "SS (5)", r"r(s,a) = \psi((s,a))^\top\nu_r",
        "hypothesis", "equality", "instance", bellman_claims.as_claim("ss.asm1"),
        "Assumption 1, one vector for all steps",
    ),
    Claim(
        "ss.asm2", "SS Asm 2", r"P(a_t \mid s_t) = P(a_t \mid \text{last } L \text{ tokens})",
        "hypothesis", "equality", "instance", bellman_claims.as_claim("ss.asm2"),
        "true of a token MDP by construction",
    ),
    Claim(
        "ss.eq2-4", "SS (2)–(4)", r"V(s) = \beta\log E_{ref}\exp(Q(s,a)/\beta)",
        "proved", "equality", "instance", bellman_claims.three_roads,
        "backward induction; checked against enumeration and a cone program",
    ),
    Claim(
        "ss.lemma1", "SS (6)", r"Q^*(t,s,a) = \psi((s,a))^\top\nu",
        "refuted", "equality", "instance", bellman_claims.lemma1,
        "log-sum-exp of linear functions is not linear",
        hypotheses=_LINEAR, reported=("ss.asm0",),
    ),
    Claim(
        "ss.lemma1.per-step", "SS (6)", r"Q^*(t,s,a) = \psi((s,a))^\top\nu_t",
        "refuted", "equality", "instance", bellman_claims.lemma1_per_step,
        "the same witness: the first step alone is not linear",
        hypotheses=_LINEAR, reported=("ss.asm0",),
    ),
    Claim(
        "ss.lemma1.tabular", "ours", r"\text{independent rows } \psi_{t,s'} \Rightarrow Q^* = \psi^\top\nu",
        "proved", "equality", "instance", bellman_claims.lemma1,
        "independent rows interpolate any table",
        hypotheses=("features-independent",),
    ),
    Claim(
        "ss.lemma1.desirability", "ours", r"e^{V(\cdot,y)/\beta} \in \mathrm{col}(\Pi_y)",
        "proved", "equality", "instance", bellman_claims.lemma1_desirability,
        "the language MDP is linearly solvable in the exponential (Todorov 2006)",
    ),
    Claim(
        "ss.betaprime", "ours", r"J, \mathrm{gap}, (9), (10) \text{ depend on } \lambda/\beta' \text{ only}",
        "proved", "equality", "every", optimum_claims.beta_prime_free,
        "β' is no parameter of the problem", zero=True,
    ),
    Claim(
        "ss.eq8.upper", "SS Thm 1.2, left", r"0 \le V_w - J(\lambda)",
        "proved", "inequality", "every", optimum_claims.gap_nonnegative,
        "both terms of the identity are non-negative",
        hypotheses=("lambda-in-domain",), zero=True,
    ),
    Claim(
        "ss.eq8.onehot", "SS App. A.2 (ii)", r"J(\lambda^*) \ge V_w^{\pi_k}",
        "proved", "inequality", "optimum", optimum_claims.beats_specialists,
        "one-hot weights are in the domain", needs_optimum=True, zero=True,
    ),
    Claim(
        "ss.thm1.kl", "SS (9)",
        r"KL(\pi_w\|\tilde\pi_{\lambda^*}) \le \tfrac{1}{\beta'}(E_{\pi_w}\|\psi\| + E_{ref}\|\psi\|)"
        r"\,\|\tfrac{\beta'}{\beta}\nu_w - \textstyle\sum_k\lambda^*_k\nu_k\|",
        "refuted", "inequality", "optimum", theorem1_claims.kl,
        "log E exp is 1-Lipschitz in the sup norm, not in L¹(ref)",
        hypotheses=_THEOREM, reported=("ss.asm0",), zero=True,
    ),
    Claim(
        "ss.thm1.kl.repaired", "ours",
        r"KL(\pi_w\|\tilde\pi_\lambda) \le \tfrac{1}{\beta'}(E_{\pi_w}\|\psi\| + "
        r"E_{\tilde\pi_\lambda}\|\psi\|)\,\|\tfrac{\beta'}{\beta}\nu_w - \textstyle\sum_k\lambda_k\nu_k\|",
        "proved", "inequality", "every", theorem1_claims.kl_repaired,
        "Jeffreys' divergence bounds KL; then Cauchy–Schwarz",
        hypotheses=("q-linear",), reported=("ss.asm0", "ss.asm1"), zero=True,
    ),
    Claim(
        "ss.thm1.gap", "SS (10)",
        r"V_w - J(\lambda^*) \le E_{\underline\pi}[\textstyle\sum_t\|\psi\|]\,"
        r"\|\sum_k\nu_{r_k}(w_k - |\lambda^*_k|/|\lambda^*|_1)\| + \tfrac{\beta^2}{\beta'}\sum_k"
        r"\Delta_k\max(0,-\lambda^*_k) + E_{ref}\|\psi\|\,\|\nu_w - \tfrac{\beta}{\beta'}"
        r"\sum_k\lambda^*_k\nu_k\|",
        "refuted", "inequality", "optimum", theorem1_claims.gap,
        "its last term sees the first step only, weighted by ref",
        hypotheses=(*_THEOREM, "lambda-nonzero", "rewards-nonnegative"), reported=("ss.asm0",),
    ),
    Claim(
        "ss.thm1.gap.identity", "ours",
        r"V_w - J(\lambda) = E_{\tilde\pi_\lambda}\textstyle\sum_t[\beta KL(\tilde\pi_\lambda\|\pi_w)"
        r" + (\beta'/|\lambda|_1 - \beta)KL(\tilde\pi_\lambda\|\pi_{ref})]",
        "proved", "equality", "every", theorem1_claims.gap_identity,
        "performance difference, telescoped", zero=True,
    ),
    Claim(
        "ss.thm1.gap.sharp", "ours",
        r"V_w - J(\lambda) \le E_{\tilde\pi_\lambda}\textstyle\sum_t[\beta\,\mathrm{span}_a(e)^2/8"
        r" + (\beta'/|\lambda|_1 - \beta)KL(\tilde\pi_\lambda\|\pi_{ref})]",
        "proved", "inequality", "every", theorem1_claims.gap_sharp,
        "Hoeffding's lemma in the identity; at full budget it vanishes with the logit error",
        hypotheses=("lambda-in-domain",), zero=True,
    ),
    Claim(
        "ss.delta", "SS (17), (18)",
        r"E_{ref}[1/x]\,E_{ref}[x] \le (\bar M + \underline M - 1)/(\bar M\underline M)",
        "proved", "inequality", "instance", delta_claims.delta,
        "the chord of 1/x",
    ),
    Claim(
        "ss.delta.tight", "ours", r"\text{equality where } \pi_k/\pi_{ref} \text{ takes two values}",
        "proved", "equality", "instance", delta_claims.delta_tight,
        "the chord meets 1/x at both ends",
    ),
    Claim(
        "ss.delta.renyi", "ours",
        r"(16) \text{ with } D_2(\pi_{ref}\|\pi_k) = \log E_{ref}[\pi_{ref}/\pi_k] \le \Delta_k",
        "proved", "inequality", "every", delta_claims.delta_renyi,
        "the ratio itself is known, so its chord is not needed",
        hypotheses=("lambda-nonzero",),
    ),
)  # fmt: skip

CLAIMS: dict[str, Claim] = {claim.id: claim for claim in _TABLE}


def select(pattern: str) -> list[Claim]:
    """Return the claims whose id matches a shell pattern (several, separated by commas).

    Raises InstanceError if a pattern matches none.
    """
    chosen: dict[str, Claim] = {}
    for part in pattern.split(","):
        found = {i: c for i, c in CLAIMS.items() if fnmatchcase(i, part.strip())}
        if not found:
            raise InstanceError.of(
                "claims", part.strip(), "matches no claim", "list them with `soupcheck claims`"
            )
        chosen |= found
    return [claim for claim in CLAIMS.values() if claim.id in chosen]
