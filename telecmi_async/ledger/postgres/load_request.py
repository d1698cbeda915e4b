"""Load request: contacts as the one argument of the database's function ``load_contacts``.

The ledger loads by that function, and so can any program within its own transaction: whatever
driver it uses, it has to pass one text. No I/O happens here.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from telecmi_async._internal.seams import check_instance
from telecmi_async.ledger.sanitize import clean, contact_row

if TYPE_CHECKING:
    from telecmi_async.ledger.records import NewContact

#: What is executed with a request; the role's ``search_path`` must lead to the schema.
LOAD: Final = "SELECT added FROM load_contacts(%s)"
# The schema's function refuses a format that it does not know.
_FORMAT: Final = 1


def load_request(campaign: str, contacts: Iterable[NewContact], *, by: str = "") -> str:
    """Return the text with which your own transaction loads contacts into a `PostgresLedger`.

    Execute ``SELECT * FROM telecmi.load_contacts(…)`` with it, where ``telecmi`` is the ledger's
    schema. The contacts are loaded if your transaction commits. The row is the counts
    ``added`` and ``known``, as in `Loaded`. Nothing is read or written here, so it works in
    asynchronous and in synchronous code. Contacts that the campaign has stay as they are.

    Example:
        An order and its call, both or neither::

            from telecmi_async.ledger import NewContact, load_request


            def take_order(connection):  # such as one of psycopg
                contact = NewContact(number="+1 917 000 0001", columns={"order": "42"})
                connection.execute("INSERT INTO orders VALUES (42)")
                connection.execute(
                    "SELECT * FROM telecmi.load_contacts(%s)",
                    [load_request("orders", [contact])],
                )

    Args:
        campaign: The campaign's name; it must exist, or the statement fails.
        contacts: The contacts, which are kept in the order of their numbers. Load more than a few
            thousand by `Ledger.load`, which takes many transactions.
        by: Who loads them, for `Ledger.changes`.

    Raises:
        InvalidCall: A lazy iterable finds a number that cannot be called.
        ConfigurationError: Something is not a `NewContact`, or a value is of the wrong kind.
    """
    check_instance("campaign", campaign, str, "the campaign's name")
    check_instance("contacts", contacts, Iterable, "an iterable of NewContact")
    check_instance("by", by, str, "a text")
    # In one order: of two transactions that load the same contacts, neither waits for the other
    # while that one waits for it.
    rows = sorted((contact_row(each) for each in contacts), key=lambda row: row[0])
    return request_text(campaign, rows, secrets.token_hex(8), by)


def request_text(
    campaign: str,
    rows: Iterable[tuple[int, str, float, float | None]],
    operation: str,
    by: str,
) -> str:
    """Return the request of rows of contacts, which are kept in this order."""
    return json.dumps(
        {
            "format": _FORMAT,
            "campaign": campaign,
            "operation": operation,
            "by": clean(by),
            "contacts": list(rows),
        }
    )
