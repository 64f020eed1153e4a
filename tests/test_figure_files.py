"""Figures as files: PDF, PNG and CSV, the cache, and the command that makes them."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from string import Formatter

import matplotlib as mpl
import pytest
from command_line import run
from matplotlib import pyplot as plt
from pypdf import PdfReader
from test_cli import soupcheck
from test_figures import quick

from bounds.records.witness import stored_witness
from bounds.runs.progress import silent
from paper_figs import cached_table as table
from paper_figs import delta
from paper_figs.canvas import WIDTHS
from paper_figs.command import FIGURES, make, settings, tabulate
from paper_figs.plot import OWN
from paper_figs.provenance import in_words, latex
from toymdp import InstanceError
from toymdp.families import generate
from toymdp.kinds import ALL_FAMILIES

STYLE = Path(table.__file__).with_name("style.mplstyle")


def fonts_of(reader):
    for page in reader.pages:
        for font in page["/Resources"]["/Font"].values():
            font = font.get_object()
            inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
            yield font["/Subtype"], inner["/FontDescriptor"].get_object()


@pytest.mark.parametrize("name", FIGURES)
def test_files(name, tmp_path, monkeypatch):
    module = import_module(f"paper_figs.{name}")
    rows = quick(name)
    own = settings(module, module.QUICK)  # not of the stand-in
    monkeypatch.setattr(module, "compute", lambda on_progress, **_: rows)
    monkeypatch.setattr("paper_figs.command.settings", lambda module, parameters: own)
    made = make(name, tmp_path, width=WIDTHS["icml-column"])
    pdf, png, sheet, told = made.paths
    reader = PdfReader(pdf)
    # where it comes from: in the PDF, and in a caption that plain LaTeX sets
    digest = hashlib.sha256(sheet.read_bytes()).hexdigest()
    assert reader.metadata["/Keywords"] == f"sha256 of {name}.csv: {digest}"
    assert reader.metadata["/Subject"] == module.CAPTION
    caption = told.read_text(encoding="ascii")
    assert digest in caption
    assert f"{len(rows)} rows" in caption
    assert f"soupcheck {version('soupcheck')}" in caption
    assert caption.count("{") == caption.count("}")
    assert latex(module.READING) in caption
    assert f"soupcheck figures {name} (" in caption
    assert len(reader.pages) == 1
    assert float(reader.pages[0].mediabox.width) == pytest.approx(3.25 * 72, abs=0.01)
    embedded = list(fonts_of(reader))
    assert embedded
    for subtype, descriptor in embedded:
        assert subtype != "/Type3"  # what conference systems refuse
        assert "/FontFile2" in descriptor or "/FontFile3" in descriptor
    assert png.stat().st_size > 5_000
    with sheet.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [list(row) for row in read] == [list(row) for row in rows]
    for a, b in zip(read, rows, strict=True):
        assert a == {k: "" if v is None else str(v) for k, v in b.items()}
    again = make(name, tmp_path / "wide", width=WIDTHS["icml-page"])
    wide = float(PdfReader(again.paths[0]).pages[0].mediabox.width)
    assert wide == pytest.approx(6.75 * 72, abs=0.01)


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off(name):
    """Every label lies on the page, at every width."""
    mpl.use("Agg")
    for width in WIDTHS.values():
        with plt.style.context(STYLE):
            figure = import_module(f"paper_figs.{name}").draw(quick(name), width)
            figure.draw_without_rendering()  # the layout is made when it is drawn
            box = figure.get_tightbbox()
            plt.close(figure)
        high = figure.get_figheight()
        assert min(box.x0, box.y0) > -0.02, box
        assert box.x1 < width + 0.02, box
        assert box.y1 < high + 0.02, box


@pytest.mark.parametrize(
    ("font", "face"), [("times", "STIX"), ("computer-modern", "cmr10"), ("sans", "DejaVu")]
)
def test_fonts_that_match_a_paper(font, face, tmp_path, monkeypatch):
    """The face is in the file, and every sign is drawn by some face of its list (else: a warning)."""
    for name in ("waterfall", "tightness"):
        rows = quick(name)
        module = import_module(f"paper_figs.{name}")
        own = settings(module, module.QUICK)
        monkeypatch.setattr(module, "compute", lambda on_progress, rows=rows, **_: rows)
        monkeypatch.setattr("paper_figs.command.settings", lambda module, parameters, own=own: own)
        pdf = make(name, tmp_path / name, font=font).paths[0]
        names = {str(descriptor["/FontName"]).lower() for _, descriptor in fonts_of(PdfReader(pdf))}
        assert any(face.lower() in found for found in names), names


def test_captions_are_latex():
    assert latex("Δ_k & λ ≤ 50 % of Q*") == r"$\Delta_k$ \& $\lambda$ $\le$ 50 \% of $Q^*$"
    assert latex("V_w − J(λ*) of βλ_1") == r"$V_w$ $-$ J($\lambda^*$) of $\beta \lambda_1$"
    with pytest.raises(ValueError, match="has no LaTeX"):
        latex("你")


# seen in the picture itself: which lines there are, whether at every size
DRAWN = {"methods", "full"}


@pytest.mark.parametrize("name", FIGURES)
def test_captions_say_what_was_computed(name):
    """With the parameters used, as prose; a quick run is called what it is, and claims no more."""
    module = import_module(f"paper_figs.{name}")
    own = settings(module, {})
    places = {place for _, place, *_ in Formatter().parse(module.MADE_OF) if place}
    assert places >= set(own) - DRAWN
    full = in_words(module.MADE_OF, own, quick=False)
    few = in_words(module.MADE_OF, settings(module, module.QUICK), quick=True)
    assert "no result" in few
    assert "no result" not in full
    if set(module.QUICK) - DRAWN:
        assert full not in few
    for text in (full, few, module.READING):
        assert text.endswith(".")
        assert not set(latex(text)) & set('[]"')
        assert "tuple" not in text
    # whatever was computed: no number of instances stands outside of the template
    assert not re.search(r"\d,\d{3}", module.CAPTION + module.READING)


def test_a_quick_figure_says_so_in_its_caption(tmp_path, monkeypatch):
    module = import_module("paper_figs.ladder")
    rows, own = quick("ladder"), settings(module, module.QUICK)
    monkeypatch.setattr(module, "compute", lambda on_progress, **_: rows)
    monkeypatch.setattr("paper_figs.command.settings", lambda module, parameters: own)
    told = make("ladder", tmp_path, parameters=module.QUICK).paths[3].read_text(encoding="ascii")
    assert "soupcheck figures ladder --quick (" in told
    assert "A quick look, no result. Drawn of 12 seeds" in told
    assert "1,000" not in told


def test_cache(tmp_path, monkeypatch):
    calls = []

    def compute(on_progress=silent, *, n=3, seed=0):
        calls.append((n, seed))
        return [{"x": i + seed, "y": None} for i in range(n)]

    monkeypatch.setattr(delta, "compute", compute)
    first, cached, _ = tabulate("delta", {}, tmp_path)
    assert not cached
    again, cached, _ = tabulate("delta", {}, tmp_path)
    assert cached
    assert again == first
    assert calls == [(3, 0)]
    tabulate("delta", {"seed": 1}, tmp_path)
    assert calls == [(3, 0), (3, 1)]
    tabulate("delta", {}, None)  # without a cache nothing is read
    assert len(calls) == 3
    for path in tmp_path.iterdir():
        path.write_text("{", encoding="utf-8")  # half a file
    assert tabulate("delta", {}, tmp_path)[0] == first
    assert len(calls) == 4
    with pytest.raises(InstanceError):
        tabulate("delta", {"cats": 1}, tmp_path)


def test_the_key_knows_code_and_parameters_but_not_ink(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "a_figure_of_this_test.py"
    keys = []
    for body, ink, n in [("1", "1", 1), ("1", "2", 1), ("2", "1", 1), ("1", "1", 2)]:
        path.write_text(
            f"def compute():\n    return {body}\ndef draw():\n    return {ink}\n", encoding="utf-8"
        )
        keys.append(table.cache_key(import_module("a_figure_of_this_test"), {"n": n}))
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    package = tmp_path / "a_package_of_this_test"
    package.mkdir()
    source = package / "__init__.py"
    monkeypatch.setattr(table, "PACKAGES", ("a_package_of_this_test",))
    packaged = []
    for line in ("x = 1\n", "x = 2\n"):
        source.write_text(line, encoding="utf-8")
        packaged.append(table.cache_key(import_module("a_figure_of_this_test"), {"n": 1}))
    assert packaged[0] != packaged[1]


def test_the_list_needs_no_matplotlib():
    source = (
        "import sys\nfrom paper_figs.command import figures\nfigures(listed=True)\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert "matplotlib" not in done.stderr.split()
    for name in FIGURES:
        assert import_module(f"paper_figs.{name}").CAPTION in done.stdout


def test_command(tmp_path):
    listed = soupcheck("figures", "--list")
    assert all(name in listed.stdout for name in FIGURES)
    out, cache = tmp_path / "out", tmp_path / "cache"
    arguments = ("figures", "waterfall", "--quick", "--out", out, "--cache", cache, "--width")
    records = []
    for width in ("neurips", "icml-page"):
        done = soupcheck(*arguments, width, "--json", "-")
        assert done.returncode == 0, done.stderr
        (record,) = [json.loads(line) for line in done.stdout.splitlines()]
        records.append(record)
        assert all((out / f"waterfall.{kind}").exists() for kind in ("pdf", "png", "csv", "tex"))
        assert "waterfall.pdf" in done.stderr
    # another width is another drawing of the same table
    assert [r["cached"] for r in records] == [False, True]
    assert records[0]["width_in"] == 5.5
    for wrong in (
        ["--width", "a0"],
        ["--font", "comic"],
        ["--out", cache / next(cache.iterdir()).name],
    ):
        done = soupcheck("figures", "waterfall", "--quick", "--cache", cache, *wrong)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert wrong[0] in done.stderr


# -- of one's own files ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A witness file, an instance without a name, and one of another kind."""
    folder = tmp_path_factory.mktemp("own")
    witness = stored_witness("gap-natural-T2")
    witness.save(folder / "wörld 1.json")
    generate("tree", 0).replace(name=None).save(folder / "nameless.json")
    generate("dirichlet", 0, K=3).save(folder / "three.json")
    ALL_FAMILIES["mixed-topics"](0).save(folder / "cloud.json")
    return folder


