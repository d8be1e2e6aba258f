"""The stubs list all kinds; `make types` compares their arguments with the functions'."""

import ast
from pathlib import Path

import ganops
from ganops._common.loss_kinds import ALIASES, KINDS

STUB = Path(ganops.__file__).parent / "ops" / "adversarial_loss.pyi"


def test_the_stub_has_every_kind_under_every_name():
    found = {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Subscript):
            names = node.value.slice.elts
            found[node.target.id] = {name.value for name in names}
    paired = {name for name, kind in KINDS.items() if kind.paired}
    paired |= {alias for alias, name in ALIASES.items() if name in paired}
    assert found == {"_Paired": paired, "_Unpaired": {*KINDS, *ALIASES} - paired}
