"""How the documentation is built: ``nox -s docs``."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import attrs
from docutils import nodes
from sphinx.addnodes import pending_xref

import telecmi_async
from telecmi_async import Action
from telecmi_async.events import Event

# The extensions that are beside this file.
sys.path.insert(0, str(Path(__file__).parent))
from notebook_page import NotebookParser

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "telecmi_async"
author = "the telecmi_async authors"
project_copyright = author
version = release = version_of("telecmi-async")

extensions = [
    "inline_drawings",
    "llms_txt",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
# A block of console commands is copied without its prompts and its output.
copybutton_prompt_text = "$ "
source_suffix = {".md": "markdown", ".ipynb": "notebook"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_favicon = "../telecmi_async/simulator/page/static/icon.svg"
# The search finds all names: an index of them would be a page too wide for a phone.
html_use_index = html_domain_indices = False
html_title = f"telecmi_async {release}"
# So that a block of 96 columns fits beside the sidebar.
html_theme_options = {"light_css_variables": {"code-font-size": "75%"}}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# A name in single backticks is a link where there is something to link to.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
strip_signature_backslash = True
python_use_unqualified_type_names = True
# A longer signature has one argument a line: it stays readable on a phone.
python_maximum_signature_line_length = 76
napoleon_use_rtype = False

nitpicky = True
nitpick_ignore_regex = [
    # Documented by other projects.
    (r"py:.*", r"(anyio|asyncio|attrs?|collections|datetime|decimal|enum|httpx|os)\..*"),
    (r"py:.*", r"(redis|redis_py|ssl|trio|typing)\..*"),
    (r"py:.*", r"AbstractAsyncContextManager|Decimal|PathLike|Redis|date|datetime|timedelta"),
    (r"py:.*", r"FrameSerializer|SSLContext"),
    (r"py:.*", r"(Meter|Tracer)Provider"),
    # Private by their path: modules inside a room, and what only they show.
    (r"py:obj", r"telecmi_async(\.attempt|\.calls\.\w+|(\.[a-z_]+){3,})"),
    (r"py:class", r"telecmi_async(\.\w+){3,}"),
    (r"py:class", r"Speech"),
    # Type variables.
    (r"py:class", r"_\w+"),
]

# Names that lead to the reference wherever a guide uses them; `Action` is an alias.
LINKED = set(telecmi_async.__all__) - {"Action"}

# Where a name without its module is looked for; "" is for aliases that cannot be imported.
HOMES = [
    "",
    "telecmi_async",
    "telecmi_async.CallService",
    "telecmi_async.campaigns",
    "telecmi_async.events",
    "telecmi_async.events.receiver",
    "telecmi_async.events.store",
    "telecmi_async.http_server",
    "telecmi_async.ledger",
    "telecmi_async.notebook",
    "telecmi_async.pacing",
    "telecmi_async.pcmo",
    "telecmi_async.service",
    "telecmi_async.simulator",
    "telecmi_async.voice",
]


def find_by_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.reference | None:
    """Resolve a name that stands without its module, wherever it is used."""
    if node.get("refdomain") != "py":
        return None
    python = env.get_domain("py")
    for home in HOMES:
        target = f"{home}.{node['reftarget'].rpartition('.')[2]}".removeprefix(".")
        found = python.resolve_xref(
            env, node["refdoc"], app.builder, node["reftype"], target, node, text
        )
        if found is not None:
            return found
    return None


def link_names(_app: Sphinx, doctree: nodes.document) -> None:
    """Make public names in guides lead to the reference: in tables, and where they come first."""
    linked: set[str] = set()
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext()
        above = set[type]()
        parent = literal.parent
        while parent is not None:
            above.add(type(parent))
            parent = parent.parent
        if (
            name not in LINKED
            or above & {nodes.title, nodes.reference, pending_xref}
            or (name in linked and nodes.entry not in above)
        ):
            continue
        linked.add(name)
        target = pending_xref(
            "", refdomain="py", reftype="obj", reftarget=f"telecmi_async.{name}"
        )
        literal.replace_self(target)
        target += literal


def spelt_out(*names: str) -> str:
    """Return a pattern of a union's members, each with its module or without."""
    return r" \| ".join(rf"~?(?:\w+\.)*{name}\b" for name in names)


# What signatures spell out, and the short name of it that docs/reference/api/types.md explains.
SHORT_NAMES = {
    spelt_out(*(kind.__name__ for kind in get_args(Action))): "Action",
    spelt_out(*(kind.__name__ for kind in get_args(Event))): "Event",
    spelt_out("SupportsIndex", "str"): "Number",
    spelt_out("float", "timedelta"): "Duration",
    r"\bvalidators\.Duration": "Duration",
    r"\bAnyAction\b": "Action",
    r"\bCallStreams\b": "Streams",
    "<built-in function time>": "time.time",
    "<function sleep>": "anyio.sleep",
}


def shorten_signature(
    _app: Sphinx,
    _what: str,
    _name: str,
    owner: object,
    _options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """Show aliases by their names, and what attrs makes a field of if it is not given."""
    if signature is None:
        return None
    for long, short in SHORT_NAMES.items():
        signature = re.sub(long, short, signature)
        returns = returns and re.sub(long, short, returns)
    if isinstance(owner, type) and attrs.has(owner):
        for field in attrs.fields(owner):
            if isinstance(field.default, attrs.Factory):
                made = field.default.factory.__name__
                default = "..." if made.startswith("_") else f"{made}()"
                missing = rf"(\b{field.alias}: [^=]*= )NOTHING"
                signature = re.sub(missing, rf"\g<1>{default}", signature)
    return signature, returns


def prepare_docstring(
    _app: Sphinx, what: str, _name: str, _owner: object, _options: object, lines: list[str]
) -> None:
    """Help napoleon and docutils with two things that read well in the source."""
    for number, line in enumerate(lines):
        # A plural: `CallRequest`s.
        lines[number] = re.sub(r"(`\w+`)s\b", r"\1\\ s", line)
    if what in {"attribute", "data"} and lines:
        # Napoleon takes what stands before a colon for a type.
        lines[0] = lines[0].replace(": ", " \u2013 ")


def setup(app: Sphinx) -> None:
    """Let Sphinx know."""
    app.add_source_parser(NotebookParser)
    app.connect("doctree-read", link_names)
    app.connect("missing-reference", find_by_name)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("autodoc-process-docstring", prepare_docstring, priority=100)
