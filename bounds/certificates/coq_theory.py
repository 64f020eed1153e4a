"""The part of a Coq file that is the same for every instance: the papers' definitions, then lemmas.

Each block is Coq text; ``UNFOLDED`` names what a proof unfolds before ``interval`` sees the goal.
"""

from __future__ import annotations

HEAD = """\
From Coq Require Import Reals List Lia Lra.
From Interval Require Import Tactic.
Import ListNotations.
Open Scope R_scope.

(* c @ j is a feature of value c at coordinate j; coordinates that are not listed are 0. *)
Notation "c @ j" := (pair c%R j%nat) (at level 60, only parsing).
Definition vector := list (R * nat).
"""

THEORY = """\
Definition sum {X} (xs : list X) (f : X -> R) : R := fold_right (fun x rest => f x + rest) 0 xs.

(* A context s holds the last L tokens as digits to base A, oldest first; a token a is appended. *)
Definition next (s a : nat) : nat := ((s * A + a) mod A ^ L)%nat.

(* The reference policy, and E_ref x((s,a)) over its next token. *)
Definition total (s : nat) : R := sum (allowed s) (fun a => nth a (weight s) 0).
Definition ref (s a : nat) : R := nth a (weight s) 0 / total s.
Definition E_ref (s : nat) (x : nat -> R) : R := sum (allowed s) (fun a => ref s a * x (next s a)).

(* r_1 .. r_K are numbered from 0; r_w = Sum_k w_k r_k. *)
Definition specialists : list nat := seq 0 K.
Inductive taste := specialist (k : nat) | user.
Definition tastes : list taste := user :: map specialist specialists.
Definition r (who : taste) (s' : nat) : R :=
  match who with
  | specialist k => reward k s'
  | user => sum specialists (fun k => w k * reward k s')
  end.

(* (2)-(4): V = beta log E_ref exp(Q/beta), Q = r + V of the next step; n steps are left. *)
Fixpoint V_left (who : taste) (n s : nat) : R :=
  match n with
  | O => 0
  | S m =>
      if ended s then 0
      else beta * ln (E_ref s (fun s' => exp ((r who s' + V_left who m s') / beta)))
  end.
Definition V (who : taste) (t s : nat) : R := V_left who (T - t) s.
Definition Q (who : taste) (t s' : nat) : R := r who s' + V who (t + 1) s'.
Definition pi (who : taste) (t s a : nat) : R :=
  ref s a * exp ((Q who t (next s a) - V who t s) / beta).

(* What the reference policy reaches: contexts at step t, and the (s,a) taken from there. *)
Definition steps : list nat := seq 0 T.
Definition onward (s : nat) : list nat := map (next s) (allowed s).
Fixpoint states (t : nat) : list nat :=
  match t with
  | O => [start]
  | S before =>
      nodup PeanoNat.Nat.eq_dec
        (filter (fun s => negb (ended s)) (flat_map onward (states before)))
  end.
Definition successors (t : nat) : list nat :=
  nodup PeanoNat.Nat.eq_dec (flat_map onward (states t)).
"""

SOUP = """\
(* (7): the soup is ref exp(Sum_k lambda_k Q_k / beta'), normalised. *)
Definition mixed (t s' : nat) : R := sum specialists (fun k => lambda k * Q (specialist k) t s') / beta'.
Definition log_Z (t s : nat) : R := ln (E_ref s (fun s' => exp (mixed t s'))).
Definition soup (t s a : nat) : R := ref s a * exp (mixed t (next s a) - log_Z t s).
Definition lambda_1 : R := sum specialists (fun k => Rabs (lambda k)).  (* |lambda|_1 *)
"""

KL = """\
Definition KL (s : nat) (p q : nat -> R) : R := sum (allowed s) (fun a => p a * ln (p a / q a)).
"""

DOT = """\
Definition dot (x : vector) (nu : nat -> R) : R := sum x (fun '(c, j) => c * nu j).
"""

FEATURES = """\
(* X(t,s,a) = psi((s,a)).nu on everything that is reachable. *)
Definition represents (nu : nat -> R) (X : nat -> nat -> R) : Prop :=
  forall t s', In t steps -> In s' (successors t) -> dot (psi t s') nu = X t s'.
"""

NORMS = """\
Definition norm (x : vector) : R := sqrt (sum x (fun '(c, _) => c ^ 2)).
Definition size (nu : nat -> R) : R := sqrt (sum coordinates (fun j => nu j ^ 2)).
Definition E_norm (t s : nat) (p : nat -> R) : R := sum (allowed s) (fun a => p a * norm (psi t (next s a))).
"""

