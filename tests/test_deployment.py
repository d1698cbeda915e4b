"""The compose file, the image and the manifests agree with the package, and with each other.

`tests/processes/test_deployment.py` has them checked by tools of their own, and runs them.
"""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from typing import Any

import click
import pytest
import yaml
from deployment_files import DEPLOYMENT, Service, compose, containers, manifests, services
from packaging.requirements import Requirement
from project_paths import ROOT, docs_page
from uvicorn.main import main as UVICORN  # noqa: N812  # a command, which click made

from telecmi_async import CallService, Timeouts, __version__
from telecmi_async.campaigns import CampaignTimeouts
from telecmi_async.cli.app import make_app
from telecmi_async.ledger import PostgresLedger
from telecmi_async.service import keyed_send

pytestmark = pytest.mark.source

IMAGE = f"telecmi-app:{__version__}"
PAGE = docs_page("deployment.md").read_text(encoding="utf-8")
DOCKERFILE = (DEPLOYMENT / "Dockerfile").read_text(encoding="utf-8")
COLLECTOR: dict[str, Any] = yaml.safe_load((DEPLOYMENT / "collector.yaml").read_text())
#: The containers of the project's own image, in the compose file and in the manifests.
OURS = {
    **{f"compose {name}": each for name, each in services().items() if each.builds},
    **{f"kubernetes {name}": each for name, each in containers().items() if each.builds},
}
# What OpenTelemetry reads.
OTEL = {
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_SERVICE_NAME",
}
# What the sum of a process's time-outs may lack: starting to stop, a busy machine.
_SPARE = 10


def source(program: str) -> str:
    """Return the source of a program of the image."""
    return (DEPLOYMENT / program).read_text(encoding="utf-8")


def program_of(service: Service) -> str | None:
    """Return the file that a container runs; ``None`` for the package's command line."""
    match service.command:
        case ["uvicorn", app, *_]:
            return f"{app.partition(':')[0]}.py"
        case ["python", file]:
            return file
    assert service.command[0] == "telecmi-async"
    return None


def uvicorn_options(service: Service) -> dict[str, Any]:
    """Return what uvicorn makes of a container's command."""
    context = UVICORN.make_context("uvicorn", service.command[1:])
    return dict(context.params)


def constant(program: str, name: str) -> Any:
    """Return a constant of a program, or an argument that it gives by that name."""
    for node in ast.walk(ast.parse(source(program))):
        match node:
            case ast.Assign(targets=[ast.Tuple(elts)], value=ast.Tuple(values)):
                for target, value in zip(elts, values, strict=True):
                    if isinstance(target, ast.Name) and target.id == name:
                        return ast.literal_eval(value)
            case ast.keyword(arg=arg, value=ast.Constant(value)) if arg == name:
                return value
    raise AssertionError(f"{program} has no {name}")


@pytest.mark.parametrize("service", OURS.values(), ids=OURS)
def test_each_command_is_accepted_by_its_program(service: Service) -> None:
    """Uvicorn and the command line parse their arguments, and the file is in the image."""
    program = program_of(service)
    if program is None:
        make_app(listing=False).parse_args(service.command[1:])
        return
    copied = re.findall(r"^COPY (.*) \./$", DOCKERFILE, re.MULTILINE)

    assert program in " ".join(copied).split()
    assert (DEPLOYMENT / program).exists()
    if service.command[0] == "uvicorn":
        _, name = uvicorn_options(service)["app"].split(":")
        assert f"\n{name} = FastAPI(" in source(program)


