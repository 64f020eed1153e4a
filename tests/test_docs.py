"""The docs site: it builds without a warning, needs no network, and says what the package says."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from html import unescape
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
from command_line import run
from rich.text import Text

from bounds import CLAIMS
from bounds.cli import COMMANDS
from bounds.cli import build as build_commands
from bounds.records.formats import FORMATS
from bounds.report.sections import anchor

ROOT = Path(__file__).parents[1]

BUILD = """
import json, sys
from sphinx.application import Sphinx
docs, out, settings = sys.argv[1:]
app = Sphinx(docs, docs, out, out + "/.doctrees", "html", json.loads(settings), status=None,
             warningiserror=True)
app.build()
sys.exit(app.statuscode)
"""


def build(out: Path, **settings: object) -> Path:
    """Links to pages that are not there, and headings that do not follow, are warnings: errors here."""
    settings["nb_execution_cache_path"] = str(out / ".executed")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, ROOT / "docs", out, json.dumps(settings)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """With the outputs of one notebook, which has a formula among them: all of them take minutes."""
    return build(tmp_path_factory.mktemp("site"), nb_execution_excludepatterns=["0[!2]_*"])


def test_every_claim_has_its_page(site):
    for claim in CLAIMS.values():
        text = (site / "generated" / "claims" / f"{anchor(claim.id)}.html").read_text(
            encoding="utf-8"
        )
        assert f"<strong>{claim.status}</strong>" in text
        assert "<math" in text
        assert ("What would make it true" in text) == (claim.status == "refuted"), claim.id
        assert all(h.id in text for h in claim.hypotheses)


def test_claims_are_found_by_number_words_and_id(site):
    """In the contents that stand beside each page, section by section."""
    text = (site / "generated" / "claims" / "index.html").read_text(encoding="utf-8")
    contents = unescape(re.sub(r"<[^>]*>", "", text[text.index('class="sidebar-tree"') :]))
    sections = [
        "Lemma 1, (6), and its proof, (11) to (13)", "Theorem 1, the gap: (10)",
        "(10): the bound on the gap at the best soup, ss.thm1.gap", "The penalty Δ_k: (17), (18)",
        "(17), (18): the penalty Δ_k bounds the Rényi divergence, ss.delta",
    ]  # fmt: skip
    places = [contents.index(title) for title in sections]
    assert places == sorted(places)
    for claim in CLAIMS.values():
        assert claim.title, f"{claim.id}: a few words that say what it says"
        assert f"{claim.title}, {claim.id}" in contents


@pytest.mark.parametrize(
    ("page", "leads"),
    [
        ("theorem", "generated/claims/ss-proof-A.html"), ("tutorial", "generated/formats.html#token-mdp-1"),
        ("tutorial", "generated/words.html"), ("tutorial", "generated/adding.html"),
        ("llm", "generated/models.html"), ("llm", "generated/bank-smollm.html"),
        ("generated/models", "preferences.html"),
        ("generated/notebooks/01_a_language_mdp_you_can_solve", "../claims/ss-thm1-gap-identity.html"),
        ("generated/notebooks/index", "02_lemma_1.html"),
    ],
)  # fmt: skip
def test_names_and_files_lead_to_pages(site, page, leads):
    """In the text itself: names of claims and formats, files of a checkout that the docs show."""
    text = (site / f"{page}.html").read_text(encoding="utf-8")
    main = text[text.index('role="main"') : text.index("</article>")]
    assert f'href="{leads}"' in main


def test_signs_are_explained_beside_the_formula(site, monkeypatch):
    """Those of (10) by name; each sign of the table stands in some claim's formula."""
    text = (site / "generated" / "claims" / "ss-thm1-gap.html").read_text(encoding="utf-8")
    for sign in ("π̲", "ν_{r_k}", "ν_k, ν_w", "Δ_k", "J(λ)"):
        assert f"<td><p>{sign}" in text, sign
    assert "log((m + M − 1)/(mM))" in text
    monkeypatch.syspath_prepend(ROOT / "docs")
    symbols = import_module("pages.symbols")
    used = {row for claim in CLAIMS.values() for row in symbols.explained(claim)}
    assert used == {(symbol.sign, symbol.says) for symbol in symbols.SYMBOLS}


