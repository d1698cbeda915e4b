"""pytest plugin: runs of real pytest with each plugin that runs async tests."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
import re
import textwrap
from typing import TYPE_CHECKING, Final

import pytest
from project_paths import ROOT, docs_page

import telecmi_async
from telecmi_async.testing import pytest_plugin

if TYPE_CHECKING:
    from collections.abc import Callable

# Inner runs unload what only they import, and the package imports late: with a second copy of a
# module, nothing is what it was.
for module in pkgutil.walk_packages(telecmi_async.__path__, "telecmi_async."):
    if not module.name.endswith("__main__"):
        with contextlib.suppress(ImportError):  # an extra that is missing
            importlib.import_module(module.name)

# Each way to run async tests, with its mark, settings and options.
RUNNERS: Final = {
    "anyio": ("anyio", "", ()),
    "anyio alone": ("anyio", "", ("-p", "no:asyncio")),
    "anyio auto": ("", "anyio_mode = auto", ("-p", "no:asyncio")),
    "asyncio strict": ("asyncio", "asyncio_mode = strict", ()),
    "asyncio auto": ("", "asyncio_mode = auto", ()),
    "asyncio in the module's loop": ("asyncio(loop_scope='module')", "", ()),
    "asyncio in the session's loop": (
        "asyncio",
        "asyncio_default_test_loop_scope = session",
        (),
    ),
    "trio": ("trio", "", ()),
    "trio auto": ("", "trio_mode = true", ()),
}
# Each test that places calls collects garbage at its end; what modules loaded is not searched.
FROZEN: Final = """
import gc

def pytest_collection_finish():
    gc.collect()
    gc.freeze()
"""
# In a process of its own: FastAPI and pydantic, too, import late, and break when they are loaded
# twice.
ALONE: Final = ("--strict-markers", "-p", "no:cacheprovider")
UNMARKED: Final = ("", "markers = asyncio: not known without its plugin", ("-p", "no:asyncio"))
# pytest-asyncio requires users to say which loop their fixtures use.
INI: Final = """
[pytest]
filterwarnings =
    error
    ignore:The configuration option "asyncio_default_fixture_loop_scope" is unset
"""
HEAD: Final = """
import logging

import pytest

from telecmi_async import Hangup, InvalidCall, Receiver, Speak
from telecmi_async.events.receiver import new_token

FLOW = [Speak("Hello."), Hangup()]
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Return a function that runs a test file with real pytest in its strictest mode."""

    def run_file(code: str, runner: str = "anyio") -> pytest.RunResult:
        mark, settings, switches = RUNNERS.get(runner, UNMARKED)
        marked = f"pytestmark = pytest.mark.{mark}\n" if mark else ""
        pytester.makepyfile(HEAD + marked + textwrap.dedent(code))
        pytester.makeini(INI + settings)
        switches = ("--strict-markers", "-p", "no:cacheprovider", *switches)
        return pytester.runpytest_inprocess(*switches)

    return run_file


def backends(runner: str) -> int:
    """Return the number of runs of a test: anyio's plugin runs it on asyncio and on trio."""
    return 2 if runner.startswith("anyio") else 1


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_call_is_placed_and_seen_to_its_end(
    run: Callable[..., pytest.RunResult], runner: str
) -> None:
    """The fixtures work with every async plugin, and waiting takes no real time."""
    ran = run(
        """
        async def test_a_call(call_service, telecmi_simulator):
            call = await call_service.make_call(to=19170000001, pcmo=FLOW)
            result = await call.ended(timeout=5)

            assert result.answered and result.complete
            assert telecmi_simulator.placed(19170000001) == 1
            assert telecmi_simulator.call(call.request_id).from_ == 19170000000
        """,
        runner,
    )

    ran.assert_outcomes(passed=backends(runner))


@pytest.mark.parametrize("runner", RUNNERS)
def test_fixtures_of_ones_own_build_on_it(
    run: Callable[..., pytest.RunResult], runner: str
) -> None:
    """Async fixtures may use the service, and may open another one across tasks."""
    own = "pytest_asyncio" if runner.startswith("asyncio") else "pytest"
    ran = run(
        f"""
        import {own}

        @{own}.fixture
        async def app(call_service):
            yield {{"service": call_service}}

        @{own}.fixture
        async def other(telecmi_simulator):
            async with telecmi_simulator.service(from_=19170000009) as service:
                yield service

        async def test_both(app, other, call_service, telecmi_simulator):
            assert app["service"] is call_service
            await app["service"].make_call(to=19170000001, pcmo=FLOW)
            await other.make_call(to=19170000002, pcmo=FLOW)
            assert telecmi_simulator.numbers() == 2
        """,
        # A fixture's own loop scope is the user's choice.
        {"asyncio in the module's loop": "asyncio strict",
         "asyncio in the session's loop": "asyncio strict"}.get(runner, runner),
    )  # fmt: skip

    ran.assert_outcomes(passed=backends(runner))