MEANS = """\
(* The norm of a mean, coordinate by coordinate: ||E_p f(psi)||, where f(0) = 0. *)
Definition has (j : nat) (x : vector) : bool := existsb (fun '(_, i) => Nat.eqb i j) x.
Definition norm_E (t s : nat) (p : nat -> R) (f : R -> R) : R :=
  size (fun j => sum (filter (fun a => has j (psi t (next s a))) (allowed s)) (fun a =>
    sum (psi t (next s a)) (fun '(c, i) => if Nat.eqb i j then p a * f c else 0))).
"""

EXTREMES = """\
Fixpoint least {X} (xs : list X) (f : X -> R) : R :=
  match xs with
  | [] => 0
  | [x] => f x
  | x :: rest => Rmin (f x) (least rest f)
  end.
"""

LEAST = """\
Lemma least_le {X} (xs : list X) (f : X -> R) x : In x xs -> least xs f <= f x.
Proof.
  induction xs as [|y [|z rest] above]; intros here.
  - destruct here.
  - destruct here as [<- | []]; simpl; lra.
  - destruct here as [<- | here]; [apply Rmin_l |].
    eapply Rle_trans; [apply Rmin_r | exact (above here)].
Qed.
"""

ODDS = """\
Lemma log_odds p q u v z : p = exp u / z -> q = exp v / z -> 0 < z -> ln p - ln q = u - v.
Proof.
  intros -> -> above; assert (0 < / z) by (apply Rinv_0_lt_compat; exact above).
  unfold Rdiv; rewrite !ln_mult, !ln_exp by (first [apply exp_pos | assumption]); ring.
Qed.
Lemma positive {X} (xs : list X) f x : In x xs -> 0 < sum xs (fun x => exp (f x)).
Proof.
  assert (above : forall xs, 0 <= sum xs (fun x => exp (f x))).
  { intros some; induction some as [|y rest low]; [apply Rle_refl |].
    assert (0 < exp (f y)) by apply exp_pos; unfold sum in *; simpl; lra. }
  destruct xs as [|y rest]; intros here; [destruct here |].
  assert (0 < exp (f y)) by apply exp_pos; assert (low := above rest).
  unfold sum in *; simpl; lra.
Qed.
"""

RMIN = """\
(* interval knows |x| but neither min nor max. *)
Lemma Rmin_is x y : Rmin x y = (x + y - Rabs (x - y)) / 2.
Proof. unfold Rmin, Rabs; destruct (Rle_dec x y), (Rcase_abs (x - y)); lra. Qed.
Lemma Rmax_is x y : Rmax x y = (x + y + Rabs (x - y)) / 2.
Proof. unfold Rmax, Rabs; destruct (Rle_dec x y), (Rcase_abs (x - y)); lra. Qed.
"""

PLACE = """\
(* For all (t,s') that are reachable, one after the other. *)
Ltac each_place t s' :=
  let at_t := fresh in let at_s := fresh in intros t s' at_t at_s; vm_compute in at_t;
  repeat (destruct at_t as [<- | at_t];
    [vm_compute in at_s; repeat (destruct at_s as [<- | at_s]; [ | ]); try contradiction | ]);
  try contradiction.
"""

TACTICS = """\
(* Unfolds all but V and log Z, whose enclosures are lemmas, each proved from those before it. *)
Ltac unfolded := cbv [
NAMES];
  repeat rewrite Rmin_is; repeat rewrite Rmax_is; TOTALS
  repeat match goal with |- context [V_left ?who ?n ?s] =>
    let over := eval vm_compute in (Nat.eqb n 0 || ended s)%bool in
    match over with true => change (V_left who n s) with 0 end
  end.
Ltac evaluate := unfolded; interval with (i_prec BITS).

Lemma V_step who n s : V_left who (S n) s =
  if ended s then 0
  else beta * ln (E_ref s (fun s' => exp ((r who s' + V_left who n s') / beta))).
Proof. reflexivity. Qed.
Ltac one_step := rewrite V_step; evaluate.
"""

UNFOLDED = {
    "THEORY": "A L T K beta weight allowed ended reward w sum next ref E_ref specialists r V Q pi "
    "fold_right map nth seq Nat.add Nat.sub Nat.mul Nat.pow Nat.modulo Nat.divmod Nat.eqb "
    "Init.Nat.add Init.Nat.sub Init.Nat.mul Init.Nat.pow Init.Nat.modulo Init.Nat.eqb fst snd",
    "SOUP": "lambda beta' mixed soup lambda_1",
    "KL": "KL",
    "DOT": "dot",
    "FEATURES": "psi",
    "NORMS": "coordinates norm size E_norm",
    "MEANS": "norm_E has existsb filter orb",
    "EXTREMES": "least",
}
