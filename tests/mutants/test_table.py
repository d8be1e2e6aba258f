"""The planted mistakes fit the code as it is; ``python tests/mutants/run.py`` plants them."""

from pathlib import Path

import pytest

from mutants.table import MUTANTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_text_is_there_once(mutant):
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.old != mutant.new
    for path in mutant.tests:
        assert (ROOT / path).exists() or not path.startswith("tests/")


def test_names_are_unique():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 40