# The user's bot, and the virtual clock, on which every runner waits for nothing.
BOT: Final = """
import anyio

from telecmi_async import testing
from telecmi_async.simulator import Callee, Conversation, Tone
from telecmi_async.voice import Streams

streams = Streams("wss://voice.example.com/talk")

@streams.on_stream
async def bot(session):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.play, Tone(5.0).pcm(8000))
        async for pcm in session:
            if any(pcm):
                await session.interrupt()
                break
    await session.play(Tone(1.5).pcm(8000))
    await session.hang_up()

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return testing.virtual_backend(request.param)

"""
CALLEE: Final = "Callee(says=[Tone(0.5)], talks_over_after=1.2)"


@pytest.mark.parametrize("runner", ["anyio", "asyncio strict", "trio"])
def test_a_bot_talks_to_a_callee(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester, runner: str
) -> None:
    """On a virtual clock, a bot's test takes no time and has the same trace in each run."""
    if runner == "asyncio strict":
        pytester.makeconftest(
            """
            from telecmi_async import testing

            def pytest_asyncio_loop_factories():
                return {"virtual": testing.VirtualClockLoop}
            """
        )
    clock = ", autojump_clock" if runner == "trio" else ""
    ran = run(
        BOT
        + f"""
async def test_a_bot(telecmi_talk, telecmi_simulator{clock}):
    began = anyio.current_time()
    calls = [await telecmi_talk(streams, {CALLEE}) for _ in range(3)]
    heard = calls[0].heard

    greeting, goodbye = [each for each in heard.timeline if each.what == "bot"]
    assert heard.first_audio <= 0.1
    assert heard.barge_ins[0].delay <= 0.15
    assert goodbye.until - goodbye.at == pytest.approx(1.5)
    assert len({{each.heard.timeline for each in calls}}) == 1
    assert len({{each.to for each in calls}}) == 3
    assert telecmi_simulator.streams is None
    assert anyio.current_time() - began > 6
""",
        runner,
    )

    ran.assert_outcomes(passed=backends(runner))
    assert ran.duration < 3


def test_streams_of_the_service_serve_a_programs_own_calls(
    run: Callable[..., pytest.RunResult],
) -> None:
    """A service with streams connects its calls to them; the mark's streams go before."""
    ran = run(
        BOT
        + f"""
@pytest.fixture
def call_service_options():
    return {{"streams": streams}}

async def test_by_options(call_service, telecmi_simulator):
    telecmi_simulator.callees[19170000001] = {CALLEE}
    call = await call_service.make_call(to=19170000001, pcmo=streams.flow())
    await call.ended()
    assert telecmi_simulator.call(call.request_id).heard.barge_ins

async def refusing(scope, receive, send):
    await send({{"type": "websocket.close", "code": 1000}})

@pytest.mark.telecmi(streams=refusing)
async def test_by_the_mark(telecmi_talk):
    call = await telecmi_talk(streams, pcmo=streams.flow(rate=16000))
    assert call.heard.frames == 0

async def test_a_callee_that_says_nothing(telecmi_talk):
    call = await telecmi_talk(streams, pcmo=streams.flow(rate=16000) + [Speak("Bye.")])
    assert call.heard.rate == 16000
    assert call.heard.callee.utterances == []
    assert call.heard.timeline[-1].detail.startswith("the callee")
""",
        "anyio alone",
    )

    ran.assert_outcomes(passed=2 * 3)


