"""What is checked, and how.

``nox -s tests`` is for every day: the suite, in process, on the Python at hand. ``nox -s full``
adds what takes longer: servers, processes, coverage, the other Pythons that are there, and the
lowest versions of dependencies. ``.ci/run`` runs both, and all else that a change must pass; there
``full`` does not repeat what ``tests`` ran.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import nox
import nox.project
from packaging.requirements import Requirement

nox.needs_version = ">=2025.5"
# uv makes environments in seconds. Interpreters are those that are there: none is fetched.
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "types", "docs", "examples"]

# Where pip gets through, uv shall: it trusts the system's certificates, and asks pip's index.
os.environ.setdefault("UV_SYSTEM_CERTS", "true")
if "PIP_INDEX_URL" in os.environ:
    os.environ.setdefault("UV_DEFAULT_INDEX", os.environ["PIP_INDEX_URL"])

# Tests start many processes: each would compile the package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PROJECT = nox.project.load_toml("pyproject.toml")
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = [python for python in ("3.11", "3.12", "3.13", "3.14") if python != HERE]
NEWEST = next((python for python in reversed(OTHERS) if shutil.which(f"python{python}")), None)
# What is built on other rooms, which are tested by themselves.
BUILT_ON_OTHERS = ("benchmarks", "campaigns", "cli")
# The suite is shared out between so many processes: one more than cores, since some tests wait.
PROCESSES = min((os.cpu_count() or 1) + 1, 4)
# pytest leaves these out unless it is asked for them; a browser has a session of its own.
WITH_ALL = "norecursedirs=.* browser typing"
# What `full` tries more of, once: examples of hypothesis, and programs over each kind of client.
MORE = "--hypothesis-profile=full"
PROGRAMS = "11"
# Measures when calls of several processes arrive, which those of other tests would delay.
ALONE = "tests/processes/test_shared_limits.py"
# `.ci/run` sets it: then `tests` measures coverage, and `full` need not run the same tests again.
MEASURED = "MEASURE" in os.environ
# Beside nox's environments, which have the names of sessions.
DIST = Path(".nox", "_dist").absolute()
COVERAGE = Path(".nox", "_coverage").absolute()
HTML = Path(".nox", "_html").absolute()

# Nobody waits longer for a demo. Its calls alone take 4 s.
DEMO = "import subprocess; subprocess.run(['telecmi-async', 'demo'], check=True, timeout=15)"

# The newest version in CHANGELOG.md, with its date or "(not released yet)".
HEADING = re.compile(r"^## (?P<version>\S+) \((?P<date>[^)]+)\)$", re.MULTILINE)
# Addresses that a released package names.
ADDRESSES = {"Changelog", "Documentation", "Issues", "Source"}

# What a wheel may hold.
SHIPPED = re.compile(
    r"telecmi_async/.*\.(py|typed)$|telecmi_async/ledger/schema/\w+/\d{4}_\w+\.sql$"
    r"|telecmi_async/.*/lua/\w+\.lua$|telecmi_async/simulator/page/static/\w+\.(css|js|svg)$"
    r"|telecmi_async-[^/]*\.dist-info/"
)

# A line of a console block that is run, and the comment that says why a block is not.
CONSOLE = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?^```console\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def group(name: str) -> tuple[str, ...]:
    """Return the requirements of one of pyproject's dependency groups."""
    return nox.project.dependency_groups(PROJECT, name)


def install_wheel(session: nox.Session, *requirements: str) -> None:
    """Install the built wheel, and requirements, into a session."""
    (wheel,) = DIST.glob("*.whl")
    session.install("--force-reinstall", "--no-deps", str(wheel))
    session.install(str(wheel), *requirements)


def run_pytest(session: nox.Session, *command: str, **env: str) -> None:
    """Run a command that runs the suite, on the installed wheel."""
    # Without safe path Python would find the source folder before the installed wheel.
    session.run(*command, *session.posargs, env={"PYTHONSAFEPATH": "1", **env})


def run_suite(session: nox.Session, *options: str) -> None:
    """Run the suite in several processes: one that is done takes tests from the others."""
    run_pytest(session, "pytest", f"--numprocesses={PROCESSES}", "--dist=worksteal", *options)


def measure(session: nox.Session, name: str, *options: str) -> None:
    """Run the suite as `run_suite` does, and measure which branches it covers."""
    command = ["coverage", "run", "-m", "pytest"]
    parallel = [f"--numprocesses={PROCESSES}", "--dist=worksteal"]
    env = {"COVERAGE_FILE": str(COVERAGE / f".coverage.{name}"), "PROGRAMS": PROGRAMS}
    run_pytest(session, *command, *parallel, *options, **env)


