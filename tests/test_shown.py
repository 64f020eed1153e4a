"""What Python shows: instances, solutions, checks and comparisons as HTML, frames, LaTeX and figures."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from io import BytesIO

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import soupcheck
from command_line import run

from bounds.records.ledger import compare
from bounds.records.parts import part_of, records_part
from bounds.records.store import Store
from bounds.records.witness import stored_witness
from bounds.verdicts import Checks
from toymdp import InstanceError
from toymdp.kinds import KINDS

mpl.use("Agg")


@pytest.fixture(scope="module")
def world():
    return stored_witness("gap-natural-T2").instance


@pytest.fixture(scope="module")
def checks(world):
    return soupcheck.check(world, "ss.thm1.gap*,ss.eq7.logit.repaired,ss.thm1.kl.any")


class Cells(HTMLParser):
    """Texts of the cells, and every tag."""

    def __init__(self, html):
        super().__init__()
        self.cells, self.tags = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("td", "th", "caption"):
            self.cells.append("")

    def handle_data(self, data):
        self.cells[-1] += data


def test_objects_show_themselves(world, checks):
    sol, opt = soupcheck.solve(world), soupcheck.soup_optimum(world)
    shown = Cells(
        world._repr_html_() + sol._repr_html_() + opt._repr_html_() + checks._repr_html_()
    )
    for text in ("gap-natural-T2", "9 × 3 numbers from 1 to 98", "7.417", "5.381", "2.037", "1.245",
                 "violated", "≤", "=", "feature norms run from 1 to 8"):  # fmt: skip
        assert text in shown.cells
    long = world.replace(meta={"words": ["word"] * 99, "few": [1, 2]})._repr_html_()
    assert "words: 99 entries, few: [1, 2]" in Cells(long).cells
    for kind in KINDS.values():
        for make in list(kind.families.values())[:2]:
            made = make(0)
            assert Cells(made._repr_html_()).cells[0] == made.name


def test_nothing_in_a_name_is_markup(world):
    shown = world.replace(name="<script>alert(1)</script>\x1b")._repr_html_()
    assert "script" not in Cells(shown).tags
    assert "\x1b" not in shown


def test_checks_are_a_list_that_knows_frames_and_latex(checks):
    assert isinstance(checks, list)
    frame = checks.to_frame()
    assert list(frame["claim"]) == [c.claim for c in checks]
    row = frame[frame["claim"] == "ss.thm1.gap"].iloc[0]
    assert row["ratio"] == pytest.approx(1.6361, rel=1e-4)
    undecided = frame[frame["verdict"] == "undecided"]
    assert len(undecided)
    assert undecided["ratio"].isna().all()
    latex = checks.to_latex()
    assert latex.count(r"\\") == len(checks) + 1
    assert r"\texttt{ss.thm1.gap} & violated & $2.037$ & $\le$ & $1.245$ & $1.636$ \\" in latex
    assert not re.search(r"[≤–]|(?<![\\a-z])_", latex)


def test_frames_need_pandas_and_say_so(checks, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match="pandas"):
        checks.to_frame()


# -- figures on one's own instances -------------------------------------------------------------


def test_figures_of_your_own(world, checks):
    try:
        figure = soupcheck.plot.ladder(world, soupcheck.generate("dirichlet", 1))
        labels = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
        assert labels == ["gap-natural-T2", "dirichlet-1"]
        last = [line.get_ydata()[-1] for line in figure.axes[0].get_lines()[:2]]
        assert last[0] == pytest.approx(1.2448 / 2.0366, rel=1e-3)
        figure = soupcheck.plot.landscape(soupcheck.solve(world), points=11)
        assert "J = 5.3809" in figure.legends[0].get_texts()[0].get_text()
        figure = soupcheck.plot.waterfall(world)
        assert "first to break" in " ".join(t.get_text() for t in figure.axes[0].texts)
        assert figure.axes[0].get_xlabel() == "reward units"
        figure = soupcheck.plot.waterfall(world, "ss.thm1.kl", font="times")
        ends = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert (ends[0], ends[-1], figure.axes[0].get_xlabel()) == (
            "true KL",
            "printed (9)",
            "nats",
        )
        assert not any(end.startswith("ss.") for end in ends)
        # as in print whatever style is in use, and nothing is left of it
        assert figure.axes[0].get_yticklabels()[0].get_fontname() == "STIXGeneral"
        assert figure.get_constrained_layout()
        # no font of a kind that camera-ready checks refuse, though matplotlib's own setting asks for it
        assert plt.rcParams["pdf.fonttype"] == 3
        file = BytesIO()
        figure.savefig(file, format="pdf")
        assert b"/FontFile2" in file.getvalue()
        assert b"/Type3" not in file.getvalue()
        assert not plt.rcParams["figure.constrained_layout.use"]
        chosen = [
            c for c in checks if c.claim in ("ss.thm1.gap", "ss.thm1.gap.sharp", "ss.thm1.kl.any")
        ]
        for given in (chosen, Checks(chosen).to_frame()):
            drawn = soupcheck.plot.tightness(given).axes[0].collections
            assert [2.0366, 1.2448] in [
                [round(x, 4) for x in p] for c in drawn for p in c.get_offsets()
            ]
    finally:
        plt.close("all")


def test_figures_say_what_cannot_be_drawn(checks):
    one = soupcheck.generate("dirichlet", 0, K=1)
    with pytest.raises(InstanceError, match=r"K = 1.*two specialists"):
        soupcheck.plot.landscape(one)
    with pytest.raises(InstanceError, match="nothing to bound"):
        soupcheck.plot.ladder(one)
    with pytest.raises(InstanceError, match="no printed proof"):
        soupcheck.plot.waterfall(one, "ss.delta")
    with pytest.raises(InstanceError, match="is an equality"):
        soupcheck.plot.waterfall(one, "ss.lemma1")
    with pytest.raises(InstanceError, match="'serif': is unknown"):
        soupcheck.plot.ladder(soupcheck.generate("dirichlet", 1), font="serif")
    with pytest.raises(InstanceError, match="no inequality"):
        soupcheck.plot.tightness([c for c in checks if c.kind == "equality"])
    with pytest.raises(InstanceError, match="at most 6 can be told apart"):
        soupcheck.plot.tightness(checks)


# -- ledgers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ledgers(world, tmp_path_factory):
    """Before, and after: rewards changed under one name, an instance gone, a verdict turned by hand."""
    folder = tmp_path_factory.mktemp("ledgers")
    tree = soupcheck.generate("tree", 0)
    for name, kept in (("a", [world, tree]), ("b", [world.replace(beta=1.01)])):
        (folder / name).mkdir()
        for i, mdp in enumerate(kept):
            mdp.save(folder / name / f"{i}.json")
        run(
            "verify",
            folder / name,
            "--claims",
            "ss.thm1.gap,ss.delta",
            "--json",
            folder / f"{name}.jsonl",
        )
    return folder / "a.jsonl", folder / "b.jsonl"


def test_ledgers_compared(ledgers, tmp_path):
    a, b = ledgers
    assert (compare(a, a), compare(a, a).same) == ([], 4)
    found = compare(a, b)
    assert [(c.what, c.instance) for c in found] == [
        ("instance", "gap-natural-T2"), ("instance", "gap-natural-T2"),
        ("only in A", "tree-0"), ("only in A", "tree-0"),
    ]  # fmt: skip
    assert Cells(found._repr_html_()).cells[0] == (
        "0 checks the same, 2 of instances whose content changed, 2 only in A"
    )
    assert list(found.to_frame()["what"]) == [c.what for c in found]
    rows = [json.loads(line) for line in a.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if row["slack"] is not None:
            row["slack"] += 0.9 * row["error"]
    rows[1]["slack"] += 3.0 * rows[1]["error"] + 1e-12
    rows[0]["verdict"] = "holds"
    moved = tmp_path / "moved.jsonl"
    moved.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    changes = compare(a, moved)
    assert [(c.what, c.claim) for c in changes] == [
        ("verdict", rows[0]["claim"]), ("numbers", rows[1]["claim"]),
    ]  # fmt: skip
    assert changes.turned == changes[:1]


def test_ledger_diff_on_the_command_line(ledgers, tmp_path):
    a, b = ledgers
    assert run("ledger", "diff", a, a, "--gate").exit_code == 0
    done = run("ledger", "diff", a, b)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "gap-natural-T2: content changed, 2 checks, 0 verdicts turned",
        "tree-0: only in A, 2 checks",
    ]
    assert len(lines) == 3  # a line an instance, and the counts
    assert "ss.thm1.gap" in run("ledger", "diff", a, b, "-v").stdout
    assert run("ledger", "diff", a, b, "--gate").exit_code == 1
    done = run("ledger", "diff", a, b, "--json", "-")
    assert {json.loads(line)["what"] for line in done.stdout.splitlines()} == {
        "instance",
        "only in A",
    }
    rows = [json.loads(line) for line in b.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["verdict"] = "undecided"
    turned = tmp_path / "turned.jsonl"
    turned.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    done = run("ledger", "diff", a, turned)
    assert "gap-natural-T2: content changed, 2 checks, 2 verdicts turned" in done.stdout
    assert {row["claim"] for row in rows} <= set(done.stdout.split())
    bad = tmp_path / "bad.jsonl"
    for text, told in (
        ('{"instance": "x"}', "sha256 = None: missing"), ("[1]", "not an object"), ("", "is empty"),
        (a.read_text().splitlines()[0].replace('"sha256": "', '"sha256": 3, "x": "'), "sha256 = 3"),
    ):  # fmt: skip
        bad.write_text(text, encoding="utf-8")
        done = run("ledger", "diff", a, bad)
        assert done.exit_code == 2
        assert told in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert "say `ledger diff A B`" in run("ledger", "merge", a, b).stderr


# -- what runs have written -----------------------------------------------------------------------


def test_an_instance_is_no_ledger(world, tmp_path):
    path = tmp_path / "world.json"
    world.save(path)
    with pytest.raises(InstanceError, match=r"is an instance or a witness.*TokenMDP"):
        soupcheck.read(path)


def test_a_ledger_is_read_back(ledgers):
    read = soupcheck.read(ledgers[0])
    assert Cells(read._repr_html_()).cells[0] == f"{ledgers[0]}: 4 records"
    frame = read.to_frame()
    assert list(frame["claim"]) == [row["claim"] for row in read]
    assert frame["lhs"][0] == pytest.approx(2.0366, rel=1e-3)


def test_a_sweep_and_an_experiment_are_read_back(tmp_path):
    """Parts put together and parts that are not, each once; an experiment's records as they were."""
    store = Store(tmp_path / "sweep")
    for task in ("aa", "bb"):
        store.write(task, part_of(task, [{"claim": task, "lhs": 0.5, "sha256": "0f" * 32}]))
    store.compact(["aa"])
    read = soupcheck.read(store.folder)
    assert sorted((r["task"], r["lhs"], r["sha256"]) for r in read) == [
        ("aa", 0.5, "0f" * 32), ("bb", 0.5, "0f" * 32),
    ]  # fmt: skip
    assert set(read.to_frame()["claim"]) == {"aa", "bb"}
    store.path("bb").write_bytes(store.path("bb").read_bytes()[:-9])
    with pytest.raises(InstanceError, match="go on with the run"):
        soupcheck.read(store.folder)

    record = {"method": "mod", "share": 0.25, "losses": {"span": 0.1}}
    other = Store(tmp_path / "experiment")
    other.write("cc", records_part("cc", [record]))
    read = soupcheck.read(other.folder)
    assert list(read) == [record]
    assert Cells(read._repr_html_()).cells[1:] == ["method", "share", "mod", "0.25"]


def test_what_no_run_has_written_is_one_line(tmp_path):
    with pytest.raises(InstanceError, match="no part of a sweep"):
        soupcheck.read(tmp_path)
    path = tmp_path / "text.jsonl"
    path.write_text("[1]\n", encoding="utf-8")
    with pytest.raises(InstanceError, match="line 1"):
        soupcheck.read(path)