def test_every_format_and_command_has_its_section(site):
    formats = (site / "generated" / "formats.html").read_text(encoding="utf-8")
    for name, format in FORMATS.items():
        assert all(f"<code>{key.name}</code>" in formats for key in format.keys), name
        assert (site / "generated" / "schemas" / f"{name.replace('/', '-')}.json").is_file()
    line = (site / "generated" / "command-line.html").read_text(encoding="utf-8")
    assert all(f"soupcheck {name}" in line for name in (*COMMANDS, "figures", "llm diagnose"))
    assert "<code>--lambda STR</code>" in line


def test_formats_say_what_is_inside_a_key_and_what_ties_keys(monkeypatch):
    """Made from the table that the schemas are made from."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    reference, text = import_module("pages.reference"), import_module("pages.text")
    page = reference.formats()
    for key in ("values", "per_step", "scale"):
        assert text.code(f"features.{key}") in page
    dense = "kind dense: a list of lists of numbers, or a list of lists of lists of numbers"
    assert f"| {text.code('features.values')} | must | {dense} |" in page
    one = ", or ".join(map(text.code, ("ref_weights", "ref_sparse")))
    assert f"- exactly one of these is needed: {one}" in page
    assert f"- {text.code('contexts')} needs {text.code('ref_sparse')}" in page
    assert text.plain("say `a_b` or ``c``, *d*") == (
        f"say {text.code('a_b')} or {text.code('c')}, \\*d\\*"
    )
    assert "\\`" not in reference.command_line()


def test_no_help_is_taken_for_markup(monkeypatch):
    """In the terminal square brackets may be a style, and vanish: no text of ours has such."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    reference = import_module("pages.reference")
    for path, function in reference.commands("soupcheck", build_commands()):
        texts = [function.__doc__ or ""]
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            texts.append(get_args(parameter.annotation)[1].help or "")
        assert [Text.from_markup(text).plain for text in texts] == texts, path


def test_pages_read_offline(site):
    """Nothing is fetched: no script, style, picture or font from elsewhere."""
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'(?:src|<link[^>]*href)="(?:https?:)?//', text), path
        for target in re.findall(r'href="([^"#:]+)"', text):
            assert (path.parent / target.split("?")[0]).exists(), f"{path.name}: {target}"
    assert (site / "searchindex.js").is_file()  # a script, which a page may read without a server


def shown(page: Path) -> tuple[int, str]:
    """Pictures on a notebook's page, and what its last cell printed."""
    text = page.read_text(encoding="utf-8")
    outputs = re.findall(r'<div class="cell_output.*?\n</div>\n</div>', text, re.S)
    pictures = sum(output.count("<img") for output in outputs)
    return pictures, outputs[-1] if outputs else ""


def test_notebooks_are_pages(site):
    """Each has its page, linked to its claims; with pictures and numbers where it was executed."""
    folder = site / "generated" / "notebooks"
    pages = sorted(folder.glob("0*.html"))
    assert [page.stem for page in pages] == sorted(
        p.stem for p in (ROOT / "notebooks").glob("*.ipynb")
    )
    for page in pages:
        assert "../claims/" in page.read_text(encoding="utf-8")
        assert (shown(page)[0] >= 3) == (page.stem[:2] == "02"), page
    assert re.search(r"\d\.\d", shown(folder / "02_lemma_1.html")[1])
    assert "<math" in (folder / "02_lemma_1.html").read_text(encoding="utf-8")


