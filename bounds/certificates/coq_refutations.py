"""What a claim in Coq's words consists of, and the claims whose refutation is more than two sides.

In the texts AT stands for the place that a witness names, WHO for its taste, and so on (``coq``
fills them in). ``broken`` is ``left > right`` there, ``refuted`` how the claim's negation follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .coq_states import StateRows, state_rows_of
from .coq_theory import ODDS
from .instance import Witness


@dataclass(frozen=True)
class CoqClaim:
    """How one claim is written.

    blocks: of the theory. says: the paper's sentence. statement: the definition of ``claim`` and of
    what it needs. left, right: the sides there. refuted: as above. names: what is unfolded of the
    statement. lemmas: on the way.
    last: lemmas that need the enclosures, KNOWN. nu: it speaks of the nu of Lemma 1. user: r_w occurs.
    rows: the rows psi(s) that it speaks of, at the place, where it does.
    """

    blocks: tuple[str, ...]
    says: str
    statement: str
    left: str
    right: str
    refuted: str
    names: str = ""
    lemmas: str = ""
    last: str = ""
    nu: bool = False
    user: bool = True
    rows: Callable[[Witness, dict[str, int]], StateRows] | None = None


_IN = "In t steps -> In s (states t)"

_Y = """\
(* Weights of the places, with Sum_y psi = 0: they see nothing that is linear in the features. *)
Lemma y_ignores_features nu : sum y (fun '(c, (t, s')) => c * dot (psi t s') nu) = 0.
Proof. cbv [sum fold_right y dot psi]; field. Qed.
"""


def _lemma1(says: str, statement: str, has: str) -> CoqClaim:
    return CoqClaim(
        ("DOT", "FEATURES"), says, statement,
        "Rabs (sum y (fun '(c, (t, s')) => c * Q WHO t s'))", "0",
        f"intros says; assert (has : {has}) by (apply says; vm_compute; auto 99).\n"
        "  destruct has as [nu is_linear].\n"
        "  assert (none := y_ignores_features nu); assert (some := broken).\n"
        "  cbv [sum fold_right y] in none, some.\n"
        "  rewrite !is_linear in none by (vm_compute; auto 99).\n"
        "  rewrite none, Rabs_R0 in some; lra.",
        "y", _Y,
    )  # fmt: skip


_LINEAR = "rewards that are linear in psi (assumption_1 below) have Q_k = psi.nu"

REFUTATIONS: dict[str, CoqClaim] = {
    "ss.lemma1": _lemma1(
        f"Lemma 1, (6): {_LINEAR}, one nu for all steps; so has Q_w",
        "Definition claim : Prop := forall who, In who tastes -> exists nu, represents nu (Q who).\n",
        "exists nu, represents nu (Q WHO)",
    ),
    "ss.lemma1.per-step": _lemma1(
        f"Lemma 1, (6), with a nu for each step: {_LINEAR}; so has Q_w",
        "Definition claim : Prop := forall who t, In who tastes -> In t steps ->\n"
        "  exists nu, forall s', In s' (successors t) -> dot (psi t s') nu = Q who t s'.\n",
        "exists nu, forall s', In s' (successors STEP) ->\n"
        "    dot (psi STEP s') nu = Q WHO STEP s'",
    ),
    "ss.proof.single-exponential": CoqClaim(
        ("DOT",),
        "App. A.1: ref = softmax(psi(s).nu_ref(a)), and the integral of its exponentials is one\n"
        "   exponential exp(psi(s).nu)",
        "Definition claim : Prop := exists (nu_ref : nat -> nat -> R) (nu : nat -> R),\n"
        "  (forall s x a, In (s, x) rows -> In a (allowed s) -> ref s a =\n"
        "    exp (dot x (nu_ref a)) / sum (allowed s) (fun b => exp (dot x (nu_ref b)))) /\\\n"
        "  (forall s x, In (s, x) rows ->\n"
        "    sum (allowed s) (fun b => exp (dot x (nu_ref b))) = exp (dot x nu)).\n"
        "(* The mean over tokens of log ref(a|s): by the claim it is linear in psi(s). *)\n"
        "Definition mean_log (s : nat) : R :=\n"
        "  sum (allowed s) (fun a => ln (ref s a)) / sum (allowed s) (fun _ => 1).\n",
        "Rabs (sum y (fun '(c, (s, _)) => c * mean_log s))", "0",
        "intros [nu_ref [nu [soft whole]]]; apply (Rgt_not_eq _ _ broken).\n"
        "  assert (linear : forall s x a, In (s, x) rows -> In a (allowed s) ->\n"
        "    ln (ref s a) = dot x (nu_ref a) - dot x nu) by (intros; eapply one_exponential; eauto).\n"
        "  cbv [sum fold_right y mean_log allowed].\n"
        "  rewrite EACH by (cbv [rows In allowed]; auto 99).\n"
        "  transitivity (Rabs 0); [apply f_equal; cbv [VECTORS dot sum fold_right]; field | exact Rabs_R0].",
        "y mean_log",
        "Lemma one_exponential p u z v : p = exp u / z -> z = exp v -> ln p = u - v.\n"
        "Proof.\n"
        "  intros -> ->; unfold Rdiv; rewrite <- exp_Ropp, <- exp_plus, ln_exp; ring.\n"
        "Qed.\n",
        user=False, rows=state_rows_of,
    ),
    "ss.eq13.single-vector": CoqClaim(
        ("DOT",),
        "(13) with one vector for each continuation: the law of the next L tokens is a softmax\n"
        "   linear in psi((s,a))",
        "(* What may follow a context, n tokens long, and its probability. *)\n"
        "Fixpoint continuations (n s : nat) : list (list nat) :=\n"
        "  match n with\n"
        "  | O => [[]]\n"
        "  | S m => if ended s then []\n"
        "      else flat_map (fun a => map (cons a) (continuations m (next s a))) (allowed s)\n"
        "  end.\n"
        "Fixpoint law (s : nat) (c : list nat) : R :=\n"
        "  match c with [] => 1 | a :: rest => ref s a * law (next s a) rest end.\n"
        "Definition claim : Prop := exists nu : list nat -> nat -> R,\n"
        "  forall s x c, In (s, x) rows -> In c (continuations L s) -> law s c =\n"
        "    exp (dot x (nu c)) / sum (continuations L s) (fun d => exp (dot x (nu d))).\n"
        "(* Two continuations; by the claim their log-odds are linear in psi. *)\n"
        "Definition this : list nat := FIRST.\n"
        "Definition that : list nat := SECOND.\n",
        "Rabs (sum y (fun '(c, (s, _)) => c * (ln (law s this) - ln (law s that))))", "0",
        "intros [nu soft]; apply (Rgt_not_eq _ _ broken).\n"
        "  assert (linear : forall s x, In (s, x) rows -> ln (law s this) - ln (law s that)\n"
        "    = dot x (nu this) - dot x (nu that)).\n"
        "  { intros s x here; destruct (both_follow s x here) as [one two].\n"
        "    eapply log_odds; [exact (soft s x _ here one) | exact (soft s x _ here two) |].\n"
        "    exact (positive _ (fun d => dot x (nu d)) this one). }\n"
        "  cbv [sum fold_right y].\n"
        "  rewrite EACH by (cbv [rows In]; auto 99).\n"
        "  transitivity (Rabs 0); [apply f_equal; cbv [VECTORS dot sum fold_right]; field | exact Rabs_R0].",
        "y law this that",
        ODDS
        + "Lemma both_follow s x : In (s, x) rows ->\n"
        "  In this (continuations L s) /\\ In that (continuations L s).\n"
        "Proof.\n"
        "  intros here; cbv [rows In] in here.\n"
        "  repeat (destruct here as [same | here];\n"
        "    [injection same as <- _; split; vm_compute; auto 999 |]); contradiction.\n"
        "Qed.\n",
        user=False, rows=state_rows_of,
    ),
    "ss.eq12": CoqClaim(
        (),
        "(12) as typed: Q((s,a)) = r + beta log E_ref exp(r/beta + .. + Q of step t+L), with the last\n"
        "   action free and the last Q outside 1/beta",
        "Fixpoint unrolled (who : taste) (n s : nat) (last : nat -> R) : R :=\n"
        "  if ended s then 0\n"
        "  else match n with\n"
        "  | O => last s\n"
        "  | S m => ln (E_ref s (fun s' => exp (r who s' / beta + unrolled who m s' last)))\n"
        "  end.\n"
        "Definition typed (free : nat -> nat) (k t s' : nat) : R :=\n"
        "  r (specialist k) s' + beta * unrolled (specialist k) (L - 1) s'\n"
        "    (fun s => Q (specialist k) (t + L) (next s (free s))).\n"
        "Definition claim : Prop := forall free k t s',\n"
        "  In k specialists -> In t steps -> In s' (successors t) -> ended s' = false ->\n"
        "  (t + L < T)%nat -> (forall s, In s (states (t + L)) -> In (free s) (allowed s)) ->\n"
        "  typed free k t s' = Q (specialist k) t s'.\n",
        "Rabs (typed free AT - Q (specialist NUMBER) STEP STATE)", "0",
        "intros says; apply (Rgt_not_eq _ _ broken); rewrite says;\n"
        "  [rewrite Rminus_eq_0; exact Rabs_R0 | vm_compute; auto 99 .. |].\n"
        "  intros s here; vm_compute in here.\n"
        "  repeat (destruct here as [<- | here]; [vm_compute; auto 99 |]); contradiction.",
        "unrolled typed free", user=False,
    ),
    "ss.delta.anchor": CoqClaim(
        ("EXTREMES",),
        "(17): x = pi_k/ref lies in [m, M], and |x - a| <= a; then\n"
        "   log E_ref[1/x] E_ref[x] is at most log (2a - 1) / (m (2a - m))",
        "Definition x (k t s a : nat) : R := pi (specialist k) t s a / ref s a.\n"
        "Definition m (k t s : nat) : R := least (allowed s) (x k t s).\n"
        "Definition M (k t s : nat) : R := - least (allowed s) (fun a => - x k t s a).\n"
        "Definition lhs (k t s : nat) : R :=\n"
        "  ln (sum (allowed s) (fun a => ref s a / x k t s a)\n"
        "      * sum (allowed s) (fun a => ref s a * x k t s a)).\n"
        "Definition rhs (anchor : R) (k t s : nat) : R :=\n"
        "  ln ((2 * anchor - 1) / (m k t s * (2 * anchor - m k t s))).\n"
        f"Definition claim : Prop := forall k t s anchor, In k specialists -> {_IN} ->\n"
        "  (forall a, In a (allowed s) -> Rabs (x k t s a - anchor) <= anchor) ->\n"
        "  lhs k t s <= rhs anchor k t s.\n"
        "(* The anchor that refutes it. *)\n"
        "Definition lowest (k t s : nat) : R := Rmax (m k t s) (M k t s / 2).\n",
        "lhs AT", "rhs (lowest AT) AT",
        "intros says; apply (Rlt_not_le _ _ broken); apply says;\n"
        "  [vm_compute; auto 99 .. | exact anchor_is_allowed].",
        "x m M lowest",
        "Lemma within (x m M : R) : 0 <= x -> x <= M -> Rabs (x - Rmax m (M / 2)) <= Rmax m (M / 2).\n"
        "Proof.\n"
        "  intros low high; assert (half := Rmax_r m (M / 2)); apply Rabs_le; lra.\n"
        "Qed.\n"
        "Lemma x_below_M k t s a : In a (allowed s) -> x k t s a <= M k t s.\n"
        "Proof.\n"
        "  intros here; assert (low := least_le (allowed s) (fun a => - x k t s a) a here).\n"
        "  unfold M; simpl in low; lra.\n"
        "Qed.\n",
        "Lemma anchor_is_allowed :\n"
        "  forall a, In a (allowed STATE) -> Rabs (x AT a - lowest AT) <= lowest AT.\n"
        "Proof.\n"
        "  intros a here; apply within; [| apply x_below_M; exact here].\n"
        "  KNOWN; vm_compute in here.\n"
        "  repeat (destruct here as [<- | here]; [evaluate |]); contradiction.\n"
        "Qed.\n",
        user=False,
    ),
    "ss.proof.nonneg.without": CoqClaim(
        ("SOUP",),
        "App. A.2, at the start:\n"
        "   (beta/beta') Sum_k lambda_k V_k is at most Sum_k |lambda_k| V_k / |lambda|_1",
        "Definition lhs : R :=\n"
        "  beta / beta' * sum specialists (fun k => lambda k * V (specialist k) 0 start).\n"
        "Definition rhs : R :=\n"
        "  sum specialists (fun k => Rabs (lambda k) * V (specialist k) 0 start) / lambda_1.\n"
        "Definition claim : Prop := lhs <= rhs.\n",
        "lhs", "rhs", "exact (Rlt_not_le _ _ broken).", "start", user=False,
    ),
    "ss.proof.A": CoqClaim(
        ("SOUP", "EXTREMES"),
        "A(s), at the start: some one policy has an expected Sum_k |lambda_k|/|lambda|_1 X_k that is\n"
        "   at most Sum_k |lambda_k|/|lambda|_1 E_pi_k[X_k], X_k the total of r_w - r_k",
        "Definition X (k s' : nat) : R := r user s' - reward k s'.\n"
        "Definition v (k : nat) : R := Rabs (lambda k) / lambda_1.\n"
        "(* the expected total of c over the n steps that are left *)\n"
        "Fixpoint E_total (p : nat -> nat -> nat -> R) (c : nat -> R) (n s : nat) : R :=\n"
        "  match n with\n"
        "  | O => 0\n"
        "  | S m =>\n"
        "      if ended s then 0\n"
        "      else sum (allowed s) (fun a =>\n"
        "        p (T - n)%nat s a * (c (next s a) + E_total p c m (next s a)))\n"
        "  end.\n"
        "Definition policy (p : nat -> nat -> nat -> R) : Prop := forall t s,\n"
        "  (forall a, In a (allowed s) -> 0 <= p t s a) /\\\n"
        "  (allowed s <> [] -> sum (allowed s) (p t s) = 1).\n"
        "Definition mismatch (s' : nat) : R := sum specialists (fun k => v k * X k s').\n"
        "Definition rhs : R :=\n"
        "  sum specialists (fun k => v k * E_total (pi (specialist k)) (X k) T start).\n"
        "Definition claim : Prop := exists p, policy p /\\ E_total p mismatch T start <= rhs.\n",
        "lhs", "rhs",
        "intros [p [is_policy says]]; apply (Rlt_not_le _ _ broken).\n"
        "  exact (Rle_trans _ _ _ (least_total_is_least p mismatch is_policy T start) says).",
        "X v E_total mismatch least_total start",
        "(* No policy has less than what the best token of each step leaves. *)\n"
        "Fixpoint least_total (c : nat -> R) (n s : nat) : R :=\n"
        "  match n with\n"
        "  | O => 0\n"
        "  | S m => if ended s then 0\n"
        "      else least (allowed s) (fun a => c (next s a) + least_total c m (next s a))\n"
        "  end.\n"
        "Definition lhs : R := least_total mismatch T start.\n"
        "Lemma mean_above (xs : list nat) p x low :\n"
        "  (forall a, In a xs -> 0 <= p a) -> (forall a, In a xs -> low <= x a) ->\n"
        "  low * sum xs p <= sum xs (fun a => p a * x a).\n"
        "Proof.\n"
        "  induction xs as [|a rest above]; intros positive higher; simpl; [lra |].\n"
        "  assert (0 <= p a) by (apply positive; simpl; auto).\n"
        "  assert (low <= x a) by (apply higher; simpl; auto).\n"
        "  assert (low * sum rest p <= sum rest (fun a => p a * x a))\n"
        "    by (apply above; intros; [apply positive | apply higher]; simpl; auto).\n"
        "  unfold sum in *; nra.\n"
        "Qed.\n"
        "Lemma least_total_is_least p c : policy p -> forall n s, least_total c n s <= E_total p c n s.\n"
        "Proof.\n"
        "  intros is_policy; induction n as [|m below]; intros s; cbn [least_total E_total]; [lra |].\n"
        "  destruct (ended s); [lra |]; destruct (is_policy (T - S m)%nat s) as [positive whole].\n"
        "  destruct (allowed s) as [|a rest]; [apply Rle_refl |].\n"
        "  set (xs := a :: rest) in *.\n"
        "  set (low := least xs _).\n"
        "  replace low with (low * sum xs (p (T - S m)%nat s)) by (rewrite whole; [ring | discriminate]).\n"
        "  apply mean_above; [exact positive |]; intros b here.\n"
        "  eapply Rle_trans; [apply (least_le xs _ b here) | simpl; specialize (below (next s b)); lra].\n"
        "Qed.\n",
    ),
}  # fmt: skip
