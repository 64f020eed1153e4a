"""Both sides of each claim: ``SECOND[id](truth, mix, seen) -> Pair``.

mix: the soup of one λ, None for claims of the instance. seen: the sides that the toolkit reports;
their place is used only where equal sides leave the choice of the place to rounding.
"""

from __future__ import annotations

from . import lemma1, proof, sampling, theorem
from .pair import Nothing, Pair, SidesAt

SECOND: dict[str, SidesAt] = {
    "ss.asm0": lemma1.softmax_setup,
    "ss.asm1": lemma1.linear_rewards,
    "ss.asm2": lemma1.decodable,
    "ss.eq2-4": lemma1.bellman,
    "ss.lemma1": lemma1.linear_values,
    "ss.lemma1.per-step": lemma1.linear_values_per_step,
    "ss.lemma1.tabular": lemma1.values_of_independent_rows,
    "ss.lemma1.desirability": lemma1.desirability,
    "ss.proof.single-exponential": lemma1.single_exponential,
    "ss.eq11": lemma1.random_fourier,
    "ss.eq12": lemma1.unrolling_printed,
    "ss.eq12.repaired": lemma1.unrolling_repaired,
    "ss.eq13": lemma1.forward_law,
    "ss.gaussian": lemma1.gaussian,
    "ss.eq7.logit": lemma1.logits_printed,
    "ss.eq7.logit.repaired": lemma1.logits_repaired,
    "ss.betaprime": theorem.parametrisation,
    "ss.eq8.upper": theorem.upper,
    "ss.eq8.onehot": theorem.one_hot,
    "ss.thm1.kl": theorem.kl_at_start,
    "ss.thm1.kl.any": theorem.kl_everywhere,
    "ss.thm1.kl.constant-norm": theorem.kl_constant_norm,
    "ss.thm1.kl.repaired": theorem.kl_repaired,
    "ss.thm1.gap": theorem.gap_printed,
    "ss.thm1.gap.constant-norm": theorem.gap_printed,
    "ss.thm1.gap.minimal": theorem.gap_minimal,
    "ss.thm1.gap.identity": theorem.gap_identity,
    "ss.thm1.gap.sharp": theorem.gap_sharp,
    "ss.thm1.gap.sharp-features": theorem.gap_sharp_features,
    "ss.proof.nonneg": proof.nonnegative,
    "ss.proof.nonneg.without": proof.nonnegative,
    "ss.proof.A": proof.step_a,
    "ss.proof.A.repaired": proof.step_a_repaired,
    "ss.proof.B": proof.step_b,
    "ss.proof.C.jensen": proof.jensen,
    "ss.proof.C.lipschitz": proof.lipschitz,
    "ss.proof.C.lipschitz.repaired": proof.lipschitz_repaired,
    "ss.delta.anchor": proof.anchor_least,
    "ss.delta.anchor.upper": proof.anchor_largest,
    "ss.delta": proof.delta,
    "ss.delta.tight": proof.delta_tight,
    "ss.delta.renyi": proof.renyi,
    "ss.sec4.return": sampling.returns,
    "ss.sec4.gumbel": sampling.gumbel,
    "ss.sec4.explicit": sampling.explicit,
    "ss.sec4.explicit.repaired": sampling.explicit_repaired,
    "ss.sec4.bt": sampling.bradley_terry,
    "ss.sec4.implicit": sampling.implicit,
    "ss.sec4.implicit.repaired": sampling.implicit_repaired,
}

__all__ = ["SECOND", "Nothing", "Pair"]
