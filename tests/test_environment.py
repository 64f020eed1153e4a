"""Machines as they are: full disks, closed pipes, other encodings, a damaged cache, Ctrl-C."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from conftest import random_mdp
from numba.core import event
from numba.core.caching import CacheImpl
from numba.core.errors import NumbaError

from bounds.records.output import OutputFile, dump, encodable
from bounds.report.console import warm_up
from toymdp.errors import OutputError, printable
from toymdp.files import write_whole
from toymdp.kernels import compiled

MAIN = "import sys; from bounds.cli import main; main(sys.argv[1:])"
ROOT = str(Path(__file__).parents[1])
NO_HOME = "/dev/null/home"  # nothing can be created below it, whoever runs the test


def start(script: str, *arguments: object, **options) -> subprocess.Popen[bytes]:
    """A process of ours; bytes, since what it writes need not be UTF-8."""
    environment = {**os.environ, "PYTHONPATH": ROOT, **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], env=environment, **options
    )


def shell(line: str, instance: Path) -> subprocess.CompletedProcess[str]:
    """A line of bash in which ``soupcheck`` and ``FILE`` are what they should be."""
    return subprocess.run(
        ["bash", "-c", 'soupcheck() { "$PY" -c "$MAIN" "$@"; }; set -o pipefail; ' + line],
        env={**os.environ, "PY": sys.executable, "MAIN": MAIN, "FILE": str(instance),
             "PYTHONPATH": ROOT, "COLUMNS": "120"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def instance(tmp_path) -> Path:
    path = tmp_path / "small.json"
    random_mdp(0).replace(name="größe 你 \U0001f600").save(path)
    return path


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""},
    ],
    ids=["cp1252", "latin-1", "C"],
)  # fmt: skip
def test_encodings_without_greek_letters(instance, environment):
    """Tables spell out what is lacking; JSON says the same in every encoding."""
    arguments = ("solve", instance, "--json", "-")
    with start(MAIN, *arguments, env=environment, stdout=-1, stderr=-1) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    encoding = environment.get("PYTHONIOENCODING") or "ascii"
    assert json.loads(out.decode(encoding))["lambda"]
    shown = err.decode(encoding)
    assert "lambda*" in shown
    assert r"\u4f60 \U0001f600" in shown
    assert shown.startswith("größe" if encoding != "ascii" else r"gr\xf6\xdfe")
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1  # what is spelt out is measured too


def test_standard_output_that_cannot_be_written(instance):
    """Full or closed: one line; abandoned: none; exit code 2, and nothing of Python's own."""
    for line, reason in (
        ("soupcheck claims --json - > /dev/full", "No space left"),
        ("soupcheck claims --markdown > /dev/full", "No space left"),
        ("soupcheck solve $FILE > /dev/full", "No space left"),
        ("soupcheck claims >&-", "is closed"),
    ):
        done = shell(line, instance)
        assert done.returncode == 2, (line, done)
        assert reason in done.stderr
        assert len(done.stderr.splitlines()) == 1, (line, done.stderr)
    assert shell("soupcheck claims >&- 2>&-", instance).returncode == 2
    for option in (["--markdown"], ["--json", "-"], []):
        nobody, out = os.pipe()
        os.close(nobody)  # as head does when it has seen enough
        with start(MAIN, "claims", *option, stdout=out, stderr=-1) as process:
            os.close(out)
            _, err = process.communicate()
        assert (process.returncode, err) == (2, b"")


def test_other_names_of_standard_output(instance, tmp_path):
    """A file that standard output goes to is not opened twice: JSON and tables keep apart."""
    file = tmp_path / "out.txt"
    for name in ("/dev/stdout", "/proc/self/fd/1", str(file)):
        done = shell(
            f"soupcheck claims --json {name} > {file}; soupcheck claims --json {name} | wc -l",
            instance,
        )
        assert done.returncode == 0, done.stderr
        lines = file.read_text(encoding="utf-8").splitlines()
        assert all(json.loads(line)["id"] for line in lines)
        assert name == str(file) or int(done.stdout) == len(lines)
    done = shell(f"soupcheck solve $FILE --json /dev/stdout > {file}", instance)
    assert json.loads(file.read_text(encoding="utf-8"))["lambda"]
    assert "lambda" in done.stderr or "λ" in done.stderr
    for name in ("/dev/stdout", "-"):
        done = run("verify", instance, "--html", name)
        assert done.exit_code == 2
        assert "is where the tables go" in done.stderr
    page = tmp_path / "one"
    assert (
        "is the file of --json too"
        in run("verify", instance, "--html", page, "--json", page).stderr
    )
    text = tmp_path / "text.jsonl"
    text.write_text("mine", encoding="utf-8")
    assert "is an input" in run("verify", "--text", text, "--json", text).stderr
    assert text.read_text(encoding="utf-8") == "mine"