@pytest.mark.parametrize("name", sorted(OWN))
def test_figures_of_own_files(name, own, tmp_path):
    """The four files, named and captioned after the instance, with the numbers of that instance."""
    done = run("figures", name, own / "wörld 1.json", "--out", tmp_path, "--json", "-")
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)
    paths = [Path(path) for path in record["files"]]
    assert [path.name for path in paths] == [
        f"{name}-w-rld-1.{kind}" for kind in ("pdf", "png", "csv", "tex")
    ]
    caption = paths[3].read_text(encoding="ascii")
    assert r"of w\textbackslash{}xf6rld 1.json" in caption
    assert rf"\label{{fig:{name}-w-rld-1}}" in caption
    with paths[2].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = {round(float(x), 4) for row in rows for x in row.values() if number(x)}
    # the gap and (10) of the witness; its J and the bound of branch and bound for the landscape
    assert numbers >= ({5.3809} if name == "landscape" else {2.0366, 1.2448})


def number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_several_files_are_told_apart(own, tmp_path):
    one = own / "nameless.json"
    done = run("figures", "ladder", one, one, own / "three.json", "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    with (tmp_path / "ladder-nameless-and-2-more.csv").open(encoding="utf-8") as file:
        names = dict.fromkeys(row["instance"] for row in csv.DictReader(file))
    assert list(names) == ["nameless", "nameless (2)", "dirichlet-0"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("lemma1", "nameless.json"), "lemma1.*not drawn of given instances.*ladder, landscape"),
        (("all", "nameless.json"), "all: is of stored figures"),
        (("ladder", "nameless.json", "--quick"), "--quick: is of stored figures"),
        (("landscape", "nameless.json", "wörld 1.json"), "files = 2: landscape is drawn of one"),
        (("landscape", "three.json"), "K = 3: a landscape is drawn of two specialists"),
        (("tightness", "cloud.json"), "speaks of token MDPs"),
        (("ladder", "nothing.json"), "nothing.json.*cannot be read"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(arguments, says, own, tmp_path, monkeypatch):
    monkeypatch.chdir(own)
    done = run("figures", *arguments, "--out", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert re.search(says, done.stderr)
    assert not (tmp_path / "out").exists()