STRICT: Final = {
    "a number dialled twice": (
        """
        for _ in range(2):
            await call_service.make_call(to=19170000001, pcmo=FLOW)
        """,
        "*AssertionError: dialled more than once: •••••••0001 (2 times)",
    ),
    "a handler that fails": (
        """
        @call_service_options["events"].on_event
        def broken(event):
            raise LookupError(19170000001)

        await (await call_service.make_call(to=19170000001, pcmo=FLOW)).ended()
        """,
        "*AssertionError: telecmi_async logged: the handler *broken failed on *",
    ),
    "a failed call that was not awaited": (
        """
        call_service.make_call(to=19170009930, pcmo=FLOW)
        while not telecmi_simulator.requests:
            await anyio.sleep(0.01)
        """,
        "*AssertionError: telecmi_async logged: call tcm_* to •••••••9930 failed and *",
    ),
    "a failed call that was retried": (
        """
        call_service.make_call(to=19170009911, pcmo=FLOW)
        while telecmi_simulator.requests < 2:
            await anyio.sleep(0.01)
        await anyio.sleep(0.05)
        """,
        "*AssertionError: telecmi_async logged: call tcm_* to •••••••9911 failed and *",
    ),
}


STRICT_HEAD: Final = """
import anyio
from telecmi_async import RetryPolicy

@pytest.fixture
def call_service_options():
    return {
        "events": Receiver(new_token()),
        "retry": RetryPolicy(attempts=2, wait_initial=0.01),
    }

"""


@pytest.mark.parametrize("what", STRICT)
@pytest.mark.parametrize("runner", ["anyio", "asyncio strict", "trio"])
def test_what_a_test_does_not_see_fails_it(
    run: Callable[..., pytest.RunResult], runner: str, what: str
) -> None:
    """Duplicates and unseen errors fail the test that caused them, and show no number."""
    body, message = STRICT[what]
    arguments = "call_service, call_service_options, telecmi_simulator"
    body = textwrap.indent(textwrap.dedent(body), "    ")
    ran = run(
        STRICT_HEAD
        + f"async def test_it({arguments}):{body}\n"
        + "async def test_the_next_one(call_service):\n    pass\n\n"
        + "@pytest.mark.telecmi(strict=False)\n"
        + f"async def test_not_so_strict({arguments}):{body}",
        runner,
    )

    times = backends(runner)
    ran.assert_outcomes(passed=3 * times, errors=times)
    ran.stdout.fnmatch_lines([f"E  {message}"])
    ran.stdout.no_fnmatch_line("E  *1917000*")
    assert len(re.findall(r"(?m)^ERROR .*::test_it", ran.stdout.str())) == times


def test_the_marks_options_reach_the_simulator(run: Callable[..., pytest.RunResult]) -> None:
    """The closest mark wins; by default calls end at once, and each test has its own seed."""
    ran = run(
        """
        pytestmark = pytest.mark.telecmi(latency=0.5, answered_share=0.0)

        @pytest.mark.telecmi(latency=0.25, life="manual")
        def test_near(telecmi_simulator):
            assert telecmi_simulator.latency == (0.25, 0.25)
            assert telecmi_simulator.answered_share == 0
            assert telecmi_simulator.life == "manual"

        def test_far(telecmi_simulator, request):
            assert telecmi_simulator.latency == (0.5, 0.5)
            assert telecmi_simulator.life == "immediate"
            assert telecmi_simulator.seed == request.node.nodeid

        @pytest.mark.telecmi(0.5)
        def test_wrong(telecmi_simulator):
            pass

        @pytest.mark.telecmi(latenzy=0.5)
        def test_misspelt(telecmi_simulator):
            pass
        """
    )

    ran.assert_outcomes(passed=2, errors=2)
    ran.stdout.fnmatch_lines(
        [
            "E  *UsageError: pytest.mark.telecmi takes options by name only",
            "E  *unexpected keyword argument 'latenzy'*",
        ]
    )


def test_a_receiver_of_the_whole_program_hears_every_test(
    run: Callable[..., pytest.RunResult],
) -> None:
    """A shared receiver gets events of each test, because calls have different ids."""
    ran = run(
        """
        import anyio

        receiver = Receiver(new_token())
        seen = []

        @receiver.on_event
        def note(event):
            seen.append(event.request_id)

        @pytest.fixture
        def call_service_options():
            return {"events": receiver}

        @pytest.mark.parametrize("n", [1, 2])
        async def test_events_arrive(call_service, n):
            call = await call_service.make_call(to=19170000001, pcmo=FLOW)
            await call.ended()
            with anyio.fail_after(5):  # handlers have tasks of their own
                while call.request_id not in seen:
                    await anyio.sleep(0.01)
        """
    )

    ran.assert_outcomes(passed=4)


