"""pytest plugin: fixtures for tests of programs that place calls.

pytest imports it in every run of every environment that has telecmi_async installed. So it
imports nothing else of the package until a fixture is used: that takes 0.1 s. See
``docs/testing.md`` for the fixtures.
"""

from __future__ import annotations

from contextlib import nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

    from telecmi_async import CallService
    from telecmi_async.simulator import Simulator

__all__ = ["call_service", "call_service_options", "pytest_configure", "telecmi_simulator"]

_MARKER: Final = (
    "telecmi(strict=True, **options): options of the Simulator that the test's fixtures use"
)
_LOOP_SCOPES: Final = ("function", "class", "module", "package", "session")
_CALLER_ID: Final = 19170000000


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and what pytest-asyncio needs if it is there."""
    config.addinivalue_line("markers", _MARKER)
    if config.pluginmanager.hasplugin("asyncio"):
        config.pluginmanager.register(_fixtures_for_asyncio(), "telecmi_async.asyncio")


@pytest.fixture
def telecmi_simulator(request: pytest.FixtureRequest) -> Generator[Simulator]:
    """TeleCMI within the process: a simulator that dials nobody and remembers everything.

    ``@pytest.mark.telecmi(latency=0.2, life="timed")`` gives it options. Calls live and end at
    once, on whatever clock. At its end the test fails if a number was dialled twice, or if the
    package logged an error; ``@pytest.mark.telecmi(strict=False)`` has it pass.
    """
    from telecmi_async.simulator import Simulator  # noqa: PLC0415  # see the module's docstring
    from telecmi_async.testing import strict  # noqa: PLC0415  # see the module's docstring

    # One test's calls have other ids than the next one's: a receiver of the whole program
    # would take its events for repeats.
    options: dict[str, Any] = {"seed": request.node.nodeid, "life": "immediate"}
    for marker in reversed([*request.node.iter_markers("telecmi")]):  # the closest one wins
        if marker.args:
            raise pytest.UsageError("pytest.mark.telecmi takes options by their names only")
        options |= marker.kwargs
    checked = options.pop("strict", True)
    simulator = Simulator(**options)
    with strict(simulator) if checked else nullcontext():
        yield simulator


@pytest.fixture
def call_service_options() -> dict[str, Any]:
    """Options of the `CallService` that ``call_service`` is: override it to give some."""
    return {}


@pytest.fixture
def call_service(request: pytest.FixtureRequest) -> CallService:
    """A `CallService` whose calls all end in ``telecmi_simulator``, open until the test's end.

    It has a caller id, and a receiver of events; ``call_service_options`` adds to that.
    """
    # An async fixture belongs to one of pytest's plugins for async tests. Which one is known
    # only when a test asks for it.
    service: CallService = request.getfixturevalue(_fixture_for(request))
    return service


def _fixture_for(request: pytest.FixtureRequest) -> str:
    """Return the name of the fixture that runs where the test runs."""
    marker = request.node.get_closest_marker("asyncio")
    if "anyio_backend" in request.fixturenames or request.node.get_closest_marker("trio"):
        return "_call_service"
    if marker is None or not request.config.pluginmanager.hasplugin("asyncio"):
        pytest.fail(
            "call_service lives in an event loop: make the test an async function, and mark it "
            "with pytest.mark.anyio or pytest.mark.asyncio. telecmi_simulator works without",
            pytrace=False,
        )
    default = request.config.getini("asyncio_default_test_loop_scope")
    return f"_call_service_in_{marker.kwargs.get('loop_scope', default)}"


def _complete(options: dict[str, Any]) -> dict[str, Any]:
    """Return a service's options with what it always has."""
    from telecmi_async import Receiver  # noqa: PLC0415  # see the module's docstring
    from telecmi_async.events.receiver import new_token  # noqa: PLC0415  # see the module's docstring

    return {"from_": _CALLER_ID, "events": Receiver(new_token()), **options}


@pytest.fixture
async def _call_service(
    telecmi_simulator: Simulator, call_service_options: dict[str, Any]
) -> AsyncIterator[CallService]:
    """The service on anyio's plugin or pytest-trio, which take any async fixture."""
    async with telecmi_simulator.service(**_complete(call_service_options)) as service:
        yield service


def _fixtures_for_asyncio() -> ModuleType:
    """Return a plugin with the service on pytest-asyncio, which wants fixtures to be its own.

    There is one for each scope that an event loop can have, since it belongs to the test's.
    """
    import pytest_asyncio  # noqa: PLC0415  # it is loaded only if it is installed

    def make() -> Callable[..., AsyncIterator[CallService]]:
        async def opened(
            telecmi_simulator: Simulator, call_service_options: dict[str, Any]
        ) -> AsyncIterator[CallService]:
            async with telecmi_simulator.service(**_complete(call_service_options)) as service:
                yield service

        return opened

    plugin = ModuleType("telecmi_async.asyncio")
    for scope in _LOOP_SCOPES:
        name = f"_call_service_in_{scope}"
        setattr(plugin, name, pytest_asyncio.fixture(make(), name=name, loop_scope=scope))
    return plugin