def test_what_bash_offers_as_a_file(instance):
    for line in (
        "soupcheck verify --claims ss.lemma1 <(cat $FILE)", "soupcheck solve /dev/stdin < $FILE",
        "cat $FILE | soupcheck explain /dev/stdin ss.thm1.gap",
    ):  # fmt: skip
        done = shell(line, instance)
        assert done.returncode == 0, done.stderr
    endless = shell(
        "yes '{\"a\": 1}' | soupcheck solve /dev/stdin; exit ${PIPESTATUS[1]}", instance
    )
    assert endless.returncode == 2
    assert len(endless.stderr.splitlines()) == 1


def test_a_disk_that_fills_up_leaves_no_half_page_and_whole_lines(instance, tmp_path):
    resource = pytest.importorskip("resource")
    page, ledger = tmp_path / "page.html", tmp_path / "ledger.jsonl"
    page.write_text("the page of last time", encoding="utf-8")
    before = set(tmp_path.iterdir())
    with start(
        MAIN, "verify", instance, "--claims", "ss.thm1.*", "--html", page, "--json", ledger,
        stdout=-1, stderr=-1, env={"PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)),
    ) as process:  # fmt: skip
        out, err = process.communicate()
    assert process.returncode == 2
    lines = [line for line in err.decode().splitlines() if line.strip()]
    assert "cannot be written" in lines[-1]
    assert b"Traceback" not in err
    assert page.read_text(encoding="utf-8") == "the page of last time"
    assert set(tmp_path.iterdir()) == before | {ledger}
    kept = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]
    printed = [json.loads(line) for line in out.decode().splitlines() if line.startswith("{")]
    assert kept
    assert printed
    assert len({row["claim"] for row in kept + printed}) == len(kept + printed)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_whole(path, b"first")
    link = tmp_path / "link"
    link.symlink_to(path)
    write_whole(link, b"second")
    assert link.is_symlink()
    assert path.read_bytes() == b"second"
    for failure in (OSError(28, "No space left on device"), KeyboardInterrupt()):

        def fail(*_: object, failure: BaseException = failure) -> None:
            raise failure

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(type(failure)):
            write_whole(path, b"third")
        assert path.read_bytes() == b"second"
        assert set(tmp_path.iterdir()) == {path, link}


def test_json_lines_are_lines_and_hold_no_control_character():
    name = "\x1b[2J\x9b1m\x7f\u2028\u202e\ud800 ä"
    line = dump({"name": name})
    assert json.loads(line) == {"name": name}
    assert len(line.splitlines()) == 1
    assert printable(line) == line
    assert json.loads(encodable(line, "ascii")) == {"name": name}
    assert encodable(line, "ascii").isascii()
    assert encodable(line, "utf-8") == line


def test_a_ledger_nowhere_to_be_written_says_so(monkeypatch):
    class Full:
        encoding = "utf-8"

        def write(self, text: str) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    for path in ("-", "/dev/full"):
        with pytest.raises(OutputError, match="No space left"), OutputFile(path) as out:
            out.write(["{}"])


# Ctrl-C at the moment a module is looked for: numpy, numba and others make errors of it
PRESSED = """
import os, signal, sys
def press(event, arguments, pressed=[]):
    if event == "import" and arguments[0] == sys.argv[1] and not pressed:
        pressed.append(True)
        os.kill(os.getpid(), signal.SIGINT)
from bounds.cli import main
sys.addaudithook(press)
main(sys.argv[2:])
"""


def test_ctrl_c_at_any_moment_is_one_line_and_130(instance):
    """While the command line, NumPy, the kernels or a solver are being imported."""
    modules = (
        "bounds.terminal", "logging", "typer", "toymdp.files", "numpy", "numpy._core._multiarray_umath",
        "rich.segment",
        "bounds.claims.catalogue", "numba", "llvmlite.binding", "scipy.optimize", "cvxpy",
    )  # fmt: skip
    for i in range(0, len(modules), 2):  # two at a time: a core each
        processes = [
            start(PRESSED, name, "verify", instance, stdout=-1, stderr=-1)
            for name in modules[i : i + 2]
        ]
        for name, process in zip(modules[i : i + 2], processes, strict=True):
            out, err = process.communicate()
            assert (process.returncode, err) == (130, b"soupcheck: interrupted\n"), (name, err)
            assert out == b""


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (MemoryError("Unable to allocate 9 TiB"), "not enough memory (Unable to allocate 9 TiB);"),
        (PermissionError(13, "Permission denied", "x.json"), "x.json: Permission denied;"),
        (BlockingIOError(11, "Resource unavailable"), "standard output: cannot be written"),
    ],
)
def test_what_the_system_refuses_is_one_line(instance, monkeypatch, failure, said):
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr("bounds.records.loading.read_object", fail)
    done = run("solve", instance)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"soupcheck: {said}")
    assert len(done.stderr.splitlines()) == 1


