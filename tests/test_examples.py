"""Programs in docs/examples: short, shown, and those that need no process run here.

`tests/processes/test_example_programs.py` starts each of them as users do.
"""

from __future__ import annotations

import runpy

import pytest
from example_programs import (
    EXAMPLES,
    PROGRAMS,
    VOICE_PROGRAMS,
    output_on_page,
    shown_on_pages,
)

LONGEST = 59
# An engine has a protocol of its own.
LONGEST_OF_VOICE = 120


@pytest.mark.source
def test_each_program_is_shown_on_a_page() -> None:
    """A page includes each program, so that page and file cannot differ."""
    assert shown_on_pages() == {*PROGRAMS, *VOICE_PROGRAMS}


@pytest.mark.source
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_read_at_a_glance(name: str) -> None:
    """Each program is complete in under 60 lines, and says in its first line what it does."""
    source = (EXAMPLES / name).read_text(encoding="utf-8")

    assert len(source.splitlines()) <= LONGEST
    assert source.startswith('"""')


@pytest.mark.source
@pytest.mark.parametrize("name", VOICE_PROGRAMS)
def test_a_voice_bot_is_read_as_a_whole(name: str) -> None:
    """Each voice bot is complete in 120 lines, and says in its first line what it does."""
    source = (EXAMPLES / "voice" / name).read_text(encoding="utf-8")

    assert len(source.splitlines()) <= LONGEST_OF_VOICE
    assert source.startswith('"""')


@pytest.mark.anyio
async def test_the_first_call_prints_what_its_page_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first program prints exactly the lines on its page, on both event loops."""
    program = runpy.run_path(str(EXAMPLES / "first_call.py"))
    await program["main"]()

    assert capsys.readouterr().out == output_on_page("first-call.md", "first_call.py")
