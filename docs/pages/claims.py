"""One page a claim, from the catalogue: statement, reading, proof, picture, witness, ties."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from importlib import import_module

from bounds.claim import Claim
from bounds.claims.catalogue import CLAIMS
from bounds.proofs.dependence import rests_on
from bounds.proofs.walk import printed_proof
from bounds.records.witness import Witness, stored_certificates, stored_witnesses
from bounds.report.mathml import breakable
from bounds.report.sections import anchor
from bounds.report.summary import weights
from toymdp import TokenMDP
from toymdp.shown import short

from .symbols import explained
from .text import code, page, paragraphs, plain, table

# the figure that shows a claim, of those in paper_figs/gallery
PICTURES: Mapping[str, str] = {
    "ss.thm1.gap": "tightness", "ss.thm1.gap.minimal": "tightness", "ss.thm1.gap.bennett": "rungs",
    "ss.thm1.gap.sharp": "rungs", "ss.thm1.gap.chord": "rungs", "ss.thm1.gap.mean-shift": "rungs",
    "ss.thm1.gap.constant-norm": "natural", "ss.thm1.kl": "natural", "ss.proof.A": "waterfall",
    "ss.lemma1": "lemma1", "ss.lemma1.per-step": "lemma1", "ss.lemma1.desirability": "desirability",
    "ss.delta": "delta", "ss.delta.renyi": "delta", "ss.eq8.simplex": "landscape",
    "ss.thm1.gap.apriori": "disagreement", "ss.sec4.implicit": "implicit",
    "ss.sec4.implicit.repaired": "implicit", "ex.eq19": "topics",
}  # fmt: skip
# paper, page, what stands there, and the claims: each belongs to the first that its id matches
GROUPS = (
    ("Spectral Souping", "setup", "The set-up, (2) to (5)", "ss.asm* ss.eq2-4"),
    ("Spectral Souping", "lemma1", "Lemma 1, (6), and its proof, (11) to (13)",
     "ss.lemma1* ss.eq1* ss.gaussian* ss.proof.single*"),
    ("Spectral Souping", "soup", "The soup, (7), and the best one, (8)",
     "ss.eq7* ss.eq8* ss.betaprime ss.span*"),
    ("Spectral Souping", "kl", "Theorem 1, KL: (9), and its proof, (14)", "ss.thm1.kl* ss.proof.kl*"),
    ("Spectral Souping", "gap", "Theorem 1, the gap: (10)", "ss.thm1*"),
    ("Spectral Souping", "gap-proof", "The proof of (10): A(s), B(s), C(s), (15), (16)", "ss.proof*"),
    ("Spectral Souping", "penalty", "The penalty Δ_k: (17), (18)", "ss.delta*"),
    ("Spectral Souping", "learning", "Section 4: learning λ, and using it",
     "ss.sec4* ss.null-space ss.psoups*"),
    ("Spectral Souping", "appendix-c", "Appendix C: updates of λ, (19) to (22)", "ss.appC*"),
    ("Spectral Souping", "more", "More", "ss.*"),
    ("EXACT", "attributes", "Choosing attributes: (5) to (14)", "ex.propA1 ex.eq10* ex.thm5.1*"),
    ("EXACT", "topics", "Pooling and retrieval: (17), (19)", "ex.*"),
    ("Others", "others", "Of installed packages", "*"),
)  # fmt: skip
KINDS = {"inequality": "left ≤ right", "equality": "left = right"}
JUDGED = {
    "instance": "once on the instance", "optimum": "at λ\\*, the best soup",
    "every": "at every λ of a standard set (λ\\*, the user's weights, each specialist, signed draws); the "
    "worst is reported",
}  # fmt: skip


def pages() -> dict[str, str]:
    """File name -> Markdown, one a claim, one a section of a paper, and the list of all."""
    witnesses = stored_witnesses()
    sections = _sections()
    made = {"index": _index(sections)}
    for (_, name, title, _), claims in sections.items():
        made[f"section-{name}"] = page(f"# {title}", _table(claims), _contents(map(_file, claims)))
    for claim in CLAIMS.values():
        made[anchor(claim.id)] = _page(claim, [w for w in witnesses if w.claim == claim.id])
    return made


def link(claim_id: str) -> str:
    """A link to a claim's page from another claim's."""
    return f"[{claim_id}]({anchor(claim_id)}.md)"


Section = tuple[str, str, str, str]


def _sections() -> dict[Section, list[Claim]]:
    """The sections that hold a claim, with their claims."""
    found: dict[Section, list[Claim]] = {group: [] for group in GROUPS}
    for claim in CLAIMS.values():
        own = (g for g in GROUPS if any(fnmatch(claim.id, pattern) for pattern in g[3].split()))
        found[next(own)].append(claim)
    return {section: claims for section, claims in found.items() if claims}


def _index(sections: Mapping[Section, list[Claim]]) -> str:
    counts = {s: sum(c.status == s for c in CLAIMS.values()) for s in ("proved", "refuted")}
    parts = [
        "# Claims",
        f"{len(CLAIMS)} statements: {counts['proved']} proved, {counts['refuted']} refuted. A refuted one is "
        "false in general, and may well hold on an instance; its page says when it is true, and what "
        "is true in its place.",
    ]
    for paper in dict.fromkeys(section[0] for section in sections):
        parts.append(f"## {paper}")
        for section, claims in sections.items():
            if section[0] == paper:
                parts += [f"### {section[2]}", _table(claims)]
    return page(*parts, _contents(f"section-{name}" for _, name, _, _ in sections))


def _table(claims: Iterable[Claim]) -> str:
    rows = [
        (
            _number(c),
            f"{link(c.id)}{plain(f': {c.title}' if c.title else '')}",
            c.status,
            plain(c.reason),
        )
        for c in claims
    ]
    return table(("where", "claim", "status", "why"), rows)


def _contents(files: Iterable[str]) -> str:
    return "```{toctree}\n:hidden:\n\n" + "\n".join(files) + "\n```"


def _file(claim: Claim) -> str:
    return anchor(claim.id)


def _page(claim: Claim, witnesses: list[Witness]) -> str:
    ties, proof = rests_on(claim.id), printed_proof(claim.id)
    doc = claim.sides.__doc__ or type(claim.sides).__doc__
    about = [
        ("status", f"**{claim.status}**: {plain(claim.reason)}"), ("where", _where(claim)),
        ("compares", f"{KINDS[claim.kind]}, judged {JUDGED[claim.at]}"),
        ("speaks of", f"instances of {code(claim.world)}, see [formats](../formats.md)"),
    ]  # fmt: skip
    return page(
        f"# {_title(claim)}", f"<div class='statement'>{breakable(claim.statement)}</div>",
        table(("", ""), about), _symbols(claim),
        f"**Reading.** {plain(proof.reading)}." if proof.reading else "",
        _hypotheses(claim), _true_when(claim, ties.instead), _proof(claim, paragraphs(doc)),
        _steps(claim), _picture(claim.id), _witnesses(claim, witnesses),
        _ties(ties.lemmas, ties.step_of, ties.lemma_of, ties.mends), _try(claim, witnesses),
    )  # fmt: skip


def _where(claim: Claim) -> str:
    """Its place in the paper; and a word for each number, since a search drops bare digits."""
    words = [f"eq{number}" for number in re.findall(r"\((\d+)\)", claim.source)]
    return plain(claim.source) + (f" ({', '.join(words)})" if words else "")


def _title(claim: Claim) -> str:
    """Where the paper has it, what it says and its id: a reader finds it by any of them."""
    words = f"{plain(claim.title)}, {claim.id}" if claim.title else claim.id
    return f"{_number(claim)}: {words}"


def _number(claim: Claim) -> str:
    """The equation or the place in the paper, which the section names."""
    paper, _, place = claim.source.partition(" ")
    return plain(place if paper in ("SS", "EX") else claim.source)


def _symbols(claim: Claim) -> str:
    rows = [(plain(sign), plain(says)) for sign, says in explained(claim)]
    every = "All others: [words and symbols](../words.md)."
    return page(table(("where", "is"), rows), every).strip() if rows else ""


def _hypotheses(claim: Claim) -> str:
    if not claim.hypotheses and not claim.reported:
        return ""
    asked = [(code(h.id), plain(h.statement), "asked for") for h in claim.hypotheses]
    shown = [(code(h.id), plain(h.statement), "reported, not needed") for h in claim.reported]
    return page("## Hypotheses", table(("id", "says", ""), [*asked, *shown])).strip()


def _true_when(claim: Claim, instead: Iterable[str]) -> str:
    said = [f"True as printed when {plain(claim.true_when)}."] if claim.true_when else []
    rows = [(link(other), plain(CLAIMS[other].reason)) for other in instead]
    if rows:
        said += ["True in its place:", table(("claim", "why"), rows)]
    return page("## What would make it true", *said).strip() if said else ""


def _proof(claim: Claim, said: list[str]) -> str:
    title = {"proved": "Statement and proof", "refuted": "What is compared, and why it fails"}
    return page(f"## {title.get(claim.status, 'What is compared')}", *said).strip()


def _steps(claim: Claim) -> str:
    breaks = {claim.blames: ", breaks here"}
    rows = [
        (
            link(s.claim),
            plain(s.says),
            CLAIMS[s.claim].status + breaks.get(s.claim, ""),
            plain(s.remedy),
        )
        for s in printed_proof(claim.id).steps
    ]
    if rows:
        header = ("step", "says", "status", "saved by")
        return page("## Its printed proof, step by step", table(header, rows)).strip()
    return f"Its printed proof breaks at {link(claim.blames)}." if claim.blames else ""


def _picture(claim_id: str) -> str:
    name = PICTURES.get(claim_id)
    if name is None:
        return ""
    caption = plain(str(import_module(f"paper_figs.{name}").CAPTION))
    image = f"![{caption}](../../../paper_figs/gallery/{name}.png)"
    return page("## Picture", image, f"*{caption}* (`soupcheck figures {name}`)").strip()


def _witnesses(claim: Claim, witnesses: list[Witness]) -> str:
    if not witnesses:
        return ""
    proved, rows = stored_certificates(), []
    for w in witnesses:
        m, certificate = w.instance, proved.get(w.name, {})
        size = code(m.format)  # of the small worlds the kind is all there is to say
        if isinstance(m, TokenMDP):
            size = f"A = {m.vocab_size}, L = {m.order}, T = {m.horizon}, K = {m.n_rewards}"
        best = "λ\\*, searched for" if claim.at == "optimum" else ""
        at = best if w.lam is None else weights(w.lam)
        sides = f"{short(w.expected['lhs'])}, {short(w.expected['rhs'])}"
        rows.append(
            (code(w.name), size, at, sides, str(certificate.get("verdict", "not certified")))
        )
    header = ("witness", "size", "λ", "left, right side", "certificate")
    command = f"    soupcheck instance {witnesses[0].name} --witness --out witness.json\n"
    return page(
        "## Witnesses", "Instances that meet every hypothesis and break it:", table(header, rows),
        command + "    soupcheck certify witness.json" if proved else "",
    ).strip()  # fmt: skip


def _ties(*groups: Iterable[str]) -> str:
    words = ("Its proof uses", "It is a step in the printed proof of", "It is a lemma in the proof of",
             "It is true in the place of")  # fmt: skip
    said = [
        f"- {word} {', '.join(map(link, claims))}."
        for word, claims in zip(words, groups, strict=True) if claims
    ]  # fmt: skip
    return page("## Rests on, and is used by", "\n".join(said)).strip() if said else ""


def _try(claim: Claim, witnesses: list[Witness]) -> str:
    families = {
        "token-mdp/1": "dirichlet", "attribute-set/1": "tilted-attributes",
        "topic-cloud/1": "mixed-topics", "preference-pairs/1": "narrow-prior",
    }  # fmt: skip
    lines = [f"    soupcheck verify --claims {claim.id} --family {families[claim.world]} --n 20"]
    if witnesses:
        lines.append(f"    soupcheck explain witness.json {claim.id}")
    return page("## Try it", "\n".join([*lines, f"    soupcheck rests-on {claim.id}"])).strip()
