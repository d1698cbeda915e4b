"""TeleCMI's constants: each stands here once, with its source.

Sources are the pages of doc.telecmi.com/piopiy/docs, TeleCMI's SDKs for Python and Node.js, and
reports of users. Where they do not agree, or say nothing, the entry names the choice made here.
What TeleCMI's wire calls a field or an action stands with the class that has it
(`telecmi_async.pcmo.actions`, `telecmi_async.events.model`).
"""

from __future__ import annotations

from typing import Final

# --- addresses --------------------------------------------------------------------------

#: The API (outbound-make-call).
BASE_URL: Final = "https://rest.telecmi.com/v2"
#: The older API, which alone has look-ups and commands to live calls (both SDKs).
LEGACY_URL: Final = "https://piopiy.telecmi.com/v1"
#: The two make-call endpoints by region: "within India" and the rest (outbound-make-call).
MAKE_CALL_PATHS: Final = {"india": "/ind_pcmo_make_call", "global": "/global_pcmo_make_call"}

# --- result codes -----------------------------------------------------------------------

#: The app id or the secret is wrong: 420 and 407 by the pages, 401 by reports.
AUTHENTICATION_CODES: Final = frozenset({401, 407, 420})
#: A required property is missing: the pages of different endpoints say 422, 501 and 502.
MISSING_PROPERTY_CODES: Final = frozenset({422, 501, 502})
#: What a code means, for a reply without a text.
CODE_MEANINGS: Final = {
    400: "the request was not understood",
    401: "authentication failed",
    404: "a media file name is invalid, or something the call names was not found",
    407: "authentication failed",
    420: "the app id or the secret is wrong",
    422: "a required property is missing",
    429: "too many requests",
    501: "a required property is missing",
    502: "a required property is missing",
    503: "the service is unavailable for now",
}

# --- times, in seconds ------------------------------------------------------------------

#: How long a call without a ``duration`` may last. TeleCMI documents no limit; its Python SDK
#: sends 5,400 where a program gives none (the Node.js SDK: 4,200, so the longer one counts).
LONGEST_CALL: Final = 5_400.0
#: How long a call may ring before its duration begins to count. Not documented: a choice.
RINGING: Final = 60.0
#: From one delivery of a call detail record to the next: it is sent at the call's end and again
#: after 5, 10 and 15 minutes, that is at 0, 5, 15 and 30 minutes (webhooks-overview). The page
#: does not say that a 2xx reply ends this. A PostgreSQL ledger has `LAST_RECORD` in SQL; a test
#: compares them.
RECORD_PAUSES: Final = (300.0, 600.0, 900.0)
#: When a record is sent for the last time, counted from the call's end.
LAST_RECORD: Final = sum(RECORD_PAUSES)
#: How long a record is waited for after a call's end: until its last delivery, and a minute for
#: the way.
RECORD_PATIENCE: Final = LAST_RECORD + 60.0

# --- our own reference in ``extra_params`` ----------------------------------------------
# TeleCMI returns ``extra_params`` with every event. These must stay as they are: processes of
# different versions read each other's references.

#: The key that holds a call's signed reference.
REFERENCE_FIELD: Final = "tcm_reference"
#: The key that holds the trace context in which a call is placed.
TRACE_FIELD: Final = "tcm_trace"
#: A ``traceparent``. Source: W3C Trace Context, section 3.2.2.
TRACE_PATTERN: Final = r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
#: What every reference begins with.
REFERENCE_PREFIX: Final = "tcm_"
#: A signed reference: 128 random bits and a 128-bit code, each in base 32.
REFERENCE_PATTERN: Final = r"(tcm_[a-z2-7]{26})\.([a-z2-7]{26})"
#: What the key of that code is derived for: the message of an HMAC with the account's secret.
REFERENCE_PURPOSE: Final = b"telecmi_async: reference of a call"

# --- the address of a stream ------------------------------------------------------------

#: The last part of a ``ws_url`` that stands for the call's signed reference.
STREAM_PLACEHOLDER: Final = "tcm_call"
