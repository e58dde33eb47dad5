"""The list of faults is read as it is written. The faults themselves are injected by `make faults`."""

import pytest

from scripts import faults
from scripts.project import ROOT, BuildError


def test_every_fault_is_read():
    found = faults.listed(faults.FAULTS)
    assert len(found) == len(faults.FAULTS.strip().split("\n\n")) >= 20
    assert all(o.tests and o.old != o.new for o in found)
    two = "a sign, twice: test_a test_b\n- x\n- y\n+ -x\n+ -y\n"
    assert faults.listed(two) == [("a sign, twice", ["test_a", "test_b"], "x\ny", "-x\n-y")]


@pytest.mark.parametrize("text", ["x = 1", "z"])
def test_what_is_replaced_must_be_there_once(tmp_path, text):
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    for file in files:
        file.write_text(f"x = 1\n{file.stem} = 2\n")
    with pytest.raises(BuildError, match="once, and does so [02] times"):
        faults.place(text, files)
    assert faults.place("b = 2", files) == files[1]


def test_every_fault_has_its_place_and_its_tests():
    for fault in faults.listed(faults.FAULTS):
        faults.place(fault.old, faults.code(ROOT / "hamux"))
        assert all(faults.node(ROOT / "hamux", *name.rpartition("::")[::2]) for name in fault.tests)
