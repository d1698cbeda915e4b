"""TeleCMI's constants are defined once; other modules, and SQL, only use them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import telecmi_async
from telecmi_async._internal import telecmi
from telecmi_async._internal.secrets import Secret
from telecmi_async.events.reference import References, new_reference

PACKAGE = Path(telecmi_async.__file__).parent
HOME = PACKAGE / "_internal" / "telecmi.py"
SQL = PACKAGE / "ledger" / "schema" / "postgres"

# Values that are only TeleCMI's. The simulator answers with its codes, so those may recur.
NUMBERS = {5_400, 5_460, 1_860}
WORDS = ("tcm_", "rest.telecmi.com", "piopiy.telecmi.com", "pcmo_make_call")


@pytest.mark.source
@pytest.mark.parametrize(
    "module",
    [path for path in sorted(PACKAGE.rglob("*.py")) if path != HOME],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_no_other_module_repeats_a_constant_of_telecmis(module: Path) -> None:
    """No other module repeats TeleCMI's numbers and words, or those that versions agree on."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    repeated = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and id(node) not in docstrings
        and (
            (isinstance(node.value, int | float) and node.value in NUMBERS)
            or (isinstance(node.value, str) and any(word in node.value for word in WORDS))
        )
    ]

    assert repeated == []


def test_sql_repeats_the_last_delivery_of_a_record_truly() -> None:
    """PostgreSQL uses the same time of a record's last delivery as the Python code."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(SQL.glob("*.sql")))
    start = text.index("CREATE FUNCTION resolve_unknown(")
    body = text[start : text.index("$$;", start)]

    seconds = {float(found) for found in re.findall(r"\b\d{4,}\b", body)}

    assert seconds == {telecmi.LAST_RECORD}


def test_a_record_is_sent_at_0_5_15_and_30_minutes() -> None:
    """The times of doc.telecmi.com/piopiy/docs/webhooks-overview."""
    sent = [sum(telecmi.RECORD_PAUSES[:n]) / 60 for n in range(4)]

    assert sent == [0, 5, 15, 30]
    assert telecmi.LAST_RECORD == 30 * 60
    assert telecmi.RECORD_PATIENCE == 31 * 60


def test_what_versions_agree_on_stays() -> None:
    """References signed by one version of the package are recognised by another."""
    references = References(Secret("0123456789abcdef"))
    signed = references.sign("tcm_" + "a" * 26)

    assert telecmi.REFERENCE_FIELD == "tcm_reference"
    assert signed == "tcm_aaaaaaaaaaaaaaaaaaaaaaaaaa.6itklxvosnrfwot4b6yodjp6t4"
    assert re.fullmatch(telecmi.REFERENCE_PATTERN, signed)
    assert re.fullmatch(telecmi.REFERENCE_PATTERN, references.sign(new_reference()))