def test_a_home_that_cannot_be_written(instance, tmp_path):
    page = tmp_path / "page.html"
    homes = {"HOME": NO_HOME, "XDG_CACHE_HOME": NO_HOME, "XDG_CONFIG_HOME": NO_HOME}
    with start(
        MAIN, "verify", instance, "--claims", "ss.thm1.gap.sharp", "--html", page,
        env=homes, stdout=-1, stderr=-1,
    ) as process:  # fmt: skip
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert page.exists()
    assert b"matplotlib" not in err


# -- the cache of compiled kernels ---------------------------------------------------------

KERNEL = """
from toymdp.kernels.compiled import njit

@njit(cache=True, nogil=True)
def twice(x):
    return x + x
"""


@pytest.fixture
def kernel(tmp_path):
    """Imports the kernel anew each time, as the next process would."""
    path = tmp_path / "one_kernel.py"
    path.write_text(KERNEL, encoding="utf-8")
    compiled._said.clear()

    def load():
        spec = importlib.util.spec_from_file_location("one_kernel", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.twice

    yield load
    compiled._said.clear()


def test_a_damaged_cache_is_rebuilt(kernel, tmp_path):
    numbers = np.arange(3.0)
    first = kernel()
    assert not compiled.is_cached(first)
    first(numbers)
    assert compiled.is_cached(first)
    files = {p: p.read_bytes() for p in (tmp_path / "__pycache__").iterdir()}
    assert {p.suffix for p in files} >= {".nbi", ".nbc"}
    kinds = {
        "emptied": lambda content: b"", "cut": lambda content: content[: len(content) // 2],
        "overwritten": lambda content: b"\x00" * len(content), "other": lambda content: b"hello",
        "one bit": lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
    }  # fmt: skip
    for kind, damage in kinds.items():
        for path, content in files.items():
            path.write_bytes(damage(content))
            again = kernel()
            assert np.array_equal(again(numbers), 2 * numbers), (kind, path)
            assert again.stats.cache_misses or kind == "one bit", (kind, path)
            once_more = kernel()
            once_more(numbers)
            assert sum(once_more.stats.cache_hits.values()) == 1, (kind, path)
            files[path] = path.read_bytes()


def test_the_collector_rests_while_a_kernel_is_compiled(kernel):
    """And what it did before it does again, also where compiling fails."""
    seen = []

    class Witness(event.Listener):
        def on_start(self, event):
            seen.append(gc.isenabled())

        def on_end(self, event):
            pass

    witness = Witness()
    event.register("numba:compile", witness)
    try:
        for collects in (True, False):
            (gc.enable if collects else gc.disable)()
            twice = kernel()
            with contextlib.suppress(NumbaError):
                twice(None)
            assert gc.isenabled() == collects
            assert twice(1.0 + collects) == 2.0 + 2 * collects
            assert gc.isenabled() == collects
        assert len(seen) > 2
        assert not any(seen)
    finally:
        gc.enable()
        event.unregister("numba:compile", witness)


def test_a_cache_that_cannot_be_kept_is_one_line(kernel, monkeypatch, caplog):
    with monkeypatch.context() as nowhere:
        nowhere.setattr(CacheImpl, "_locator_classes", [])
        for _ in range(2):
            uncached = kernel()
            assert uncached(2.0) == 4.0
            assert not compiled.is_cached(uncached)
    compiled._said.clear()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiled._KernelFile, "_open_for_write", full)
    assert kernel()(3) == 6
    first, second = (record.getMessage() for record in caplog.records)
    assert "no locator available" in first
    assert "No space left" in second
    assert "\n" not in first + second


def test_a_log_says_what_takes_long_before_it_does(monkeypatch, capsys):
    """Where there is no terminal, too, and on standard error."""
    said = []
    monkeypatch.setattr("toymdp.warm_up.kernels_are_cached", lambda claims: False)
    monkeypatch.setattr(
        "toymdp.warm_up.compile_kernels", lambda claims: said.append(capsys.readouterr())
    )
    warm_up()
    assert (said[0].out, "compiling numerical kernels" in said[0].err) == ("", True)