def test_where_no_loop_runs_the_service_says_so(run: Callable[..., pytest.RunResult]) -> None:
    """Without a running loop the error says what to do; the simulator works without one."""
    ran = run(
        """
        def test_plain(call_service):
            pass

        async def test_not_marked(call_service):
            pass

        @pytest.mark.asyncio
        async def test_without_its_plugin(call_service):
            pass

        def test_simulator(telecmi_simulator):
            assert not telecmi_simulator.calls
        """,
        "unmarked",
    )

    ran.assert_outcomes(passed=1, errors=3)
    assert ran.stdout.str().count("\ncall_service lives in an event loop: make") == 3


def test_the_plugin_costs_nothing_until_it_is_used(pytester: pytest.Pytester) -> None:
    """Until one of its fixtures is used, the plugin loads no other module of the package."""
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_loaded(pytestconfig):
            assert pytestconfig.pluginmanager.hasplugin("telecmi_async")
            loaded = {name for name in sys.modules if name.startswith("telecmi_async")}
            assert loaded == {
                "telecmi_async",
                "telecmi_async._internal",
                "telecmi_async._internal.public_names",
                "telecmi_async.testing",
                "telecmi_async.testing.pytest_plugin",
            }

        def test_until_a_fixture_is_used(telecmi_simulator):
            assert "telecmi_async.simulator" in sys.modules
        """
    )

    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    ran.assert_outcomes(passed=2)


def test_the_examples_of_the_fixtures_are_tests(
    run: Callable[..., pytest.RunResult],
) -> None:
    """The example of each fixture's docstring works; all are one file here."""
    fixtures = (
        pytest_plugin.telecmi_simulator,
        pytest_plugin.call_service,
        pytest_plugin.call_service_options,
        pytest_plugin.telecmi_talk,
    )
    shown = [(inspect.getdoc(fixture) or "").partition("::\n")[2] for fixture in fixtures]
    code = "from telecmi_async import RateLimit\n" + "".join(map(textwrap.dedent, shown))

    ran = run(BOT + code, "anyio alone")

    ran.assert_outcomes(passed=2 * 3)


# A page's blocks as readers see them.
SHOWN: Final = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_about_testing_is_a_test_file(pytester: pytest.Pytester) -> None:
    """The page's code passes as one file with real pytest, on the clocks it describes."""
    page = docs_page("testing.md").read_text(encoding="utf-8")
    code = "\n".join(SHOWN.findall(page))
    pytester.makepyfile(code)
    pytester.makeconftest(FROZEN)
    pytester.makeini(INI)

    ran = pytester.runpytest_subprocess(*ALONE)

    # One test sends four reminders.
    ran.assert_outcomes(passed=2 * (len(re.findall(r"async def test_", code)) + 3))


def test_the_page_about_voice_bots_is_a_test_file(pytester: pytest.Pytester) -> None:
    """Its tests pass with real pytest; what awaits outside of them is run with all pages."""
    page = docs_page("simulator-voice.md").read_text(encoding="utf-8")
    blocks = [block for block in SHOWN.findall(page) if "\nasync with " not in block]
    pytester.makepyfile("\n".join(blocks))
    pytester.makeini(INI)

    ran = pytester.runpytest_subprocess(*ALONE)

    # Two tests, and one for each of seven faults of a line.
    ran.assert_outcomes(passed=2 * (2 + 7))


def test_so_it_is_on_pytest_asyncio(pytester: pytest.Pytester) -> None:
    """The same page works on pytest-asyncio, whose clock is set by a hook in conftest.py."""
    page = docs_page("testing.md").read_text(encoding="utf-8")
    blocks = SHOWN.findall(page)
    hooks = [block for block in blocks if "def pytest_asyncio_loop_factories" in block]
    code = "\n".join(block for block in blocks if block not in hooks)
    pytester.makepyfile(code.replace("pytest.mark.anyio", "pytest.mark.asyncio"))
    pytester.makeconftest(FROZEN + "from telecmi_async import testing\n" + "\n".join(hooks))
    pytester.makeini(INI)

    ran = pytester.runpytest_subprocess(*ALONE)

    ran.assert_outcomes(passed=len(re.findall(r"async def test_", code)) + 3)


def test_readme_tests_as_it_says(pytester: pytest.Pytester) -> None:
    """README's test is a valid test and passes."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = (block for block in SHOWN.findall(page) if "def test_" in block)
    pytester.makepyfile(code)
    pytester.makeini(INI)

    ran = pytester.runpytest_inprocess("--strict-markers", "-p", "no:cacheprovider")

    ran.assert_outcomes(passed=2)