@pytest.mark.long
def test_every_notebook_shows_its_outputs(tmp_path):
    """As the README's command builds them; what needs a kernel to answer is not shown."""
    site = build(tmp_path)
    test_pages_read_offline(site)
    for page in (site / "generated" / "notebooks").glob("0*.html"):
        pictures, last = shown(page)
        assert pictures >= 3, page
        assert re.search(r"\d", last), page
        assert "interactive(" not in page.read_text(encoding="utf-8")


def test_the_tutorial_says_what_happens(tmp_path, monkeypatch):
    """Each command of the tutorial runs, in order, and shows the lines that the page shows."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    parts = re.findall(
        r"^    (soupcheck [^\n]*)$|^```text\n(.*?)```|^\| `(ss\.[^\n]*)$|^```json\n(.*?)```",
        page, re.M | re.S,
    )  # fmt: skip
    shown, looked = "", 0
    for command, block, row, written in parts:
        if written:
            Path("mine.json").write_text(written, encoding="utf-8")
        if command:
            done = run(*shlex.split(command)[1:])
            assert done.exit_code == 0, done.stderr
            shown = " ".join(re.sub("[│┃]", "│", done.stdout).split())
        for line in block.splitlines():
            looked += 1
            assert " ".join(line.split()) in shown, line
        if row:
            claim, *cells = [cell.strip(" `") for cell in row.split("|")[:5]]
            looked += 1
            verdict, left, right, ratio = map(re.escape, cells)
            told = rf"{re.escape(claim)} {verdict} {left} ≤ {right} {ratio}"
            assert re.search(told, shown), row
    assert looked > 20


def test_nothing_points_to_a_page_that_users_do_not_have():
    """Notes of those who build it are not shipped; pages of the repository are no part of a wheel."""
    for package in ("toymdp", "bounds", "llm_bridge", "paper_figs"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", ".j2", ".css", ".js"):
                text = path.read_text(encoding="utf-8")
                assert not re.search(r"DESIGN|(?:CLAIMS|METHODS|SWEEP|CONTRIBUTING)\.md", text), (
                    path
                )


def test_links_lead_somewhere_on_a_checkout():
    """The index alone points at pages that a build makes: it is their list."""
    written = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    written += [*(ROOT / "bounds").glob("*.md"), *(ROOT / "llm_bridge").rglob("*.md")]
    looked = 0
    for path in [*written, ROOT / "notebooks" / "README.md"]:
        text = path.read_text(encoding="utf-8")
        for target, place in re.findall(r"\]\(([^)#:\s]*)(?:#([\w-]+))?\)", text):
            if path == ROOT / "docs" / "index.md" and target.startswith("generated/"):
                continue
            leads = path.parent / target if target else path
            assert leads.exists(), f"{path.name}: {target}"
            heading = rf"^#+ {(place or '').replace('-', ' ')}$"
            found = not place or re.search(heading, leads.read_text(encoding="utf-8"), re.M | re.I)
            assert found, f"{path.name}: {target}#{place}"
            looked += 1
    assert looked > 60


def test_the_readme_is_one_sitting():
    """What is longer belongs to a page of the docs, with a line that leads there."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 250


def test_the_readme_explains_the_same_words(monkeypatch):
    """One table: to change a word, change bounds/report/glossary.py and copy what this asks for."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert import_module("pages.reference").glossary() in readme


def test_the_readme_begins_with_what_happens(tmp_path, monkeypatch):
    """The commands of its first screen, and the three rows that they show."""
    monkeypatch.chdir(tmp_path)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = readme[: readme.index("![")]
    shown = ""
    for command in re.findall(r"^    (soupcheck [^\n]*)$", first, re.M):
        done = run(*shlex.split(command)[1:])
        assert done.exit_code == 0, done.stderr
        shown = done.stdout
    rows = re.findall(r"^    (ss\.\S+ +\w+ +\S+ ≤ +\S+ +\S+) ", first, re.M)
    assert len(rows) == 3
    for row in rows:
        assert " ".join(row.split()) in " ".join(shown.split())
