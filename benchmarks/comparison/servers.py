"""Starts the fast local server of the benchmarks: nginx, a C server, or one on asyncio.

What is there decides. nginx cannot hold a reply back, so wherever latency is asked for it is
the C server, compiled on the spot; without a compiler (or, for TLS, without OpenSSL's headers)
it is the server on asyncio. All three answer any POST with the reply that its path stands for.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
REQUEST_ID = "Zs8kQ1vX7bNf3LmT9hRw2YcJ5pGd6UaE4oKi0BxSqDt"

# What each client's own parser takes for success; TeleCMI's is the one that its pages document.
REPLIES = {
    "/v2/": (
        "200 OK",
        {
            "data": {"status": "progress", "request_id": REQUEST_ID},
            "status": "progress",
            "request_id": REQUEST_ID,
            "code": 200,
        },
    ),
    "/v3/": (
        "200 OK",
        {"status": "success", "message": "Call initiated", "request_id": REQUEST_ID},
    ),
    "/2010-04-01/": (
        "201 Created",
        {
            "sid": "CA0123456789abcdef0123456789abcdef",
            "status": "queued",
            "to": "+19170000001",
            "from": "+19170000000",
            "direction": "outbound-api",
        },
    ),
    "/openai/": (
        "200 OK",
        {
            "id": "chatcmpl-0123456789",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "any",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Calling."},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
        },
    ),
    "/telnyx/": (
        "200 OK",
        {
            "data": {
                "record_type": "call",
                "call_control_id": "v3:MdI91X4lWFEs7IgbBEOT9M4AigoY08M0WWZFISt1Yw2axZ_IiE4pqg",
                "call_leg_id": "428c31b6-7af4-4bcb-b7f5-5013ef9657c1",
                "call_session_id": "428c31b6-7af4-4bcb-b7f5-5013ef9657c2",
                "is_alive": False,
            }
        },
    ),
}


class Counted(NamedTuple):
    """What a server counted. None: it does not count this."""

    requests: int
    connections: int
    body_bytes: int | None
    most_in_flight: int | None


@dataclass
class Certificate:
    """A certificate for 127.0.0.1: the files of its authority, itself and its key."""

    authority: Path
    chain: Path
    key: Path


@dataclass
class Server:
    """A server that runs in a process of its own."""

    kind: str
    port: int
    certificate: Certificate | None

    @property
    def url(self) -> str:
        return f"http{'s' if self.certificate else ''}://127.0.0.1:{self.port}"

    def get(self, path: str) -> str:
        connection: http.client.HTTPConnection
        if self.certificate:
            context = ssl.create_default_context(cafile=str(self.certificate.authority))
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Connection": "close"})
            return connection.getresponse().read().decode()

    def reset(self) -> None:
        """Count from here on."""
        self._before = self._nginx_counts() if self.kind == "nginx" else (0, 0)
        if self.kind != "nginx":
            self.get("/reset")

    def counted(self) -> Counted:
        """Return what was counted since the last reset."""
        if self.kind == "nginx":
            accepted, requests = self._nginx_counts()
            # The look itself is a connection and a request.
            return Counted(
                requests - self._before[1] - 1, accepted - self._before[0] - 1, None, None
            )
        found = json.loads(self.get("/stats"))
        return Counted(
            found["requests"],
            found["connections"],
            found["body_bytes"],
            found["most_in_flight"],
        )

    def _nginx_counts(self) -> tuple[int, int]:
        accepted, _, requests = re.findall(r"\d+", self.get("/stats").splitlines()[2])
        return int(accepted), int(requests)


@contextlib.contextmanager
def start_server(
    folder: Path,
    *,
    latency_ms: float = 0,
    certificate: Certificate | None = None,
    kinds: tuple[str, ...] = ("nginx", "C", "asyncio"),
    core: int | None = None,
) -> Iterator[Server]:
    """Start the best of the kinds that this machine can run, pinned to a core."""
    nginx = find_nginx() if "nginx" in kinds and not latency_ms else None
    if nginx:
        run = run_nginx(nginx, folder, certificate)
        kind = "nginx"
    else:
        replies = folder / "replies.tsv"
        replies.write_text(
            "".join(
                f"{start}\t{status}\t{json.dumps(body)}\n"
                for start, (status, body) in REPLIES.items()
            )
        )
        compiled = compile_server(folder, tls=bool(certificate)) if "C" in kinds else None
        kind = "C" if compiled else "asyncio"
        program = (
            [str(compiled)] if compiled else [sys.executable, str(HERE / "asyncio_server.py")]
        )
        run = run_program([*program, str(replies), str(latency_ms)], certificate)
    with run as (process, port):
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        yield Server(kind, port, certificate)


@contextlib.contextmanager
def run_program(
    command: list[str], certificate: Certificate | None
) -> Iterator[tuple[subprocess.Popen[Any], int]]:
    """Run a server that prints its port and ends with its input."""
    if certificate:
        command = [*command, str(certificate.chain), str(certificate.key)]
    with subprocess.Popen(  # noqa: S603  # our own servers
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin  # noqa: S101  # for the type checker
        assert process.stdout  # noqa: S101  # the same
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the server did not start: {command[0]}")
            yield process, int(line)
        finally:
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def compile_server(folder: Path, *, tls: bool) -> Path | None:
    """Compile ``server.c``, or return None where that is not possible."""
    compiler = shutil.which("cc")
    if not (compiler and sys.platform == "linux"):
        return None
    program = folder / ("server-tls" if tls else "server")
    options = ["-DWITH_TLS"] if tls else []
    libraries = ["-lssl", "-lcrypto"] if tls else []
    if not program.exists():
        done = subprocess.run(  # noqa: S603  # a compiler
            [
                compiler,
                "-O2",
                *options,
                "-o",
                str(program),
                str(HERE / "server.c"),
                *libraries,
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            print(f"server.c cannot be compiled here:\n{done.stderr}", file=sys.stderr)
            return None
    return program


def find_nginx() -> str | None:
    """Return where nginx is; distributions keep it where only root looks."""
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def run_nginx(
    nginx: str, folder: Path, certificate: Certificate | None
) -> Iterator[tuple[subprocess.Popen[Any], int]]:
    """Run nginx with one worker, in the foreground."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    home = folder / f"nginx-{port}"
    home.mkdir()
    tls = (
        f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};"
        if certificate
        else ""
    )
    locations = "\n".join(
        f"location {start} {{ default_type application/json; "
        f"return {status.split()[0]} '{json.dumps(body)}'; }}"
        for start, (status, body) in REPLIES.items()
    )
    kept = "\n".join(
        f"{kind}_temp_path {home}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = home / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {home}/pid; error_log stderr;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600;\n{kept}\n"
        f"server {{ listen 127.0.0.1:{port}{' ssl' if tls else ''} backlog=4096; {tls}\n"
        f"location = /stats {{ stub_status; }}\n{locations}\n}} }}\n"
    )
    with subprocess.Popen([nginx, "-p", str(home), "-c", str(config)]) as process:  # noqa: S603  # nginx
        try:
            for _ in range(500):
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection(("127.0.0.1", port), 1),
                ):
                    break
                if process.poll() is not None:
                    raise RuntimeError("nginx did not start")
                time.sleep(0.01)
            yield process, port
        finally:
            process.terminate()
            process.wait(5)


def make_certificate(folder: Path) -> Certificate:
    """Make an authority, and a certificate of it for 127.0.0.1."""
    import trustme  # where TLS is measured only

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    files = Certificate(folder / "authority.pem", folder / "chain.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(files.authority)
    issued.private_key_pem.write_to_path(files.key)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(files.chain, append=True)
    return files
