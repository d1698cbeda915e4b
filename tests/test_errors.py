"""The tree of errors: its drawing, and what each error keeps."""

from __future__ import annotations

import copy
import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest

from telecmi_async import errors
from telecmi_async.attempt import Attempt, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

TRIED = (Attempt(1, next(iter(Outcome)), "gateway", status=502, code=502, seconds=0.25),)

EXAMPLES: list[errors.TelecmiError] = [
    errors.TelecmiError("something"),
    errors.InvalidCall("must be a phone number", path="to"),
    errors.InvalidCall("must be a mapping"),
    errors.CallNotPlaced("not placed", attempts=TRIED),
    errors.CallRejected("no", status=404, code=404, body="no such file", attempts=TRIED),
    errors.AuthenticationError("wrong secret", status=200, code=420, attempts=TRIED),
    errors.MissingProperty("from", status=502, code=422, body={"code": 422}, attempts=TRIED),
    errors.RateLimited("slow down", status=429, code=429, attempts=TRIED),
    errors.NotSent("connection refused", attempts=TRIED),
    errors.CallCancelled("the service closed"),
    errors.CallOutcomeUnknown(
        "no answer", reference="c-1", cause="ReadTimeout", attempts=TRIED
    ),
    errors.CallPending("not yet"),
    errors.ConfigurationError("app_id must be a number"),
    errors.InvalidAudio("odd"),
    errors.RequestFailed("not found", status=200, code=404),
    errors.ServiceClosed("closed"),
    errors.StoreError("connection refused"),
    errors.StreamClosed("the far end closed the stream"),
    errors.LedgerLost("the ledger failed: it is damaged"),
    errors.WaitTimeout("not over after 5 s"),
    errors.WebhookError("must be a JSON object"),
    errors.WrongEventLoop("another loop"),
]


for _error in EXAMPLES:
    if isinstance(_error, errors.RateLimited):
        _error.retry_after = 2.5


def classes(root: type[errors.TelecmiError]) -> list[type[errors.TelecmiError]]:
    """Return a class of this module and all its subclasses, depth first."""
    below = [kind for kind in root.__subclasses__() if kind.__module__ == errors.__name__]
    return [root, *(deep for kind in below for deep in classes(kind))]


def drawn() -> dict[str, tuple[str, str | None]]:
    """Return the tree drawn in the module's docstring: name, then parent and built-in base."""
    found: dict[str, tuple[str, str | None]] = {}
    line_of: list[str] = []
    pattern = re.compile(r"^    ([│├└─ ]*)(\w+)(?: \((\w+)\))?(?: |$)", re.MULTILINE)
    for bars, name, mixin in pattern.findall(errors.__doc__ or ""):
        depth = len(bars) // 4
        line_of[depth:] = [name]
        found[name] = (line_of[depth - 1] if depth else "", mixin or None)
    return found


def test_the_drawn_tree_is_the_tree() -> None:
    """The drawing has every class below its parent, with its built-in base."""
    real = {}
    for kind in classes(errors.TelecmiError):
        parent, *mixins = kind.__bases__
        name = "" if kind is errors.TelecmiError else parent.__name__
        real[kind.__name__] = (name, mixins[0].__name__ if mixins else None)

    assert drawn() == real


def test_every_error_is_public() -> None:
    """`__all__` names every class of the tree and nothing else."""
    assert sorted(kind.__name__ for kind in classes(errors.TelecmiError)) == errors.__all__


def test_every_error_has_an_example() -> None:
    """The examples of this file cover every error class."""
    assert {type(error) for error in EXAMPLES} == set(classes(errors.TelecmiError))


@pytest.mark.parametrize("error", EXAMPLES, ids=repr)
@pytest.mark.parametrize(
    "again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy]
)
def test_an_error_survives_pickling_and_copying(
    error: errors.TelecmiError, again: Callable[[Any], Any]
) -> None:
    """Class, text, attributes and notes stay the same."""
    noted = copy.copy(error)
    noted.add_note("while dialling row 7")

    twin = again(noted)

    assert type(twin) is type(error)
    assert twin is not error
    assert str(twin) == str(error)
    assert twin.args == error.args
    assert vars(twin) == {**vars(error), "__notes__": ["while dialling row 7"]}
    assert twin.attempts == error.attempts


@pytest.mark.parametrize("error", EXAMPLES, ids=repr)
def test_only_seven_errors_make_redialling_a_risk(error: errors.TelecmiError) -> None:
    """An error is unsafe to redial only if a phone may have rung or it is about no placing."""
    risky = isinstance(
        error,
        errors.CallOutcomeUnknown
        | errors.CallPending
        | errors.InvalidAudio
        | errors.LedgerLost
        | errors.RequestFailed
        | errors.StreamClosed
        | errors.WaitTimeout,
    )

    assert error.safe_to_redial is not risky


def test_a_path_grows_from_the_inside() -> None:
    """Each outer level adds its own part to the front of an error's path."""
    inner = errors.InvalidCall("must be a phone number", path="number")

    outer = inner.inside("connect[0]").inside("pcmo[1]")

    assert outer.path == "pcmo[1].connect[0].number"
    assert outer.message == "must be a phone number"
    assert str(outer) == "pcmo[1].connect[0].number: must be a phone number"


@pytest.mark.parametrize(("path", "whole"), [("", "pcmo"), ("[2]", "pcmo[2]"), ("x", "pcmo.x")])
def test_a_path_is_glued_as_python_writes_it(path: str, whole: str) -> None:
    """Only names are joined with a dot; indexes are not."""
    assert errors.InvalidCall("…", path=path).inside("pcmo").path == whole


def test_an_invalid_call_without_a_path_is_its_message() -> None:
    """Without a field, the message has no leading colon."""
    assert str(errors.InvalidCall("must be a mapping")) == "must be a mapping"


def test_errors_can_be_caught_as_what_they_are() -> None:
    """Errors about wrong values or wrong timing are also built-in errors."""
    assert issubclass(errors.InvalidCall, ValueError)
    assert issubclass(errors.ConfigurationError, ValueError)
    assert issubclass(errors.WrongEventLoop, RuntimeError)
