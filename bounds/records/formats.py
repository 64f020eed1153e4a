"""The formats that files have, key by key: one table, from which JSON Schemas and the docs are made.

A schema says what one key may hold. What ties keys together (lengths, sums, what ``ref`` reaches) no
schema can say: those rules stand in words beside it (``Format.beyond``), and the readers alone know.
"""

from __future__ import annotations

from collections.abc import Mapping

from toymdp import InstanceError
from toymdp.worlds import attribute_set, preference_pairs, token_mdp, topic_cloud

from . import witness
from .schemas import (
    ENTRY,
    FINITE,
    POSITIVE,
    SHARE,
    TEXT,
    WEIGHT,
    Format,
    Key,
    Schema,
    absent,
    exactly,
    labels,
    or_null,
    present,
    table,
    whole,
)  # fmt: skip

_DENSE = exactly({
    "kind": {"const": "dense"},
    "values": {"anyOf": [table(FINITE, 2), table(FINITE, 3)]},
})  # fmt: skip
_TABULAR = exactly(
    {"kind": {"const": "tabular"}, "per_step": {"type": "boolean"}},
    {"scale": {"anyOf": [POSITIVE, table(FINITE, 1), table(FINITE, 2)]}},
)
_SPARSE = exactly({
    "indptr": table(whole(0), 1), "tokens": table(whole(0), 1), "weights": table(WEIGHT, 1),
})  # fmt: skip

_TOKEN_MDP = Format(
    token_mdp.FORMAT,
    "A language MDP: a reference policy over A tokens of which the last L decide, K rewards, a user.",
    (
        *labels(token_mdp.FORMAT),
        Key("vocab_size", whole(1), "A, the number of tokens", True),
        Key("order", whole(1), "L, how many last tokens decide; S = A**L contexts", True),
        Key("horizon", or_null(whole(1)), "T, the number of steps; null: until eos", True),
        Key("start", table(whole(0), 1), "[L] tokens, oldest first", True),
        Key("ref_weights", or_null(table(WEIGHT, 2)),
            "[S][A] weights of ref, normalised by row; 0 forbids a token"),
        Key("ref_sparse", or_null(_SPARSE), "the same by context: indptr [S+1], tokens, weights"),
        Key("contexts", or_null(table(whole(0), 1)),
            "the contexts that ref_sparse has rows for, ascending; every S is then their number"),
        Key("rewards", table(ENTRY, 2), "[K][S] on the next context, reward units", True),
        Key("beta", POSITIVE, "β, reward units per nat", True),
        Key("beta_prime", or_null(POSITIVE), "β' of the soup; β if not given"),
        Key("w", table(SHARE, 1), "[K] the user's weights, ≥ 0, sum 1", True),
        Key("features", {"oneOf": [_DENSE, _TABULAR]},
            "ψ on the next context: dense [S][d] or [T][S][d], or tabular, one-hot times a scale "
            "(a number, [S], or [T][S])", True),
        Key("eos", or_null(whole(0)), "the token that ends an answer"),
        Key("bos", or_null(whole(0)), "a token that pads the start and is never emitted"),
        Key("start_feature", or_null(table(ENTRY, 1)), "[d] ψ of the start context"),
    ),
    rules=(
        {"oneOf": [present("ref_weights"), present("ref_sparse")]},
        {"if": present("contexts"), "then": present("ref_sparse")},
        {"if": {"properties": {"horizon": {"type": "null"}}},
         "then": {**present("eos"), "not": {"properties": {
             "features": {"properties": {"per_step": {"const": True}}, "required": ["per_step"]}}}}},
    ),
    beyond=(
        "shapes follow from A, L, T and K; tokens are below A; whole numbers have no decimal point",
        "contexts ascend, are below A**L, and hold every context that one of them leads to",
        "abs(Σw − 1) ≤ 1e-9; largest reward ≤ 1e50 β and ≤ 1e50 β'",
        "what ref reaches: a token must follow each context, bos is never emitted, until eos each "
        "context can end; features and scales there lie in the accepted ranges",
        "eos and bos differ; start does not end in eos; start_feature goes with dense features only",
    ),
    example="signed-uniform",
)  # fmt: skip

