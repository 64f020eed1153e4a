"""Sequences drawn from a policy, against its exact occupancies."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_mdp

from toymdp import InstanceError
from toymdp.exact.policy import Policy
from toymdp.exact.sampling import log_norms, loss_minimisers, sample


def contexts(mdp, tokens):
    """Context indices [n, T] after each token, from the tokens alone."""
    whole = np.hstack([np.tile(mdp.start, (len(tokens), 1)), tokens])
    weights = mdp.vocab_size ** np.arange(mdp.order)[::-1]
    windows = np.lib.stride_tricks.sliding_window_view(whole, mdp.order, axis=1)
    return (windows @ weights)[:, 1:]


@pytest.mark.parametrize("eos", [None, 2])
def test_frequencies_are_the_occupancies(eos):
    mdp = random_mdp(5, forbid=0.3, eos=eos)
    G = np.random.default_rng(0).normal(size=(mdp.horizon, mdp.n_contexts))
    n = 20_000
    tokens = sample(mdp, G, n, seed=1)
    after = contexts(mdp, tokens)
    live = np.ones(n, dtype=bool)
    for t, expected in enumerate(Policy(mdp, G).occupancy.nexts):
        found = np.bincount(after[live, t], minlength=mdp.n_contexts) / n
        error = np.sqrt(expected * (1 - expected) / n)
        assert (np.abs(found - expected) <= 5 * error + 1e-12).all()
        assert (found[expected == 0] == 0).all()
        live &= tokens[:, t] != (-1 if eos is None else eos)
    if eos is not None:
        first = np.argmax(tokens == eos, axis=1)
        ended = (tokens == eos).any(axis=1)
        rest = np.arange(tokens.shape[1]) >= first[:, None]
        assert ended.any()
        assert (tokens[ended] == eos)[rest[ended]].all()


def test_seed_decides_and_sequences_need_an_end():
    mdp = random_mdp(0)
    G = np.zeros((mdp.horizon, mdp.n_contexts))
    assert (sample(mdp, G, 50, seed=3) == sample(mdp, G, 50, seed=3)).all()
    assert (sample(mdp, G, 50, seed=3) != sample(mdp, G, 50, seed=4)).any()
    endless = random_mdp(0, T=None, eos=2)
    with pytest.raises(InstanceError, match="horizon"):
        sample(endless, np.zeros((1, endless.n_contexts)), 5)


@pytest.mark.parametrize(("t", "s"), [(4, 0), (-1, 0), (0, 9), (0, -1)])
def test_places_outside_the_tables_are_refused(t, s):
    """A kernel would read beyond them."""
    mdp = random_mdp(0, T=4)
    Q, places = np.zeros((2, 4, 9)), np.array([[0, t], [0, s]])
    log_norms(mdp, Q, 1.0, np.array([0, 3]), np.array([0, 8]))
    with pytest.raises(ValueError, match="places outside"):
        log_norms(mdp, Q, 1.0, places[0], places[1])
    with pytest.raises(ValueError, match="places outside"):
        log_norms(mdp, Q, 1.0, np.array([0, 3]), np.array([0]))
    data = np.full((2, 2, 3), 1 / 3)
    loss_minimisers(data, Q, 1.0, np.array([0, 6]), np.array([0, 3]))
    with pytest.raises(ValueError, match="places outside"):
        loss_minimisers(data, Q, 1.0, np.array([0, 7]), np.array([0, 3]))
    with pytest.raises(ValueError, match="states"):
        loss_minimisers(data, Q, 1.0, np.array([0]), np.array([0]))
