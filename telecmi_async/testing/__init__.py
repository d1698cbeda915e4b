"""What tests of code that places calls need: time that does not pass, cancels everywhere.

Edge of the package: nothing in the core imports it. trio is only imported once it is asked
for, so asyncio users need not have it. The pytest plugin stands beside the package, in
``_telecmi_async_pytest``.
"""

from __future__ import annotations

from telecmi_async.testing.cancellation import cancel_everywhere
from telecmi_async.testing.clock import VirtualClockLoop, run, virtual_backend
from telecmi_async.testing.strictness import strict

__all__ = ["VirtualClockLoop", "cancel_everywhere", "run", "strict", "virtual_backend"]
