"""HTTP/1.1 server for a few paths on a port, and what ASGI applications here share.

anyio provides the sockets and h11 the protocol. The receiver of ``hook listen`` and the
simulator are served by it; neither needs a web framework.

Names are imported on first use, because a receiver within a web framework needs no server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.public_names import lazy_names

__all__ = [
    "ASGIMessage",
    "ASGIReceive",
    "ASGIScope",
    "ASGISend",
    "ConnectionLimits",
    "HttpApplication",
    "HttpConnection",
    "HttpRequest",
    "HttpResponse",
    "HttpServer",
    "read_body",
    "send_response",
    "serve_http",
]

_MODULES: Final = {
    "connection": "ConnectionLimits HttpApplication HttpConnection",
    "messages": (
        "ASGIMessage ASGIReceive ASGIScope ASGISend HttpRequest HttpResponse read_body "
        "send_response"
    ),
    "server": "HttpServer serve_http",
}

if TYPE_CHECKING:
    from telecmi_async.http_server.connection import (
        ConnectionLimits,
        HttpApplication,
        HttpConnection,
    )
    from telecmi_async.http_server.messages import (
        ASGIMessage,
        ASGIReceive,
        ASGIScope,
        ASGISend,
        HttpRequest,
        HttpResponse,
        read_body,
        send_response,
    )
    from telecmi_async.http_server.server import HttpServer, serve_http
else:  # hidden from type checkers, or they would accept any name
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
