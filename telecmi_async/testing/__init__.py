"""Test tools: a virtual clock, cancellation everywhere, strict checks, contract checks.

pytest imports this package in every run of every environment that has telecmi_async installed,
to get at `telecmi_async.testing.pytest_plugin`. Therefore names are imported on first use, as in
`telecmi_async`. trio is imported only when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.public_names import lazy_names

__all__ = [
    "VirtualClockLoop",
    "cancel_everywhere",
    "check_event_store",
    "check_shared_limits",
    "run",
    "strict",
    "virtual_backend",
]

_MODULES: Final = {
    "cancellation": "cancel_everywhere",
    "clock": "VirtualClockLoop run virtual_backend",
    "event_store_rules": "check_event_store",
    "shared_limits_rules": "check_shared_limits",
    "strictness": "strict",
}

if TYPE_CHECKING:
    from telecmi_async.testing.cancellation import cancel_everywhere
    from telecmi_async.testing.clock import VirtualClockLoop, run, virtual_backend
    from telecmi_async.testing.event_store_rules import check_event_store
    from telecmi_async.testing.shared_limits_rules import check_shared_limits
    from telecmi_async.testing.strictness import strict
else:  # hidden from type checkers, or they would accept any name
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