def empty(folder: Path) -> None:
    """Make a folder, or remove what is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist, from it the wheel, and look at what is in them."""
    session.install("build>=1.2")
    installer = "uv" if session.venv_backend == "uv" else "pip"
    empty(DIST)
    command = ["python", "-m", "build", f"--installer={installer}", "--outdir", str(DIST)]
    session.run(*command, silent=True)
    (wheel,) = DIST.glob("*.whl")
    (sdist,) = DIST.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        shipped = set(archive.namelist())
    strays = {name for name in shipped if not SHIPPED.match(name)}
    # What is no Python is read when it is needed: importing the package would not miss it.
    data = (
        path for path in Path("telecmi_async").rglob("*.*") if "__pycache__" not in path.parts
    )
    wanted = {path.as_posix() for path in data if path.suffix != ".py"}
    if strays or not wanted <= shipped:
        session.error(f"the wheel lacks {wanted - shipped}; strays: {strays}")
    with tarfile.open(sdist) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}
    missing = {"LICENSE", "README.md", "CHANGELOG.md", "noxfile.py", "docs/conf.py"} - sources
    if missing:
        session.error(f"the sdist lacks {missing}")
    session.log(f"{wheel.name}: {len(shipped)} files, {sdist.name}: {len(sources)} files")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the suite in process, on the Python at hand: no servers."""
    session.install("--editable", ".", *group("tests"))
    if not MEASURED:
        run_suite(session)
        return
    session.install("coverage[toml]>=7.10")
    empty(COVERAGE)
    measure(session, "tests", MORE)


@nox.session(requires=["build"])
def full(session: nox.Session) -> None:
    """Run all tests with real servers and processes, and see to it that they cover everything.

    Coverage is traced on one Python alone: tracing takes time, and every branch is for every Python.
    The suite follows on the other Pythons and on the lowest versions, in process: what differs there
    is the language and its libraries, and not what servers and killed processes do.
    """
    install_wheel(session, *group("full"))
    # What `tests` measured already is left out.
    rest = ["tests/servers", "tests/processes"] if MEASURED else ["-o", WITH_ALL]
    if not MEASURED:
        empty(COVERAGE)
    measure(session, "full", MORE, f"--ignore={ALONE}", *rest)
    run_pytest(session, "pytest", ALONE)
    if not session.posargs:
        session.notify("coverage")
    for python in OTHERS:
        session.notify(f"tests_others-{python}")
    session.notify("tests_lowest")


@nox.session(python=OTHERS, requires=["build"])
def tests_others(session: nox.Session) -> None:
    """Run the suite in process on another Python.

    Without the benchmarks, which are no part of the package, and without the tests that read
    source files, which are the same on every Python. Between the oldest and the newest Python
    run the rooms that event loops and libraries differ for: what is built on these is left out.
    """
    install_wheel(session, *group("tests"))
    left_out = ("benchmarks",) if session.python == NEWEST else BUILT_ON_OTHERS
    run_suite(session, *[f"--ignore=tests/{room}" for room in left_out], "-m", "not source")


@nox.session(requires=["build"])
def tests_lowest(session: nox.Session) -> None:
    """Run the suite in process with the lowest version of each dependency that is allowed.

    Only of the rooms that use the dependencies themselves: campaigns and the command line are
    built on these, and source files are the same.
    """
    project = PROJECT["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["voice"]]
    lowest = [lowest_of(Requirement(line)) for line in lines]
    install_wheel(session, *group("tests"), *lowest)
    left_out = [f"--ignore=tests/{room}" for room in BUILT_ON_OTHERS]
    run_suite(session, *left_out, "-m", "not source")


def lowest_of(requirement: Requirement) -> str:
    """Return ``name==x.y`` for a requirement that says ``name>=x.y``."""
    (floor,) = (spec.version for spec in requirement.specifier if spec.operator == ">=")
    return f"{requirement.name}=={floor}"


@nox.session(requires=["build", "docs"])
def browser(session: nox.Session) -> None:
    """Look at the simulator's page and the documentation with Chromium, which must be installed."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        session.error(
            "Chromium is missing. On Debian: apt-get install chromium chromium-driver"
        )
    install_wheel(session, *group("browser"))
    run_pytest(session, "pytest", "tests/browser", DOCS_HTML=str(HTML))