_POLICY_KEYS = ("base", "tilts", "reward", "pairs")
_ATTRIBUTE_SET = Format(
    attribute_set.FORMAT,
    "EXACT: n ≤ 8 attributes that tilt a base policy over Y answers to P prompts, or a set function.",
    (
        *labels(attribute_set.FORMAT),
        Key("budget", whole(1, attribute_set.MOST_ATTRIBUTES), "k of (13), at most n", True),
        Key("base", or_null(table({**ENTRY, "minimum": 0}, 2)),
            "[P][Y] weights by prompt; 0 forbids an answer"),
        Key("tilts", or_null(table(ENTRY, 3)), "[n][P][Y] what an attribute adds, nats"),
        Key("interactions", or_null(table(ENTRY, 3)),
            "[n(n−1)/2][P][Y] what two together add, pairs a < b in lexicographic order, nats"),
        Key("reward", or_null(table(ENTRY, 2)), "[P][Y] the user's latent reward r*"),
        Key("pairs", or_null(table(
            {"type": "array", "items": whole(0), "minItems": 3, "maxItems": 3}, 1)),
            "[N][3] prompt, answer preferred, answer not"),
        Key("values", or_null(table(ENTRY, 1)),
            "[2**n] F of each set by bit mask, in place of all the policies"),
        Key("beta", POSITIVE, "β of (2), reward units per nat; 1 if not given"),
    ),
    rules=(
        {"oneOf": [present(*_POLICY_KEYS),
                   {**present("values"), "allOf": [absent(*_POLICY_KEYS, "interactions")]}]},
        {"if": present("base"), "then": absent("values")},
    ),
    beyond=(
        "shapes follow from n, P and Y; values has 2**n entries, n ≤ 8; budget ≤ n",
        "no row of base is all 0; a pair names two different answers that base allows",
    ),
    example="loud-and-even",
)  # fmt: skip

_TOPIC_CLOUD = Format(
    topic_cloud.FORMAT,
    "EXACT section 5.2: C topics in ℝᵈ, a user's past prompts around their centres, one test prompt.",
    (
        *labels(topic_cloud.FORMAT),
        Key("means", table(ENTRY, 2), "[C][d] μ_c, the centres", True),
        Key("counts", table(whole(1, int(topic_cloud.MOST_PROMPTS)), 1), "[C] n_c", True),
        Key("separation", POSITIVE, "r of (16), the least distance of two centres", True),
        Key("sigma", POSITIVE, "σ of (15), sub-Gaussian width of the noise", True),
        Key("delta", {**POSITIVE, "exclusiveMaximum": 1}, "δ of (18), a probability", True),
        Key("topic", whole(0), "j, the topic of the test prompt; 0 if not given"),
        Key("proportions", or_null(table(SHARE, 1)), "[C] p_c; n_c/m if not given"),
        Key("covariances", or_null(table(ENTRY, 3)), "[C][d][d] of Gaussian noise"),
        Key("points", or_null(table(ENTRY, 3)), "[C][M][d] atoms of bounded noise"),
        Key("weights", or_null(table(SHARE, 2)), "[C][M] of the atoms, each row sum 1"),
        Key("seed", whole(0), "of the Monte Carlo estimates; 0 if not given"),
        Key("draws", whole(2), "of the Monte Carlo estimates; 4096 if not given"),
    ),
    rules=(
        {"oneOf": [{**present("covariances"), "allOf": [absent("points", "weights")]},
                   {**present("points", "weights"), "allOf": [absent("covariances")]}]},
    ),
    beyond=(
        "shapes follow from C, d and M; topic < C; draws must fit half of the memory",
        "covariances are symmetric positive semidefinite; proportions and rows of weights sum to 1",
    ),
    example="two-points",
)  # fmt: skip

_PREFERENCE_PAIRS = Format(
    preference_pairs.FORMAT,
    "One user's N compared answers and a Gaussian prior of λ, for Appendix C of Spectral Souping.",
    (
        *labels(preference_pairs.FORMAT),
        Key("differences", table(ENTRY, 2),
            "[N][K] R_k(first) − R_k(second), the specialists' returns, reward units", True),
        Key("prior_mean", table(ENTRY, 1), "[K] λ̄_0", True),
        Key("prior_covariance", table(ENTRY, 2), "[K][K] S_0, positive definite", True),
        Key("labels", or_null(table({"enum": [1, -1]}, 1)),
            "[N] +1 where the first was preferred, −1 the second; all +1 if not given"),
        Key("beta", POSITIVE, "β of Δ = ±difference/β; 1 if not given"),
    ),
    beyond=(
        "shapes follow from N and K; prior_covariance is symmetric, its condition number ≤ 1e10",
        "largest difference ≤ 1e50 β",
    ),
    example="one-answer",
)  # fmt: skip

_WITNESS = Format(
    witness.FORMAT,
    "An instance of token-mdp/1 that breaks a claim, and what must be recomputed.",
    (
        Key("format", {"const": witness.FORMAT}, "names the format", True),
        Key("instance", _TOKEN_MDP.schema(), "the whole token MDP", True),
        Key("claim", TEXT, "the id of the claim that it breaks", True),
        Key("lambda", or_null(table(FINITE, 1)),
            "[K] where it is broken; null where the claim names no λ, or names λ*", True),
        Key("seed", whole(0, witness.MOST_SEED), "of the search that found it", True),
        Key("expected", exactly({"lhs": FINITE, "rhs": FINITE}), "both sides as found", True),
    ),
    beyond=("lambda has K entries; the claim is one of `soupcheck claims` (or of a plug-in)",),
    example="kl-natural",
)  # fmt: skip

