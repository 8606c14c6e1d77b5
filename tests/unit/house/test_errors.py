"""The error tree: exit codes, the printed form, pickling."""

from __future__ import annotations

import pickle  # noqa: TID251 - errors cross process borders by it

import pytest

from loren import errors
from loren.errors import LorenError, Problem


def subclasses(kind: type[LorenError]) -> list[type[LorenError]]:
    return [kind, *(deep for child in kind.__subclasses__() for deep in subclasses(child))]


@pytest.mark.parametrize("kind", subclasses(LorenError)[1:], ids=lambda kind: kind.__name__)
def test_every_error_pickles_prints_and_has_a_documented_exit_code(kind: type[LorenError]) -> None:
    error = kind("2 problems", problems=[Problem("f:1", "expected a, found b", "D001"), Problem("f:2", "c")], hint="do x")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error) == "2 problems\n  f:1  expected a, found b  [D001]\n  f:2  c\nhint: do x"
    assert kind.exit_code in {2, 3, 4, 5, 6, 130}
    documented = [line.split() for line in (errors.__doc__ or "").splitlines() if kind.__name__ in line.split()]
    assert [str(kind.exit_code) in words for words in documented] == [True]
    assert any(base in kind.__mro__ for base in (ValueError, RuntimeError, OSError))
