"""Findings: what is compared with what, when a difference counts, and the page that shows them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import axe_playwright_python
import numpy as np
import pytest
from bs4 import BeautifulSoup
from command_line import run as command
from test_report import EVIL, browser, opened

from bounds.experiments import knee, papers
from bounds.experiments.catalogue import EXPERIMENTS
from bounds.experiments.findings import SAME, Finding, Side, decide, evaluate, held
from bounds.report import experiment_page
from toymdp.methods.catalogue import select

__all__ = ["browser"]  # a fixture


def row(method, share, *, seed=0, user=0, pairs=40, variant="", **more):
    return {
        "experiment": "x", "domain": "d", "method": method, "variant": variant, "seed": seed,
        "user": user, "prompts": "test", "pairs": pairs, "share": share, "losses": None, "V_u": 2.0,
        "V_ref": 0.0, "bases": None, "labels": "bt", "outside": 0.3, "oracle": False, "value": 1.0,
        "acceptance": None, "seconds": 0.0, "accuracy": 0.5, "lambda_l1": None, "status": "done",
        "reason": "", "share_matched_kl": None,
    } | more  # fmt: skip


A = Finding("s", "a is above b", "x", Side(("a",)), Side(("b",)))


def test_a_difference_counts_beyond_two_standard_errors():
    assert decide((0.21, 0.1), False) is True
    assert decide((-0.21, 0.1), False) is False
    assert decide((0.19, 0.1), False) is None
    assert decide((5.0, None), False) is None  # one seed says nothing
    assert decide((0.01, 0.01), True) is True
    assert decide((SAME + 0.05, 0.01), True) is False
    assert decide((SAME - 0.01, 0.02), True) is None


def test_sides_are_paired_by_seed_and_user_and_seeds_are_the_sample():
    rows = [row("a", 0.5 + s / 10 + u / 10, seed=s, user=u) for s in range(4) for u in (0, 1)]
    rows += [row("b", 0.3 + s / 10 + u / 10, seed=s, user=u) for s in range(4) for u in (0, 1)]
    rows += [row("b", -9.0, seed=9)]  # without a partner
    found = held(A, rows, "d")
    assert found.difference == (pytest.approx(0.2), pytest.approx(0.0, abs=1e-12))
    assert (found.verdict, found.word) == (True, "holds")
    assert held(replace(A, left=A.right, right=A.left), rows, "d").verdict is False
    assert held(replace(A, right=Side(("c",))), rows, "d") is None
    assert held(A, rows, "elsewhere") is None
    # a bar in place of a side
    assert held(replace(A, right=0.9), rows, "d").sides[1] == pytest.approx(0.9)


def test_sizes_and_the_first_variant_that_was_run():
    rows = [row("a", n / 1000, variant="y", pairs=n) for n in (5, 20, 320)]
    share = lambda **k: Side(("a[x]", "a[y]"), **k).values(rows, "d")[0, 0]  # noqa: E731
    assert share() == 0.32
    assert share(pairs="few") == 0.02  # few begins at 20
    assert share(pairs="all") == pytest.approx(np.mean([0.005, 0.02, 0.32]))
    assert Side(("a",)).values(rows, "d") == {}
    assert Side(("a[y]",), prompts="train").values(rows, "d") == {}


def test_the_losses_say_why():
    lost = {"span": 0.2, "estimation": 0.6, "souping": 0.001, "specialists": 0.0}
    rows = [row("a", 0.6, seed=s, losses=lost) for s in (0, 1)]
    rows += [row("b", 0.3, seed=s) for s in (0, 1)]
    assert held(A, rows, "d").why == "a loses estimation 0.30, span 0.10"


def test_a_knee_is_seen_where_there_is_one():
    rng = np.random.default_rng(0)
    sizes = np.array([1, 2, 4, 7, 10, 16, 30])
    kneed = 0.1 + 0.1 * np.minimum(sizes, 7)
    smooth = 0.9 - 0.8 * np.exp(-sizes / 4)

    def gain(curve):
        curves = {
            s: dict(zip(sizes.tolist(), curve + 0.01 * rng.normal(size=7), strict=True))
            for s in range(12)
        }
        triples = knee.held_out(curves)
        assert len(triples) == 12
        d = [left - right for _, left, right in triples]
        return np.mean(d) / (np.std(d, ddof=1) / np.sqrt(12))

    assert gain(kneed) > 2
    assert gain(smooth) < 2
    assert knee.held_out({0: {1: 0.5, 2: 0.6}}) == []
    # a seed has no part in the curve that it is held against
    bent = 0.9 - 0.8 * np.exp(-sizes / knee.SCALES[20])
    curves = {s: dict(zip(sizes.tolist(), bent if s else 0 * bent, strict=True)) for s in range(4)}
    (_, error, _), *_ = knee.held_out(curves)
    assert error == pytest.approx(np.mean(bent**2), rel=1e-9)


def test_every_row_speaks_of_methods_and_experiments_that_exist():
    for labels in ("bt", "rank"):
        rows = papers.of_papers(labels)
        assert {r.source[:2] for r in rows} == {"SS", "EX"}
        for r in rows:
            chosen = EXPERIMENTS[r.experiment]
            for side in (r.left, r.right):
                if isinstance(side, Side):
                    run = {m.name for m in select(chosen.full.methods)}
                    assert set(side.names) & run, (r.says, side.names)
    souping = {r.left.names for r in papers.of_papers("rank") if r.says.startswith("souping is")}
    assert souping == {papers.BUDGET}


# -- the page --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rows = [
        row(m, 0.2 * i + 0.01 * s, seed=s, pairs=n, experiment="exact", domain=d, variant=v,
            accuracy=0.4 + 0.1 * i + 0.01 * s)
        for i, (m, v) in enumerate((("exact", "k=3"), ("drift", ""), ("base", EVIL)))
        for s in range(3) for n in (20, 80) for d in ("exact reversal", EVIL)
    ]  # fmt: skip
    lost = {"span": 0.2, "estimation": 0.6, "souping": -0.1, "specialists": 0.0}
    rows = [r | ({"losses": lost} if r["method"] == "drift" else {}) for r in rows]
    rows += [r | {"prompts": "train"} for r in rows]
    rows[0] |= {"status": "failed", "reason": EVIL, "share": None}
    seen = evaluate(papers.of_papers("bt"), rows)
    assert {r.domain for r in seen} == {"exact reversal", EVIL}
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(experiment_page.render(EXPERIMENTS["exact"], rows, seen), encoding="utf-8")
    return path


def test_the_page_is_self_contained_and_names_are_text(page):
    text = page.read_text(encoding="utf-8")
    soup = BeautifulSoup(text, "html.parser")
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)
    assert not soup.find_all(["link", "iframe", "object", "embed", "img", "script"])
    assert EVIL not in text
    assert EVIL in soup.get_text()
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    captions = [c.get_text() for c in soup.find_all("caption")]
    assert captions[0].startswith("What the papers report")
    assert len(captions) == 1 + 2 * 3
    assert len(soup.find_all("svg")) == 2 * 3
    assert soup.find("td", class_="bad").get_text() == "does not"


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_the_page_in_a_browser(browser, page, width, scheme):
    shown = opened(browser, page, width, scheme)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    script = Path(axe_playwright_python.__file__).parent / "axe.min.js"
    shown.evaluate(script.read_text(encoding="utf-8"))
    found = shown.evaluate("axe.run()")
    assert [(v["id"], v["nodes"][0]["html"]) for v in found["violations"]] == []


def test_the_command_writes_the_page(tmp_path):
    html = tmp_path / "x.html"
    options = ["experiment", "ultrafeedback", "--quick", "--seeds", "2", "--users", "1",
               "--methods", "ref,rlhf-learnt,ss-explicit[m=0]", "--workers", "1"]  # fmt: skip
    done = command(*options, "--html", html)
    assert done.exit_code == 0, done.stderr
    assert "What the papers report" in done.stdout
    assert "souping reaches 83%" in html.read_text(encoding="utf-8")
    refused = command(*options, "--html", tmp_path / "no" / "x.html")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "folder" in refused.stderr
