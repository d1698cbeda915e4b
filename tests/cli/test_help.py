"""What users read of the command line: help, the page of its reference, completion."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from consoles import console
from every_command import every_command, options_of

import telecmi_async
from telecmi_async.cli import Exit, main
from telecmi_async.cli.app import COMMANDS, make_app
from telecmi_async.cli.commands.export import StateName
from telecmi_async.cli.options import ENVIRONMENT, EXIT_CODES
from telecmi_async.ledger import ContactState

if TYPE_CHECKING:
    from types import ModuleType

    from consoles import Console

ROOT = Path(__file__).parents[2]
NAMES = [name for name, _ in every_command()]
GROUPS = ["flow", "hook"]


def ran(*argv: str, **given: Any) -> tuple[int, Console]:
    """Run a command; return its exit code and what it wrote."""
    terminal = console(**given)
    return main(argv, terminal=terminal), terminal


def test_the_list_says_what_commands_say() -> None:
    """The list of commands has the first line of each command's own help."""
    app = make_app(listing=False)

    assert {name: app[name].help.splitlines()[0] for name in COMMANDS} == COMMANDS


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", ["", *GROUPS, *NAMES])
def test_help_fits_a_terminal(name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is wider than the terminal, no word is broken, and no default is empty."""
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = console()
    terminal.stdout.tty = True  # type: ignore[attr-defined]  # a stream of the tests
    code = main([*name.split(), "--help"], terminal=terminal)
    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal.out)
    words = set(re.findall(r"[\w-]{2,}", text))
    command = dict(every_command()).get(name)
    known = " ".join(options_of(command).values()) if command else ""

    assert code == Exit.OK
    assert max(map(len, text.splitlines())) <= columns
    assert set(re.findall(r"[\w-]{2,}", known)) <= words
    assert "default: ]" not in text
    assert "None" not in text


@pytest.mark.parametrize("name", NAMES)
def test_each_command_shows_examples_that_are_accepted(name: str) -> None:
    """Each example is a line that fits 80 columns and that the command accepts."""
    _, terminal = ran(*name.split(), "--help")
    examples = re.findall(r"^  telecmi-async (.*)$", terminal.out, re.MULTILINE)

    assert examples
    assert all(each.startswith(name) for each in examples)
    assert "Environment and exit codes: telecmi-async --help" in terminal.out
    section = terminal.out.partition("Examples:\n")[2].partition("\n\n")[0]
    assert section.count("\n") + 1 == len(examples), "no example is broken"
    assert all(len(f"  telecmi-async {each}") <= 80 for each in examples)
    for each in examples:
        given = re.findall(r"'([^']*)'|(\S+)", each.partition(" >")[0])
        app = make_app(listing=False)
        app.parse_args([quoted or bare for quoted, bare in given])


def test_the_list_of_commands_shows_environment_and_exit_codes() -> None:
    """The help of the program explains the variables and the exit codes, once for all commands."""
    _, terminal = ran("--help")

    assert ENVIRONMENT in terminal.out
    assert EXIT_CODES in terminal.out


def test_states_of_an_export_are_those_of_the_ledger() -> None:
    """`export --state` takes each state of a contact, and no other."""
    assert get_args(StateName) == tuple(map(str, ContactState))


def test_every_option_is_explained() -> None:
    """Each option and argument of each command has a sentence in the help."""
    bare = [
        f"{name} {option}"
        for name, command in every_command()
        for option, text in options_of(command).items()
        if not text
    ]

    assert bare == []


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone_gets_its_help(group: str) -> None:
    """A group without a command prints its help on stderr, and is a usage error."""
    code, terminal = ran(group)

    assert code == Exit.USAGE
    assert f"Usage: telecmi-async {group} COMMAND" in terminal.err
    assert terminal.out == ""


def reference() -> ModuleType:
    """Return the script that writes the page's lists."""
    spec = importlib.util.spec_from_file_location(
        "cli_reference", ROOT / "docs/cli_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.source
def test_the_reference_page_is_the_program() -> None:
    """docs/reference/cli.md lists the commands and options that the program has."""
    script = reference()
    page = script.PAGE.read_text(encoding="utf-8")

    assert script.page_with_commands(page) == page, "run python docs/cli_reference.py"
    assert all(f"\n### {name}\n" in page for name in NAMES)
    codes = page.partition("## Exit codes")[2].partition("## Environment")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", codes, re.MULTILINE)} == set(Exit)


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", ".local/share/bash-completion/completions/telecmi-async"),
        ("zsh", ".zsh/completions/_cyclopts_telecmi-async"),
        ("fish", ".config/fish/completions/telecmi-async.fish"),
    ],
)
def test_completion_is_installed(
    shell: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--install-completion`` writes a script that knows commands and options."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ZSH", raising=False)
    monkeypatch.delenv("ZSH_CUSTOM", raising=False)
    code, _ = ran("--install-completion", "--shell", shell)
    script = (tmp_path / file).read_text(encoding="utf-8")

    assert code == Exit.OK
    assert all(word in script for word in ("retry-unknown", "max-live-calls", "listen"))


def test_without_the_extra_the_command_says_how_to_install_it() -> None:
    """Without cyclopts, one line names the extra, and the exit code is a usage error."""
    script = (
        "import sys; sys.modules['cyclopts'] = None\n"
        "from telecmi_async.cli import main; sys.exit(main(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(telecmi_async.__file__).parents[1])},
        timeout=60,
    )

    assert done.returncode == Exit.USAGE
    assert done.stderr == (
        'telecmi-async: the command line needs an extra: pip install "telecmi-async[cli]", or, '
        'from a clone, pip install ".[cli]" (cyclopts is missing)\n'
    )
    assert done.stdout == ""


def test_the_extra_is_missed_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same line is on the terminal that is given, and nothing is on stdout."""
    monkeypatch.delitem(sys.modules, "telecmi_async.cli.app")
    monkeypatch.setitem(sys.modules, "cyclopts", None)
    code, terminal = ran("demo", "--json")

    assert code == Exit.USAGE
    assert 'pip install "telecmi-async[cli]"' in terminal.err
    assert terminal.out == ""


def test_another_module_that_is_missing_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the package that cannot be imported is not taken for the extra."""
    monkeypatch.setitem(sys.modules, "telecmi_async.cli.app", None)

    with pytest.raises(ModuleNotFoundError):
        main(["demo"], terminal=console())
