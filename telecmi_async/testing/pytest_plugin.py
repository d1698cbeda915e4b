"""pytest plugin: fixtures for tests of programs that place calls.

pytest imports it in every run of every environment that has telecmi_async installed. So it
imports nothing else of the package, which takes 0.1 s, until a fixture is used. See
``docs/how-to/testing.md`` for the fixtures.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import count
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator

    from telecmi_async import CallService
    from telecmi_async.pcmo.flow import FlowLike
    from telecmi_async.simulator import Callee, SimulatedCall, Simulator
    from telecmi_async.voice import Streams

_MARKER: Final = (
    "telecmi(strict=True, **options): options of the Simulator that the test's fixtures use"
)
_LOOP_SCOPES: Final = ("function", "class", "module", "package", "session")
_CALLER_ID: Final = 19170000000


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and fixtures for pytest-asyncio if it is installed."""
    config.addinivalue_line("markers", _MARKER)
    if config.pluginmanager.hasplugin("asyncio"):
        config.pluginmanager.register(_fixtures_for_asyncio(), "telecmi_async.asyncio")


@pytest.fixture
def telecmi_simulator(request: pytest.FixtureRequest) -> Generator[Simulator]:
    """A simulator of TeleCMI in this process, which rings no phone and records all requests.

    ``@pytest.mark.telecmi(latency=0.2, life="timed")`` gives it options. By default calls end
    at once, on any clock. The test fails at its end if a number was dialled twice or the package
    logged an error, unless it has ``@pytest.mark.telecmi(strict=False)``.

    Example:
        Give your program a service of the simulator::

            @pytest.mark.anyio
            async def test_reminder(telecmi_simulator):
                async with telecmi_simulator.service(from_=19170000000) as service:
                    await service.make_call(to=19170000001, pcmo=[Hangup()])
                assert telecmi_simulator.placed(19170000001) == 1
    """
    from telecmi_async.simulator import Simulator  # noqa: PLC0415  # see the module's docstring
    from telecmi_async.testing import strict  # noqa: PLC0415  # see the module's docstring

    # Tests need different ids of calls: a receiver that they share would take the events of the
    # second test for repeats.
    options: dict[str, Any] = {"seed": request.node.nodeid, "life": "immediate"}
    for marker in reversed([*request.node.iter_markers("telecmi")]):  # the closest one wins
        if marker.args:
            raise pytest.UsageError("pytest.mark.telecmi takes options by name only")
        options |= marker.kwargs
    checked = options.pop("strict", True)
    simulator = Simulator(**options)
    with strict(simulator) if checked else nullcontext():
        yield simulator


@pytest.fixture
def call_service_options() -> dict[str, Any]:
    """Options for the `CallService` of ``call_service``; override this fixture to change them.

    Example:
        Every test of this file dials at most five calls a second::

            @pytest.fixture
            def call_service_options():
                return {"rate": RateLimit(5)}
    """
    return {}


@pytest.fixture
def call_service(request: pytest.FixtureRequest) -> CallService:
    """An open `CallService` whose calls go to ``telecmi_simulator``.

    It has a caller id and a receiver of events; ``call_service_options`` can change both.

    Example:
        A test of a call::

            @pytest.mark.anyio
            async def test_call(call_service):
                call = await call_service.make_call(to=19170000001, pcmo=[Hangup()])
                assert (await call.ended()).answered
    """
    # An async fixture belongs to one of pytest's plugins for async tests. The test that uses it
    # decides which one.
    service: CallService = request.getfixturevalue(_fixture_for(request))
    return service


@pytest.fixture
def telecmi_talk(
    telecmi_simulator: Simulator, call_service_options: dict[str, Any]
) -> Callable[..., Awaitable[SimulatedCall]]:
    """A function that has a voice bot talk to a simulated callee, and returns the call.

    It takes your `telecmi_async.voice.Streams`, a `Callee` unless it is one that says nothing, and
    a flow (``pcmo``) unless it is ``streams.flow()``. It places a call, each to another number, and
    waits for its end. Its ``heard`` is what the callee heard. On a virtual clock no test waits.

    Example:
        The bot falls silent when it is interrupted::

            from telecmi_async.simulator import Callee, Tone


            @pytest.mark.anyio
            async def test_interruption(telecmi_talk):
                callee = Callee(says=[Tone(1.0)], talks_over_after=1.2)
                call = await telecmi_talk(streams, callee)
                assert call.heard.barge_ins[0].delay <= 0.15
    """

    async def talk(
        streams: Streams, callee: Callee | None = None, *, pcmo: FlowLike | None = None
    ) -> SimulatedCall:
        numbers = count(_CALLER_ID + 1)
        number = next(each for each in numbers if not telecmi_simulator.placed(each))
        if callee is not None:
            telecmi_simulator.callees[number] = callee
        options = _service_options(call_service_options) | {"streams": streams}
        async with telecmi_simulator.service(**options) as service:
            call = await service.make_call(to=number, pcmo=pcmo or streams.flow())
            await call.ended()
        return telecmi_simulator.call(call.request_id)

    return talk


def _service_options(given: dict[str, Any]) -> dict[str, Any]:
    from telecmi_async import Receiver  # noqa: PLC0415  # see the module's docstring
    from telecmi_async.events.receiver import new_token  # noqa: PLC0415  # see the module's docstring

    return {"from_": _CALLER_ID, "events": Receiver(new_token())} | given


def _fixture_for(request: pytest.FixtureRequest) -> str:
    """Return the name of the fixture for the test's event loop."""
    marker = request.node.get_closest_marker("asyncio")
    if "anyio_backend" in request.fixturenames or request.node.get_closest_marker("trio"):
        return "_call_service"
    if marker is None or not request.config.pluginmanager.hasplugin("asyncio"):
        pytest.fail(
            "call_service lives in an event loop: make the test an async function, and mark it "
            "with pytest.mark.anyio or pytest.mark.asyncio. telecmi_simulator needs neither",
            pytrace=False,
        )
    default = request.config.getini("asyncio_default_test_loop_scope")
    return f"_call_service_in_{marker.kwargs.get('loop_scope', default)}"


def _new_fixture() -> Callable[..., AsyncIterator[CallService]]:
    """Return a new function that opens the service: a fixture is made of each only once."""

    async def opened(
        telecmi_simulator: Simulator, call_service_options: dict[str, Any]
    ) -> AsyncIterator[CallService]:
        options = _service_options(call_service_options)
        async with telecmi_simulator.service(**options) as service:
            yield service

    return opened


# For anyio's plugin and pytest-trio, which accept any async fixture.
_call_service = pytest.fixture(_new_fixture(), name="_call_service")


def _fixtures_for_asyncio() -> ModuleType:
    """Return a plugin with the service for pytest-asyncio, which needs its own fixtures.

    There is one for each scope of an event loop: the service must run in the test's loop.
    """
    import pytest_asyncio  # noqa: PLC0415  # it may not be installed

    plugin = ModuleType("telecmi_async.asyncio")
    for scope in _LOOP_SCOPES:
        name = f"_call_service_in_{scope}"
        setattr(
            plugin, name, pytest_asyncio.fixture(_new_fixture(), name=name, loop_scope=scope)
        )
    return plugin
