"""CURVE for the server's socket and for a client's: encryption, and both sides proving who they are.

CURVE (rfc.zeromq.org/spec/26) gives each connection keys of its own, so that recorded bytes are of no use in another
one, nor to somebody who gets hold of the keys later.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import zmq
from typing_extensions import Self

from st4vla.contracts.errors import KeyFileError
from st4vla.runtime.allow_list import AllowList
from st4vla.runtime.key_files import SECRET_SUFFIX, KeyPair, fingerprint, read_pair, read_public

#: Folder of the allowed clients' public keys, in a server's folder of keys.
CLIENTS_FOLDER = "clients"
#: Whom ZeroMQ's handshakes are shown to (rfc.zeromq.org/spec/27); one that is not set would let everybody in.
ZAP_DOMAIN = b"st4vla"
#: How long a connection may take to prove who it is. One whose key is not allowed is left in silence until then, and
#: tries again after it: as often at most does a refused client cost a handshake.
HANDSHAKE_MS = 5000


@dataclass(frozen=True)
class ServerKeys:
    """A server's own keys, and whom it lets in."""

    own: KeyPair
    clients: AllowList

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a server's folder: the one ``*.key_secret`` in it, and ``clients/*.key``.

        Raises:
            KeyFileError: There is no such folder, no secret key in it or several, or a file that cannot be used.
        """
        if not folder.is_dir():
            msg = f"{folder} is not a folder of keys; make one with `st4vla keys make server --out {folder}`"
            raise KeyFileError(msg)
        secrets = sorted(folder.glob(f"*{SECRET_SUFFIX}"))
        if len(secrets) != 1:
            found = f"{len(secrets)} ({', '.join(path.name for path in secrets)})" if secrets else "none"
            msg = (
                f"{folder} must hold one secret key, the server's own, and holds {found}; make one with "
                f"`st4vla keys make server --out {folder}`, and keep those of clients in other folders"
            )
            raise KeyFileError(msg)
        return cls(read_pair(secrets[0]), AllowList(folder / CLIENTS_FOLDER))

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket that is not bound yet speak CURVE only, and ask a `CurveGate` about each client."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.own.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        # Without this, ZeroMQ lets in whoever knows the server's public key while nobody answers for the domain.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        # libzmq 4.3.5 delivers nothing at all when the mark is 1 and its handshakes are answered for by somebody.
        socket.setsockopt(zmq.RCVHWM, max(2, int(socket.getsockopt(zmq.RCVHWM))))


@dataclass(frozen=True)
class ClientKeys:
    """A client's own keys, and the public key of the only server that it talks to."""

    own: KeyPair
    server_public: str

    @classmethod
    def load(cls, secret: Path, server: Path) -> Self:
        """Read the client's secret key file and the server's public one.

        Raises:
            KeyFileError: One of them cannot be used.
        """
        return cls(read_pair(secret), read_public(server))

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Let a socket that is not connected yet talk to that server only, and prove who it is."""
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.server_public.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.own.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.own.secret.encode())

    @property
    def client(self) -> str:
        """Fingerprint of the client's own public key."""
        return fingerprint(self.own.public)

    @property
    def server(self) -> str:
        """Fingerprint of the server's public key."""
        return fingerprint(self.server_public)
