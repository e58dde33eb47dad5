"""The benchmark's tables, on small sizes; no test looks at a time."""

import json
import re

import jax
import pytest

from scripts import bench


def test_table():
    assert str(bench.Table("Title", ["name", "ms"], [["one", 1.23456], ["longer", 100.0]])).split("\n") == [
        "",
        "Title",
        "name       ms",
        "-------------",
        "one     1.235",
        "longer    100",
    ]


def test_runs_take_turns_and_the_first_is_not_counted(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(bench.time, "perf_counter", lambda: clock[0])

    def run(name, seconds):
        calls.append(name)
        clock[0] += seconds.pop(0)

    runs = {"a": lambda: run("a", a), "b": lambda: run("b", b)}
    a, b = [100.0, 1.0, 9.0, 2.0], [100.0, 5.0, 5.0, 7.0]
    assert bench.medians(runs, 3) == {"a": 2.0, "b": 5.0}
    assert calls == ["a", "b"] * 4


@pytest.mark.parametrize("family", bench.FAMILIES, ids=lambda f: f.__name__)
def test_models_of_a_family_have_one_structure(family):
    one, other = (jax.tree.structure(jax.eval_shape(family, key)) for key in jax.random.split(jax.random.key(0)))
    assert one == other  # or they would be compiled again


def test_quick_run(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setattr(bench, "SAVED", tmp_path / "bench.json")
    (tmp_path / "bench.json").write_text('{"large": {"tables": []}}')
    bench.main(["--quick", "--save", "--only", "small"])
    out, err = capsys.readouterr()
    saved = json.loads((tmp_path / "bench.json").read_text())
    assert list(saved) == ["large", "small"] and saved["small"]["device"] == out.partition("\n")[0]
    assert str(bench.Table(**saved["small"]["tables"][0])) in out
    assert out.startswith("JAX ") and err == "  small: 100 memories of 64\n"
    assert re.search(r"^100 memories of 64( +[\d.e-]+){5}$", out, re.M)
    assert re.search(r"^target, below +1\.3 +1\.5$", out, re.M)


MEASURED = {"first": 0.5, "seconds": 0.001, "ratios": [1.0, 2.0, 4.0], "gives": ["x", "energy"]}
MEASURED |= {"off": 1e-6, "steps": 40}


def test_other_programs_that_cannot_be_installed_are_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "measure", lambda programs, quick, whole: {"hamux": MEASURED})
    monkeypatch.setattr(bench, "BUILD", tmp_path)
    monkeypatch.setattr(bench.sys, "executable", str(tmp_path / "python"))
    out = "\n".join(map(str, bench.peers(quick=True)))
    assert re.search(r"^hamux +1 +2 +1\.00 to 4\.00 +1e-06 +yes$", out, re.M)
    assert re.search(r"^hamux +1 +2 +1\.00 to 4\.00 +1e-06 +yes +no +40 +0\.5$", out, re.M)
    assert re.findall(r"^(.+) left out: .*No such file.*$", out, re.M) == ["hamux==0.2.2", "torch==2.13.0"]


def test_programs_must_agree():
    with pytest.raises(AssertionError, match="^torch gives other states, off by 1.0e-02"):
        bench.compared({"hamux": MEASURED, "torch": MEASURED | {"off": 0.01}}, True, False)
