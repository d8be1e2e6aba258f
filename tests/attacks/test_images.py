"""The short form of the attacks on `ganops.data.folder`; ``python tests/attacks/images.py`` is the long one."""

import pytest

from attacks.images import ATTACKS, Count


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("name", [name for name, (_, short, _) in ATTACKS.items() if short])
def test_no_attack_on_folders_succeeds(name):
    attack, times, _ = ATTACKS[name]
    count = Count()
    attack(count, times)
    assert count.tried >= times
    assert not count.failures
