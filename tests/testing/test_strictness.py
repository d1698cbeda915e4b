"""`strict`: which mistakes fail a test."""

from __future__ import annotations

import logging

import anyio
import pytest

from telecmi_async import Hangup, Receiver
from telecmi_async.events.receiver import new_token
from telecmi_async.simulator import Simulator
from telecmi_async.testing import strict

pytestmark = pytest.mark.anyio

NUMBER = 19170000001


async def test_a_duplicate_is_found() -> None:
    """A number that was dialled twice is an error, which shows it masked."""
    simulator = Simulator()

    duplicate = pytest.raises(AssertionError, match=r"more than once: •+0001 \(2 times\)$")
    with duplicate, strict(simulator):
        async with simulator.service(from_=19170000000) as service:
            for _ in range(2):
                await service.make_call(to=NUMBER, pcmo=[Hangup()])


def test_an_error_in_the_log_is_found() -> None:
    """An error that the package logs is found; warnings and other loggers' errors are not."""
    found = pytest.raises(AssertionError, match=r"^telecmi_async logged: one •+0001\ntwo$")
    with found, strict(Simulator()):
        logging.getLogger("telecmi_async").error("one %d", NUMBER)
        logging.getLogger("telecmi_async.simulator").error("two")
        logging.getLogger("telecmi_async").warning("three")
        logging.getLogger("another").error("four")


def test_what_the_test_itself_raises_comes_first() -> None:
    """After an exception of the body nothing is checked, and the log handler is removed."""
    with pytest.raises(KeyError), strict(Simulator()):
        logging.getLogger("telecmi_async").error("an error")
        raise KeyError
    listeners = logging.getLogger("telecmi_async").handlers

    assert not [handler for handler in listeners if "strict" in type(handler).__module__]


async def test_a_simulator_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in the simulator is reported as an error, besides a test that may hang."""
    receiver = Receiver(new_token())
    simulator = Simulator(life="immediate")

    async def broken(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr(receiver, "handle", broken)
    found = pytest.raises(AssertionError, match="the simulator failed; from here on no time")
    with found, strict(simulator):
        async with simulator.service(from_=19170000000, events=receiver) as service:
            await service.make_call(to=NUMBER, pcmo=[Hangup()])
            await anyio.sleep(1)
