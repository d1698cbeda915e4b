"""HTTP/1.1 server for a few paths on a port, and what ASGI applications here share.

anyio provides the sockets and h11 the protocol. The receiver of ``hook listen`` and the
simulator are served by it; neither needs a web framework.
"""

from telecmi_async.http_server.asgi import (
    ASGIMessage,
    ASGIReceive,
    ASGIScope,
    ASGISend,
    read_body,
    send_response,
)
from telecmi_async.http_server.connection import (
    ConnectionLimits,
    HttpApplication,
    HttpConnection,
    is_loopback,
)
from telecmi_async.http_server.messages import HttpRequest, HttpResponse
from telecmi_async.http_server.server import HttpServer, serve_http

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
    "is_loopback",
    "read_body",
    "send_response",
    "serve_http",
]