def test_the_image_starts_what_the_manifest_starts() -> None:
    """The Dockerfile's own command is accepted by uvicorn, and every file that it copies exists."""
    (command,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    program, *arguments = ast.literal_eval(command)
    copied = re.findall(r"^COPY (.*) \./$", DOCKERFILE, re.MULTILINE)

    assert program == "uvicorn"
    with pytest.raises(click.UsageError):
        UVICORN.make_context("uvicorn", [*arguments, "--no-such-option"])
    assert UVICORN.make_context("uvicorn", arguments).params["port"] == 8000
    assert [
        name for line in copied for name in line.split() if not (DEPLOYMENT / name).exists()
    ] == []


@pytest.mark.parametrize("service", OURS.values(), ids=OURS)
def test_each_variable_is_read_and_each_that_is_needed_is_set(service: Service) -> None:
    """A container has no variable that nothing reads, and all that its program cannot do without."""
    program = program_of(service)
    package = {"TELECMI_APP_ID", "TELECMI_SECRET", "TELECMI_FROM"}
    needed = {"TELECMI_LEDGER"}
    if program is not None:
        named = re.findall(r'os\.environ\["(\w+)"\]', source(program))
        needed = {*named, "TELECMI_APP_ID", "TELECMI_SECRET", *OTEL}

    assert needed <= service.environment.keys()
    assert service.environment.keys() <= needed | package | OTEL


def test_the_variables_of_the_command_line_are_those_of_the_package() -> None:
    """The package reads the account's variables and the ledger's by the names in these files."""
    cli = docs_page("cli.md").read_text(encoding="utf-8")

    for name in ("TELECMI_APP_ID", "TELECMI_SECRET", "TELECMI_FROM", "TELECMI_LEDGER"):
        assert f"`{name}`" in cli


def test_every_image_has_a_tag_of_a_version() -> None:
    """No image changes unless these files do; ours has the version of the package."""
    given = [each.image for each in (*services().values(), *containers().values())]
    given += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    ours = {each for each in given if "telecmi-app" in each}

    assert all(re.fullmatch(r"[\w./-]+:\d+\.\d+\.?\d*[\w.-]*", each) for each in given), given
    assert ours == {IMAGE, f"registry.example.com/{IMAGE}"}
    assert f"=={__version__}" in DOCKERFILE
    assert compose()["services"]["collector"]["image"] == containers()["collector"].image
    version = __version__.replace(".", "-")
    jobs = [each["metadata"]["name"] for each in manifests() if each["kind"] == "Job"]
    assert jobs == [f"telecmi-migrate-{version}"]
    assert f"job/{jobs[0]}" in PAGE


def test_the_image_installs_what_the_project_tests_with() -> None:
    """The extras exist, and requirements have the lower bounds that the tests have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (extras,) = re.findall(r"telecmi-async\[([\w,]+)\]", DOCKERFILE)
    groups = project["dependency-groups"].values()
    tested = {each for group in groups for each in group if isinstance(each, str)}
    lines = source("requirements.txt").splitlines()
    imported = {
        name.partition(".")[0]
        for program in ("web.py", "worker.py", "telemetry.py")
        for name in re.findall(r"^(?:from|import) (\w[\w.]*)", source(program), re.MULTILINE)
    }

    assert set(extras.split(",")) <= project["project"]["optional-dependencies"].keys()
    assert [line for line in lines if line not in tested] == []
    assert {"fastapi", "opentelemetry", "uvicorn"} <= imported
    assert {Requirement(line).name.partition("-")[0] for line in lines} == {
        "fastapi", "opentelemetry", "uvicorn",
    }  # fmt: skip


def test_each_program_is_shown_on_the_page() -> None:
    """The page includes the programs, so that page and file cannot differ."""
    shown = set(re.findall(r"^```\{literalinclude\} \S*/deployment/(\S+)$", PAGE, re.MULTILINE))
    programs = {path.name for path in DEPLOYMENT.glob("*.py")}

    assert programs < shown


def drain_of_web(service: Service) -> list[float]:
    """Return how long the parts of a web process's end may take, as its page lists them."""
    total = Timeouts.of(constant("web.py", "TIMEOUT")).total
    record = keyed_send._PATIENCE
    graceful = uvicorn_options(service)["timeout_graceful_shutdown"]
    click_takes = constant("web.py", "QUEUE_TIMEOUT") + total + record

    assert graceful >= click_takes, "no browser's request is cut off"
    return [
        graceful,
        total,
        record,
        ledger_timeout(),
        constant("web.py", "shutdown_timeout"),
        2 * float(service.environment["OTEL_EXPORTER_OTLP_TIMEOUT"]),
    ]


def ledger_timeout() -> float:
    """Return the default time-out of the ledger, without its driver."""
    return float(inspect.signature(PostgresLedger).parameters["timeout"].default)


def drain_of_worker(service: Service) -> list[float]:
    """Return the same of a worker."""
    usually, longest = CampaignTimeouts().longest_leave

    return [
        usually,
        longest - usually,
        ledger_timeout(),
        2 * float(service.environment["OTEL_EXPORTER_OTLP_TIMEOUT"]),
    ]


def on_page(name: str) -> tuple[float, list[float], float]:
    """Return a process's grace period, the parts of its end, and their sum, as the page has them."""
    (table,) = re.findall(rf"^\| {name}: (\d+) \|.*\n\|.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    *parts, together = [float(row.split("|")[2].strip(" *")) for row in table[1].splitlines()]
    return float(table[0]), parts, together


@pytest.mark.parametrize("where", ["compose", "kubernetes"])
def test_each_grace_period_is_longer_than_what_the_time_outs_add_up_to(where: str) -> None:
    """A process is not killed while it waits for TeleCMI, and the page shows the sum."""
    web, worker = OURS[f"{where} web"], OURS[f"{where} worker"]
    hook = containers()["web"].pre_stop
    slept = re.fullmatch(r"touch /tmp/draining && sleep (\d+)", hook[-1])
    assert slept is not None
    drained = {
        "web": [float(slept[1]), *drain_of_web(web)],
        "worker": drain_of_worker(worker),
    }

    for service in (web, worker):
        grace, parts, together = on_page(service.name)
        assert parts == drained[service.name]
        assert together == sum(parts)
        assert service.grace == grace >= together + _SPARE


def test_the_service_has_no_time_outs_of_its_own_in_a_worker() -> None:
    """A worker's sum counts with the default time-outs: its program sets none."""
    assert "timeout" not in source("worker.py").replace("TimeoutError", "")
    assert CallService(1, "s")._runner.timeouts == Timeouts()


def test_each_probe_asks_for_a_path_that_the_program_has() -> None:
    """Paths and ports of probes are routes and ports of the program that runs there."""
    probes = 0
    for service in OURS.values():
        for port, path in service.probes:
            routes = re.findall(r'@app\.get\("([^"]+)"\)', source(program_of(service) or ""))
            assert path in routes
            assert port == service.port
            probes += 1

    assert probes == 7


def test_a_draining_pod_is_known_before_it_stops() -> None:
    """The pre-stop hook makes the file that readiness looks for, and waits for two probes."""
    web = containers()["web"]
    probe = web.raw["readinessProbe"]
    file, seconds = re.findall(r"touch (\S+) && sleep (\d+)", web.pre_stop[-1])[0]

    assert file == web.environment["DRAIN_FILE"]
    assert int(seconds) > 2 * probe["periodSeconds"] * probe["failureThreshold"] - 1
    assert services()["web"].environment["DRAIN_FILE"] == file


def test_each_secret_is_created_on_the_page_and_used() -> None:
    """The keys of the Secret are those that the page lists."""
    used = {
        (reference["name"], reference["key"])
        for service in containers().values()
        for each in service.raw.get("env", [])
        if (reference := each.get("valueFrom", {}).get("secretKeyRef"))
    }
    (name,) = re.findall(r"kubectl create secret generic (\S+)", PAGE)
    (listed,) = re.findall(r"^```text\n(app-id=.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

    assert used == {(name, line.partition("=")[0]) for line in listed.splitlines()}


def test_each_variable_of_the_compose_file_is_on_the_page() -> None:
    """The page's ``.env`` has the variables that the compose file reads, and no other."""
    text = (DEPLOYMENT / "compose.yaml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^```text\n(TELECMI_.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

    assert set(re.findall(r"\$\{(\w+)", text)) == {
        line.partition("=")[0] for line in listed.splitlines()
    }


def test_selectors_find_their_pods() -> None:
    """Services, deployments and budgets select the labels of a pod that there is."""
    objects = manifests()
    labels = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in objects
        if each["kind"] == "Deployment"
    ]
    selected = [
        each["spec"]["selector"].get("matchLabels", each["spec"]["selector"])
        for each in objects
        if each["kind"] in {"Deployment", "Service", "PodDisruptionBudget"}
    ]
    budgets = [each for each in objects if each["kind"] == "PodDisruptionBudget"]

    assert all(each in labels for each in selected)
    assert {each["metadata"]["name"] for each in budgets} == {"telecmi-web", "telecmi-worker"}


def test_what_is_applied_is_there() -> None:
    """The kustomization names each manifest but the migration, which comes first."""
    applied = yaml.safe_load(source("kustomization.yaml"))
    files = {f"kubernetes/{path.name}" for path in (DEPLOYMENT / "kubernetes").iterdir()}

    assert {*applied["resources"], "kubernetes/migrate.yaml"} == files
    (config,) = applied["configMapGenerator"]
    assert config["files"] == ["collector.yaml"]
    (volume,) = [
        volume
        for each in manifests()
        if each["metadata"]["name"] == "telecmi-collector" and each["kind"] == "Deployment"
        for volume in each["spec"]["template"]["spec"]["volumes"]
    ]
    assert volume["configMap"]["name"] == config["name"]


def test_processes_find_the_collector() -> None:
    """It listens where they send, and Prometheus finds the port of its metrics."""
    _, _, listens = COLLECTOR["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(
        ":"
    )
    _, _, metrics = COLLECTOR["exporters"]["prometheus"]["endpoint"].rpartition(":")
    named = {each["metadata"]["name"] for each in manifests() if each["kind"] == "Service"}
    ends = {
        each.environment["OTEL_EXPORTER_OTLP_ENDPOINT"].removeprefix("http://")
        for each in OURS.values()
        if "OTEL_EXPORTER_OTLP_ENDPOINT" in each.environment
    }
    ports = {each["containerPort"] for each in containers()["collector"].raw["ports"]}

    assert {end.rpartition(":")[2] for end in ends} == {listens}
    assert {end.rpartition(":")[0] for end in ends} <= {"collector", *named}
    assert compose()["services"]["collector"]["ports"] == [f"127.0.0.1:{metrics}:{metrics}"]
    assert {int(listens), int(metrics)} <= ports
    assert f"port {metrics}" in PAGE


def test_every_part_of_the_collector_is_used() -> None:
    """Pipelines name each receiver, processor, exporter and extension, and none besides."""
    pipelines = COLLECTOR["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert {name for each in pipelines for name in each[kind]} == COLLECTOR[kind].keys()
    assert set(COLLECTOR["service"]["extensions"]) == COLLECTOR["extensions"].keys()
