"""Lazy imports: a face's public names, imported from their modules when they are first used."""

from __future__ import annotations

import functools
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def import_public(package: str, modules: Mapping[str, str], name: str) -> object:
    """Return a public name of a package, for its ``__getattr__``.

    Args:
        package: The package's full name.
        modules: Its modules, each with the public names that it defines, separated by blanks.
        name: The name.

    Raises:
        AttributeError: No module defines it.
    """
    from telecmi_async._internal.argument_errors import explain_arguments  # noqa: PLC0415  # not for the import alone

    for module, names in modules.items():
        if name in names.split():
            found: object = getattr(import_module(f"{package}.{module}"), name)
            explain_arguments(found)
            # Python does not call ``__getattr__`` for it again.
            setattr(sys.modules[package], name, found)
            return found
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package; see `import_public` for arguments."""
    names = [name for each in modules.values() for name in each.split()]
    return functools.partial(import_public, package, modules), lambda: sorted(names)


def public_dir(package: str, names: Sequence[str]) -> Callable[[], list[str]]:
    """Return ``__dir__`` of a package that imports its public names itself."""
    from telecmi_async._internal.argument_errors import explain_arguments  # noqa: PLC0415  # as above

    module = sys.modules[package]
    for name in names:
        explain_arguments(getattr(module, name))
    return lambda: sorted(names)