_SOME = or_null({"type": "number"})
_COUNTS: Schema = {"type": "object", "additionalProperties": _SOME}
_LEDGER = Format(
    "ledger",
    "One line of `verify --json`: one claim on one instance. Not-a-number and infinities never stand in it.",
    (
        Key("instance", TEXT, "its name, or the file's stem", True),
        Key("family", or_null(TEXT), "the seeded family it is of, or file, witness, classic", True),
        Key("sha256", TEXT, "of the instance's content, name and meta left out", True),
        Key("claim", TEXT, "its id", True),
        Key("status", {"enum": ["proved", "refuted", "open", "hypothesis", "set-up"]},
            "what is known of the claim", True),
        Key("kind", {"enum": ["inequality", "equality"]}, "≤, or =", True),
        Key("verdict", {"enum": ["holds", "violated", "not-applicable", "undecided", "error"]},
            "what was found here", True),
        Key("lhs", _SOME, "left side; null where it could not be computed", True),
        Key("rhs", _SOME, "right side", True),
        Key("slack", _SOME, "rhs − lhs", True),
        Key("ratio", _SOME, "lhs/rhs where the sides were told apart", True),
        Key("error", _SOME, "radius of the floating-point error", True),
        Key("hypotheses", {"type": "object",
                           "additionalProperties": {"type": ["boolean", "null"]}},
            "by id: true, false, or null where rounding cannot tell", True),
        Key("reason", TEXT, "why not-applicable or undecided", True),
        Key("terms", _COUNTS, "what the right side is made of", True),
        Key("where", or_null({"type": "object", "additionalProperties": {"type": "integer"}}),
            "the place of the worst: t step, s context, a token, k specialist", True),
        Key("lambda", or_null({"type": "array", "items": _SOME}), "[K] judged at", True),
        Key("lambda_name", or_null(TEXT), "λ*, a specialist, the user's weights, a draw", True),
        Key("evidence", or_null(TEXT), "of λ*: multistart, grid or certified", True),
        Key("assumed", {"type": "array", "items": TEXT}, "what was taken as given", True),
        Key("seed", {"type": "integer"}, "of λ's draws and starts", True),
        Key("versions", {"type": "object", "additionalProperties": TEXT}, "of what computed it", True),
    ),
)  # fmt: skip

_SOLVE = Format(
    "solve",
    "What `solve --json` writes: one object, every key always there, null where absent.",
    (
        Key("V_w", _SOME, "V*_w(start), what bespoke RLHF earns", True),
        Key("V_k", {"type": "array", "items": _SOME}, "[K] the same for each reward", True),
        Key("lambda", {"type": "array", "items": _SOME}, "[K] λ*", True),
        Key("mu", {"type": "array", "items": _SOME}, "[K] λ*/β'", True),
        Key("J", _SOME, "J(λ*), what the soup earns", True),
        Key("gap", _SOME, "V_w − J(λ*), reward units", True),
        Key("budget_used", _SOME, "β|λ*|₁/β', at most 1", True),
        Key("status", TEXT, "stationary, zero or inaccurate", True),
        Key("evidence", TEXT, "multistart or certified", True),
        Key("upper_bound", _SOME, "on J over all soups, proved", True),
        Key("bound", or_null({"type": "object"}), "what that proof rests on", True),
        Key("kkt", _SOME, "residual of the optimality conditions", True),
        Key("start", TEXT, "where the winning climb began", True),
        Key("spread", _SOME, "of the values that climbs ended at", True),
        Key("local_optima", {"type": "integer"}, "how many were met", True),
        Key("residual", _SOME, "of the soft Bellman equations, as a share", True),
        Key("seconds", {"type": "number"}, "taken", True),
    ),
)  # fmt: skip

FORMATS: Mapping[str, Format] = {
    format.name: format
    for format in (
        _TOKEN_MDP, _ATTRIBUTE_SET, _TOPIC_CLOUD, _PREFERENCE_PAIRS, _WITNESS, _LEDGER, _SOLVE,
    )
}  # fmt: skip


def schema(name: str) -> Schema:
    """Return the JSON Schema of a format, say ``token-mdp/1``. Raises InstanceError for an unknown one."""
    if name not in FORMATS:
        raise InstanceError.of("format", name, "unknown", f"one of {list(FORMATS)}")
    return FORMATS[name].schema()
