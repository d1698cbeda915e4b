"""Project files: what people and services read besides the code agrees with the code."""

from __future__ import annotations

import configparser
import re
import tomllib
from typing import Any

import pytest
import yaml
from project_paths import DOCS, ROOT

import telecmi_async

pytestmark = pytest.mark.source

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
YAML = sorted(
    path
    for folder in (ROOT / ".github", ROOT)
    for path in (folder.rglob("*.yml") if folder.name == ".github" else folder.glob(".*.yaml"))
)
FORMS = [
    path for path in YAML if path.parent.name == "ISSUE_TEMPLATE" and path.stem != "config"
]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / ".github").rglob("*.md"))]


def read(name: str) -> str:
    """Return the text of a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def parsed(name: str) -> Any:
    """Return what a YAML file holds."""
    return yaml.safe_load(read(name))


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_each_yaml_file_is_a_mapping(path: Any) -> None:
    """GitHub and pre-commit ignore a file that they cannot parse, so it must be valid."""
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_what_github_requires(path: Any) -> None:
    """A form has a name, a description and fields with unique ids, and asks for something."""
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    fields = [each for each in form["body"] if each["type"] != "markdown"]
    ids = [each["id"] for each in fields]

    assert form["name"]
    assert form["description"]
    assert {each["type"] for each in fields} <= {"dropdown", "input", "textarea"}
    assert len(set(ids)) == len(ids)
    assert all(each["attributes"]["label"] for each in fields)
    assert any(each.get("validations", {}).get("required") for each in fields)
    for each in fields:
        # YAML reads an unquoted No as false.
        assert all(isinstance(option, str) for option in each["attributes"].get("options", []))


def test_the_workflow_runs_what_contributors_run() -> None:
    """CI has no steps of its own that a contributor could not run: it calls .ci/run."""
    steps = parsed(".github/workflows/ci.yml")["jobs"]["ci"]["steps"]

    assert steps[-1]["run"] == ".ci/run"
    assert all(
        re.fullmatch(r"actions/[a-z-]+@v\d+", each["uses"]) for each in steps if "uses" in each
    )


def test_the_pythons_are_the_same_everywhere() -> None:
    """Classifiers, nox, .ci/run and the workflow name the same versions, requires-python the first."""
    named = [
        found[1]
        for line in PROJECT["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    in_nox = re.search(r"for python in \(([^)]*)\) if python != HERE", read("noxfile.py"))
    in_run = re.search(r"for version in ([\d. ]+);", read(".ci/run"))
    steps = parsed(".github/workflows/ci.yml")["jobs"]["ci"]["steps"]
    (installed,) = (
        each["with"]["python-version"] for each in steps if "python" in each.get("uses", "")
    )

    assert in_nox is not None
    assert in_run is not None
    assert named == re.findall(r"3\.\d+", in_nox[1]) == in_run[1].split()
    assert sorted(installed.split()) == named
    assert PROJECT["project"]["requires-python"] == f">={named[0]}"


def test_pre_commit_uses_the_ruff_of_the_project() -> None:
    """A hook's ruff has the versions that the group ``lint`` allows."""
    (repository,) = parsed(".pre-commit-config.yaml")["repos"]

    for hook in repository["hooks"]:
        assert hook["additional_dependencies"] == PROJECT["dependency-groups"]["lint"]


def test_editors_and_ruff_break_lines_alike() -> None:
    """The width in .editorconfig is ruff's."""
    config = configparser.ConfigParser()
    config.read_string("[top]\n" + read(".editorconfig"))

    assert int(config["*.{py,md}"]["max_line_length"]) == PROJECT["tool"]["ruff"]["line-length"]


def test_the_changelog_begins_with_the_version() -> None:
    """The first heading of the changelog is the package's version, with a date or that it has none."""
    heading = re.search(
        r"^## (\S+) \((not released yet|\d{4}-\d\d-\d\d)\)$", read("CHANGELOG.md"), re.MULTILINE
    )

    assert heading is not None
    assert heading[1] == PROJECT["project"]["version"] == telecmi_async.__version__


def test_an_address_of_the_project_is_the_same_everywhere() -> None:
    """README links each of [project.urls], and links no place of the project that these lack."""
    urls = PROJECT["project"]["urls"]
    readme = read("README.md")
    hosts = r"https://[\w.-]*(?:github|gitlab|codeberg|readthedocs)[\w.-]*/[^)\s>\"]*"

    assert set(urls) <= {
        "TeleCMI's voice API",
        "Source",
        "Documentation",
        "Changelog",
        "Issues",
    }
    assert all(address in readme for address in urls.values())
    assert all(found.startswith(tuple(urls.values())) for found in re.findall(hosts, readme))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_at_the_root_lead_somewhere(page: Any) -> None:
    """Sphinx checks the links of docs/ alone."""
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert "://" in link or (page.parent / link).exists(), link


@pytest.mark.parametrize("part", ["tutorial", "how-to", "explanation", "reference"])
def test_contributing_describes_each_part_of_the_docs(part: str) -> None:
    """Those who add a page find its part, and no page is outside the four."""
    assert f"| `docs/{part}/` |" in read("CONTRIBUTING.md")
    assert any((DOCS / part).glob("*.md"))
    assert [page.name for page in DOCS.glob("*.md")] == ["index.md"]
