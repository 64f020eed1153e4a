"""What rests on what: no circle, nothing proved on sand, and the command that shows it."""

from __future__ import annotations

import inspect
import json
import re
from graphlib import TopologicalSorter

import pytest

from bounds import CLAIMS
from bounds.cli import main
from bounds.proofs.dependence import LEMMAS, edges, rests_on
from toymdp import InstanceError

NAMED = re.compile(r"\b(?:ss|ex)(?:\.[A-Za-z0-9][A-Za-z0-9-]*)+")


def below(claim: str) -> set[str]:
    """The claim and all lemmas under it."""
    return {claim}.union(*(below(lemma) for lemma in LEMMAS.get(claim, ())))


def test_proved_rows_rest_on_proved_rows_without_a_circle():
    for claim, lemmas in LEMMAS.items():
        for name in (claim, *lemmas):
            assert CLAIMS[name].status == "proved", (claim, name)
    order = list(TopologicalSorter(LEMMAS).static_order())
    assert set(order) >= set(LEMMAS)


def test_lemmas_are_those_that_the_proofs_name():
    """An id that stands behind the word Proof in a proved row's docstring is one of its lemmas."""
    named = 0
    for claim in CLAIMS.values():
        text = inspect.getdoc(getattr(claim.sides, "func", claim.sides)) or ""
        _, _, proof = text.replace("\n.", ".").partition("Proof")
        proof, _, _ = proof.partition("\n\n")  # what follows says how the claim is judged
        found = {x for x in NAMED.findall(proof) if x in CLAIMS and CLAIMS[x].status == "proved"}
        if claim.status == "proved":
            # what the proof implies in passing points the other way
            said = {x for x in found if claim.id not in below(x)}
            assert said <= below(claim.id), claim.id
            named += len(said)
    assert named > 5


def test_both_ways_of_every_tie():
    for source, target, how in edges():
        found, back = rests_on(source), rests_on(target)
        forward = {
            "step": tuple(s.claim for s in found.steps), "lemma": found.lemmas,
            "instead": found.instead,
        }  # fmt: skip
        assert target in forward[how]
        assert source in {
            "step": back.step_of, "lemma": back.lemma_of, "instead": back.mends
        }[how]  # fmt: skip


def test_a_refuted_theorem():
    found = rests_on("ss.thm1.gap")
    assert found.breaks_at == "ss.proof.A"
    assert found.breaks_at in [step.claim for step in found.steps]
    assert {h.id for h in found.hypotheses} == {h.id for h in CLAIMS["ss.thm1.gap"].hypotheses}
    assert "ss.thm1.gap.constant-norm.conditional" in found.instead
    assert found.witnesses["gap-natural-T2"] is True
    assert rests_on("ss.proof.A").step_of == ("ss.thm1.gap", "ss.thm1.gap.constant-norm")
    with pytest.raises(InstanceError, match=r"ss\.x.*unknown"):
        rests_on("ss.x")


def test_the_command(capsys):
    for claim in CLAIMS:
        with pytest.raises(SystemExit) as stop:
            main(["rests-on", claim])
        assert stop.value.code == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert shown.startswith(f"{claim} ({CLAIMS[claim].status}), {CLAIMS[claim].source}")
        assert "says: " in shown
        for hypothesis in CLAIMS[claim].hypotheses:
            assert f"{hypothesis.id}:" in shown
    with pytest.raises(SystemExit) as stop:
        main(["rests-on", "ss.thm1.kl", "--json", "-"])
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(json.dumps(rests_on("ss.thm1.kl").as_dict()))
    assert found["breaks_at"] in [step["claim"] for step in found["steps"]]
    with pytest.raises(SystemExit) as stop:
        main(["rests-on", "ss.thm1.gpa"])
    assert stop.value.code == 2
