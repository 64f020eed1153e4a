"""The report: what it says against the checks, what it may contain, and how a browser shows it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import axe_playwright_python
import pytest
from bs4 import BeautifulSoup
from conftest import random_mdp
from playwright.sync_api import sync_playwright
from test_cli import soupcheck

from bounds import CLAIMS, check
from bounds.proofs.walk import explain
from bounds.records.output import content_hash
from bounds.records.record import record
from bounds.report import page as report
from bounds.report.glossary import GLOSSARY
from bounds.report.mathml import breakable, mathml
from bounds.report.summary import ClaimSummary, summarise
from bounds.verdicts import RELATION
from toymdp import solve
from toymdp.families import generate
from toymdp.families.classics import lemma1_softmax, rare_first_token

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'
CERTIFICATE = {
    "verdict": "PROVED", "reason": "both sides enclosed", "lhs": [0.17990943, 0.17990944],
    "rhs": None, "bits": 128,
}  # fmt: skip


def judged(name, family, mdp, notes=()):
    """The records of one instance."""
    digest = content_hash(mdp)
    about = {"record": "instance", "instance": name, "family": family, "sha256": digest,
             "notes": list(notes), "witness": None}  # fmt: skip
    return [about, *(record(name, digest, c, 0, family=family) for c in check(mdp))]


def walked(name, mdp, claim):
    return {
        "record": "walk", "instance": name, "sha256": content_hash(mdp), "claim": claim,
        "explanation": explain(solve(mdp), claim).as_dict(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def run():
    return [
        *judged("gap-rare-first-token", "witness", rare_first_token(), ["a note"]),
        *judged("lemma1-softmax", "witness", lemma1_softmax()),
        *judged("dirichlet-0", "dirichlet", generate("dirichlet", 0)),
        *judged(EVIL, EVIL, random_mdp(0)),
        walked("gap-rare-first-token", rare_first_token(), "ss.thm1.gap"),
        walked("lemma1-softmax", lemma1_softmax(), "ss.lemma1"),
    ]


@pytest.fixture(scope="module")
def page(run):
    # as from a file: a ledger's lines are all that a page needs
    found = summarise(json.loads(json.dumps(r, allow_nan=False)) for r in run)
    return report.render(found, certificates={"gap-rare-first-token": CERTIFICATE})


@pytest.fixture(scope="module")
def soup(page):
    return BeautifulSoup(page, "html.parser")


# -- what it says ----------------------------------------------------------------------------


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_statement_becomes_mathml(claim):
    whole = ElementTree.fromstring(mathml(CLAIMS[claim].statement))
    assert whole.tag.endswith("math")
    text = "".join(whole.itertext())
    pieces = ElementTree.fromstring(f"<p>{breakable(CLAIMS[claim].statement)}</p>")
    assert "".join("".join(piece.itertext()) for piece in pieces) == text
    assert text.strip()
    assert "\\" not in text
    greek = {
        r"\beta": "β",
        r"\lambda": "λ",
        r"\psi": "ψ",
        r"\le ": "≤",
        r"\ge ": "≥",
        r"\max": "max",
    }
    for command, sign in greek.items():
        # \lambda and \le are also the beginnings of longer commands
        wanted = len(
            re.findall(re.escape(command.strip()) + r"(?![A-Za-z])", CLAIMS[claim].statement)
        )
        assert text.count(sign) >= wanted, (command, CLAIMS[claim].statement)


def test_a_command_that_is_not_rendered_is_an_error():
    with pytest.raises(ValueError, match="nosuchcommand"):
        mathml(r"\nosuchcommand x")


def test_a_long_statement_breaks_where_a_reader_would():
    """Between its terms and factors, never inside parentheses, a norm, or beside ``‖`` in a KL."""
    root = ElementTree.fromstring(f"<p>{breakable(CLAIMS['ss.thm1.gap'].statement)}</p>")
    pieces = ["".join(piece.itertext()) for piece in root]
    assert pieces[-1].startswith("‖νw")
    assert [piece[0] for piece in pieces] == ["V", "≤", "‖", "+", "+", "‖"]
    assert max(map(len, pieces)) < 30
    assert "mstyle" not in str(breakable(CLAIMS["ss.thm1.gap"].statement))  # it makes things small
    kl = ElementTree.fromstring(f"<p>{breakable(CLAIMS['ss.thm1.gap.identity'].statement)}</p>")
    assert "".join(kl[1].itertext()).endswith("KL(π~λ‖πw)")


def test_the_table_counts_the_checks(run, soup):
    rows = soup.select("#claims-table tbody tr")
    counts = Counter((r["claim"], r["verdict"]) for r in run if "record" not in r)
    judged_claims = [c for c in CLAIMS if any(key[0] == c for key in counts)]
    assert [row.th.get_text(strip=True) for row in rows] == judged_claims
    for row in rows:
        claim = row.th.get_text(strip=True)
        cells = [cell.get_text(strip=True) for cell in row.find_all("td")]
        wanted = [counts[claim, v] for v in ("holds", "violated", "not-applicable", "undecided")]
        assert cells[:2] == [RELATION[CLAIMS[claim].kind], CLAIMS[claim].status]
        assert [int(x.replace("·", "0")) for x in cells[2:6]] == wanted
        assert [
            int(row[f"data-{v}"]) for v in ("holds", "violated", "notapplicable", "undecided")
        ] == wanted
    tiles = {
        li.get_text(" ", strip=True).split()[1]: int(li.strong.text)
        for li in soup.select(".tiles li")
    }
    for verdict, n in tiles.items():
        assert n == sum(k for (_, v), k in counts.items() if v == verdict)


def test_words_and_symbols_are_explained(soup):
    terms = [dt.strong.get_text() for dt in soup.select("dl.glossary dt")]
    assert terms == [term.sign for term in GLOSSARY]
    assert soup.select_one("a[href='#words-and-symbols']")


def test_a_section_shows_worst_instance_proof_witness_and_certificate(soup):
    section = soup.find(id="ss-thm1-gap")
    text = " ".join(section.get_text(" ", strip=True).split())
    assert "Worst instance: gap-rare-first-token" in text
    assert "First step that breaks: ss.proof.A" in text
    assert section.select_one("tr.broken th").get_text() == "ss.proof.A"
    assert "Stored witness: gap-rare-first-token" in text
    assert "certificate PROVED: both sides enclosed (128 bits)" in text
    assert section.find("math")
    assert section.find("svg")["aria-label"].startswith("ss.thm1.gap")
    gap, bound = (
        float(x) for x in re.search(r"left, right side ([\d.e-]+), ([\d.e-]+)", text).groups()
    )
    (c,) = check(rare_first_token(), "ss.thm1.gap")
    assert (gap, bound) == pytest.approx((c.lhs, c.rhs), rel=1e-2)
    # a proved claim has no failing step, and a hypothesis that is false is named
    proved = soup.find(id="ss-thm1-gap-sharp").get_text(" ")
    assert "First step" not in proved
    assert "not-applicable on" in section.get_text(" ")


def test_a_violated_proved_claim_is_named_at_the_top():
    (c,) = check(random_mdp(0), "ss.eq8.upper")
    broken = {**record("broken", "", c, 0, family="file"), "verdict": "violated", "slack": -1.0}
    soup = BeautifulSoup(report.render(summarise([broken])), "html.parser")
    assert "A proved claim is violated: ss.eq8.upper (1)" in " ".join(soup.main.get_text().split())


def test_the_worst_record_is_a_violation():
    found = ClaimSummary("inequality", "refuted")
    assert found.worst is None
    for name, mdp in (("a", generate("dirichlet", 0)), ("b", rare_first_token())):
        (c,) = check(mdp, "ss.thm1.gap")
        found.add(record(name, "", c, 0))
    assert found.worst["instance"] == "b"


def test_a_proof_walked_elsewhere_is_not_shown(run):
    moved = [{**r, "sha256": "another"} if r.get("record") == "walk" else r for r in run]
    assert "First step that breaks" not in report.render(summarise(moved))


# -- what it may contain ---------------------------------------------------------------------


def test_it_is_self_contained(page, soup):
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    known = {f"#{x}" for x in ids}
    for tag in soup.find_all(True):
        for key in ("src", "href", "xlink:href", "srcset", "action"):
            value = tag.get(key)
            assert value is None or value in known, tag
    assert not soup.find_all(["link", "iframe", "object", "embed"])
    assert set(re.findall(r"https?://[^\"' )]+", page)) <= {
        "http://www.w3.org/1998/Math/MathML", "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }  # fmt: skip
    assert "@import" not in page
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_names_from_files_are_text(page, soup):
    assert EVIL not in page
    assert not soup.find_all("img")
    assert EVIL in soup.get_text()
    (script,) = soup.find_all("script")
    digest = base64.b64encode(hashlib.sha256(script.string.encode()).digest()).decode()
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_the_command(tmp_path):
    path, html = tmp_path / "a.json", tmp_path / "r.html"
    random_mdp(0).save(path)
    done = soupcheck("verify", path, "--claims", "ss.delta*", "--html", html)
    assert done.returncode == 0, done.stderr
    assert "ss.delta.renyi" in html.read_text(encoding="utf-8")
    for target, says in ((path, "is an input of this run"), (tmp_path / "no" / "r.html", "folder")):
        done = soupcheck("verify", path, "--claims", "ss.delta", "--html", target)
        assert done.returncode == 2
        assert says in done.stderr
        assert not done.stdout  # before the run, not after it


# -- in a browser ----------------------------------------------------------------------------

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Debian's chromium on the path (apt-get install chromium)")
    with sync_playwright() as play:  # every launch has a fresh profile of its own
        found = play.chromium.launch(executable_path=path, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def file(run, tmp_path_factory):
    """A page with a claim of each kind: axe looks at every node, and takes its time."""
    chosen = ("ss.lemma1", "ss.thm1.gap", "ss.thm1.gap.sharp", "ss.delta", "ss.eq2-4")
    few = [r for r in run if r.get("claim") in (None, *chosen)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report.render(summarise(few)), encoding="utf-8")
    return path


def opened(browser, file, width, scheme="light", **options):
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, **options
    )
    page = context.new_page()
    seen = []
    page.on("request", lambda request: seen.append(request.url))
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("dialog", lambda dialog: seen.append(dialog.message))
    page.goto(file.as_uri())
    assert seen == [file.as_uri()]  # nothing fetched, nothing complained
    return page


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_axe_finds_nothing(browser, file, width, scheme):
    page = opened(browser, file, width, scheme)
    script = Path(axe_playwright_python.__file__).parent / "axe.min.js"
    page.evaluate(script.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert [(v["id"], v["nodes"][0]["html"]) for v in found["violations"]] == []
    assert len(found["passes"]) > 20


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_the_page_never_scrolls_sideways(browser, file, width):
    page = opened(browser, file, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # a formula that is too long scrolls in its own box and hides nothing
    for box in page.query_selector_all(".math, .scroll"):
        assert box.bounding_box()["width"] <= width


def test_filters(browser, file):
    page = opened(browser, file, 1200)
    shown = "#claims-table tbody tr:visible"
    assert page.locator(shown).count() == 5
    page.fill("#words", "gap")
    assert page.locator(shown).count() >= 2
    page.fill("#words", "hoeffding")  # of a section, not of the table
    assert page.locator(shown).count() == 1
    page.fill("#words", "")
    page.select_option("#status", "refuted")
    assert page.locator(shown).count() == 2
    assert page.locator("section.claim:visible").count() == 2
    page.select_option("#status", "")
    page.select_option("#verdict", "violated")
    assert page.locator(shown).count() == 2
    assert page.inner_text("#shown") == "2 of 5 claims shown"


def test_without_scripts_everything_is_there(browser, file):
    page = opened(browser, file, 1200, java_script_enabled=False)
    assert page.locator("#claims-table tbody tr:visible").count() == 5
    assert page.locator("section.claim:visible").count() == 5
    assert not page.is_visible("form.filters")


def test_printing(browser, file, tmp_path):
    from pypdf import PdfReader

    page = opened(browser, file, 1200, "dark")
    page.emulate_media(media="print")
    # paper is white whatever the screen was
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert (ink, paper) == ("rgb(0, 0, 0)", "rgb(255, 255, 255)")
    assert not page.is_visible("form.filters")
    page.pdf(path=tmp_path / "r.pdf", format="A4")
    text = "".join(p.extract_text() for p in PdfReader(tmp_path / "r.pdf").pages)
    assert "ss.thm1.gap.sharp" in text