@nox.session
def coverage(session: nox.Session) -> None:
    """Hold the line: every branch of the package."""
    session.install("coverage[toml]>=7.10")
    env = {"COVERAGE_FILE": str(COVERAGE / ".coverage")}
    session.run("coverage", "combine", "--quiet", str(COVERAGE), env=env)
    session.run("coverage", "report", env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and form."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, twice: mypy and pyright see different things."""
    session.install("--editable", ".", *group("typing"))
    session.run("mypy")
    # Node comes as a wheel and pyright inside its own: nothing is downloaded at run time.
    env = {"PYRIGHT_PYTHON_GLOBAL_NODE": "0", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    session.run("pyright", env=env)
    session.run("pytest", "tests/typing", env=env)


@nox.session(requires=["build"])
def docs(session: nox.Session) -> None:
    """Build the documentation; a link that leads nowhere is an error."""
    install_wheel(session, *group("docs"))
    flags = ["-n", "-W", "--keep-going", "-q", "-E"]
    # Pages that are no longer there would be looked at.
    shutil.rmtree(HTML, ignore_errors=True)
    session.run("sphinx-build", *flags, "docs", str(HTML), env={"PYTHONSAFEPATH": "1"})
    session.run("python", "docs/check_links.py", str(HTML))
    session.log(f"open {HTML / 'index.html'}")


@nox.session(requires=["build"])
def examples(session: nox.Session) -> None:
    """Run the commands that README and docs show; their Python blocks run in the suite."""
    # The extra of the command line, which README installs first.
    install_wheel(session, *PROJECT["project"]["optional-dependencies"]["cli"])
    # As a newcomer would: in a copy of the project, with the Python that is on PATH.
    tree = Path(session.create_tmp(), "tree")
    shutil.rmtree(tree, ignore_errors=True)
    unwanted = shutil.ignore_patterns(".git", ".nox", ".venv", "__pycache__", ".*_cache")
    shutil.copytree(".", tree, ignore=unwanted)
    pages = [Path("README.md"), Path("CONTRIBUTING.md"), *sorted(Path("docs").rglob("*.md"))]
    for page in pages:
        for command, why_not in commands_of(page):
            if why_not:
                session.log(f"{page}: not run, {why_not}: {command}")
                continue
            session.log(f"{page}: {command}")
            shell = ["bash", "-euo", "pipefail", "-c", command]
            with session.chdir(tree):
                session.run(*shell, external=True, env={"PATH": os.environ["PATH"]})
    session.run("python", "-c", DEMO)


def commands_of(page: Path) -> list[tuple[str, str]]:
    """Return the commands of a page's console blocks, each with why it is not run, or ""."""
    found: list[tuple[str, str]] = []
    for block in CONSOLE.finditer(page.read_text(encoding="utf-8")):
        lines = block["body"].splitlines()
        found += [(line[2:], block["why"] or "") for line in lines if line.startswith("$ ")]
    return found


@nox.session(requires=["build"], reuse_venv=False)
def release(session: nox.Session) -> None:
    """Check what would be uploaded; ``-- --final`` also requires a date and addresses.

    Nothing leaves this machine.
    """
    version = PROJECT["project"]["version"]
    heading = HEADING.search(Path("CHANGELOG.md").read_text(encoding="utf-8"))
    if heading is None or heading["version"] != version:
        session.error(f"CHANGELOG.md must begin with: ## {version} (its date)")
    dated = re.fullmatch(r"\d{4}-\d\d-\d\d", heading["date"])
    lacking = [] if dated else ["a date in CHANGELOG.md"]
    urls = sorted(ADDRESSES - PROJECT["project"]["urls"].keys())
    lacking += [f"{name} in [project.urls]" for name in urls]
    if lacking and "--final" in session.posargs:
        session.error(f"a release still needs: {', '.join(lacking)}")
    session.install("twine>=6.1")
    session.run("twine", "check", "--strict", *map(str, DIST.iterdir()))
    # The environment is made anew for each run, so the wheel brings what it needs.
    (wheel,) = DIST.glob("*.whl")
    session.install(f"{wheel}[cli]")
    printed = session.run(
        "telecmi-async", "--version", silent=True, env={"PYTHONSAFEPATH": "1"}
    )
    if version not in str(printed).split():
        session.error(f"telecmi-async --version printed {printed!r}, not {version}")
    session.log(
        f"{version} passed; before it is uploaded it needs: {', '.join(lacking) or 'nothing'}"
    )


@nox.session
def fuzz(session: nox.Session) -> None:
    """Throw bytes at the parser of events and at the receiver; see tests/events/fuzz_events.py."""
    session.install("--editable", ".", "atheris>=3.0")
    session.run(
        "python", "tests/events/fuzz_events.py", *(session.posargs or ["-max_total_time=60"])
    )


@nox.session
def programs(session: nox.Session) -> None:
    """Run random programs over all kinds of clients, against a server that counts requests.

    ``nox -s programs -- --programs 20000 --seed 1`` takes about ten minutes; a failed program is
    printed with what runs it again.
    """
    clients = ("httpx-aiohttp>=0.2", "httpx2>=2.0", "uvloop>=0.21")
    session.install("--editable", ".", *group("tests"), *clients)
    options = session.posargs or ["--programs=2000"]
    session.run("python", "tests/support/program_run.py", *options)


@nox.session
def crash(session: nox.Session) -> None:
    """Kill and freeze workers of campaigns and web workers, and count who was dialled twice.

    What takes long besides: web workers on one limit through restarts, the deployment through a
    restart of everything, rates while ledgers stall, a soak, redials of 100,000 contacts, ten
    thousand calls followed to their ends, a thousand dialogues of voice bots, and a hundred thousand
    sequences of frames.
    """
    session.install("--editable", ".", *group("full"))
    for options in (["--kills=200"], ["--kills=200", "--workers=3", "--postgres"]):
        session.run("python", "tests/support/crash.py", *options, *session.posargs)
    session.run("python", "tests/support/crash.py", "--kills=10", "--stops=20", "--workers=3")
    for harm in ("shm", "log", "copy", "lock", "versions", "postmaster", "pooler"):
        some = ["--kills=10", "--harms=10", "--workers=2", f"--harm={harm}"]
        session.run("python", "tests/support/crash.py", *some)
    for where in ([], ["--postgres"]):
        session.run("python", "tests/support/click_crash.py", "--kills=200", *where)
    for place in ("postgres", "valkey"):
        for limit in (["--rate=5"], ["--rate=50"], ["--rate=0", "--live=6"]):
            rolling = ["tests/support/rolling_restarts.py", f"--where={place}", *limit]
            session.run("python", *rolling, "--every=5")
    session.run("python", "tests/support/deployment_run.py", "--calls=10000")
    session.run("python", "tests/support/stalled_rates.py", "--tries=3")
    session.run("python", "tests/support/soak.py", "--contacts=10000")
    redials = "tests/support/redial_run.py"
    session.run("python", redials, "--contacts=100000", "--kills=44")
    proof = ["--unknown=retry_after_proof", "--seed=2"]
    session.run("python", redials, "--contacts=10000", "--kills=44", *proof)
    patient = ["pytest", "-o", "faulthandler_timeout=600"]
    followed = "tests/service/test_many_calls.py"
    forgotten = "tests/service/test_tracker.py::test_nothing_is_left_of_thousands_of_calls"
    session.run(*patient, followed, forgotten, env={"MANY_CALLS": "10000"})
    spoken = {"DIALOGUES": "1000", "DIALOGUE_REPEATS": "100", "FRAME_SEQUENCES": "100000"}
    session.run(
        *patient, "tests/voice/test_dialogues.py", "tests/voice/test_frames.py", env=spoken
    )


@nox.session
def mutants(session: nox.Session) -> None:
    """Change the rules one place at a time, and see that a test fails each time.

    ``nox -s mutants -- codec`` takes minutes, and all modules take an hour; ``--sample 60 --seed 1``
    tries so many mutants of each, and ``--killed FILE`` only those that did not die before.
    """
    session.install("--editable", ".", *group("tests"))
    session.run("python", "tests/support/mutant_run.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Compare with other clients, and write its pages; ``-- --quick``: a part of it."""
    session.install("--editable", ".", *group("bench"))
    session.run("python", "benchmarks/compare.py", *session.posargs)


@nox.session
def costs(session: nox.Session) -> None:
    """Print what the parts of the package cost: each script of benchmarks/ but two."""
    session.install("--editable", ".", *group("full"), *group("bench"))
    for script in sorted(Path("benchmarks").glob("*.py")):
        # These have sessions of their own.
        if script.stem not in {"compare", "instructions"}:
            session.run("python", str(script), *session.posargs)


@nox.session
def instructions(session: nox.Session) -> None:
    """Count the instructions of a call with valgrind; 5 % above the baseline fails."""
    session.install("--editable", ".")
    session.run("python", "benchmarks/instructions.py", *session.posargs)
