"""Who may talk to the server: a gate that every message passes, in both directions.

ZeroMQ asks about a client's key once, in the handshake (ZAP, rfc.zeromq.org/spec/27); `CurveGate` answers from the list
of allowed keys. As a key may be taken off the list later, the gate also looks at each message: ZeroMQ attaches the key
that the sender proved to hold (``User-Id``, which the sender cannot set), and a message without one that is on the
list now is dropped unread, its answer is not sent, and its connection is cut.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import zmq
from zmq.utils import z85

from st4vla.contracts.clock import NS_PER_MS, monotonic_ns
from st4vla.contracts.errors import TransportError
from st4vla.runtime.connections import Connection, connection_of
from st4vla.runtime.curve import ZAP_DOMAIN, ServerKeys
from st4vla.runtime.handshakes import Handshakes
from st4vla.runtime.key_files import KEY_BYTES, fingerprint

LOG = logging.getLogger(__name__)
#: How often the list of allowed keys is looked at.
REFRESH_NS = 250 * NS_PER_MS
POLL_MS = 100
#: How long stopping waits for a thread that a disk holds up.
STOP_S = 2.0
#: Clients that are remembered; the one that was quiet for longest is forgotten first, and gets no answers then.
MAX_PEERS = 1024
#: Refused keys that are remembered, so that a client that tries again and again is named once.
MAX_REFUSED = 100

ZAP_ADDRESS = "inproc://zeromq.zap.01"
ZAP_VERSION = b"1.0"
ALLOWED = b"200"
#: "Temporary": the client hears nothing, is cut after `HANDSHAKE_MS` and tries again, so that a key which is allowed
#: later needs no new client. After 400, ZeroMQ's clients would give up for good, in silence.
REFUSED = b"300"


class Gate:
    """A gate that stands open, for a server without keys."""

    def lets_in(self, address: zmq.Frame) -> bool:
        """Say whether a message may be read, by its first frame, the sender's address."""
        del address
        return True

    def may_answer(self, identity: bytes) -> bool:
        """Say whether a message may be sent to a client."""
        del identity
        return True

    def evicted(self) -> list[bytes]:
        """Return the clients that may not be served any more since the last call; their connections are being cut."""
        return []

    def close(self) -> None:
        """Stop, before the socket closes; nobody is let in afterwards."""


@dataclass(frozen=True)
class _Peer:
    user: str
    connection: Connection | None


class CurveGate(Gate):
    """A gate for clients on a list. `lets_in`, `may_answer`, `evicted` and `close` belong to who holds the socket.

    Args:
        keys: The server's keys, and whom it lets in.
        router: The server's socket, before it is bound.
        count: Is told, from two threads, of ``handshakes_refused`` (a connection that ended before it was let in),
            ``messages_refused`` (of a key that is not allowed any more, or by another's address) and
            ``clients_revoked`` (a connection that was cut because its key was taken away).

    Raises:
        TransportError: Another gate stands in this ZeroMQ context.
    """

    def __init__(self, keys: ServerKeys, router: zmq.Socket[bytes], count: Callable[[str], object]) -> None:
        self._clients = keys.clients
        self._count = count
        self._peers: OrderedDict[bytes, _Peer] = OrderedDict()
        self._left: list[bytes] = []
        self._served: Mapping[str, str] = self._clients.allowed
        self._refused: set[str] = set()
        self._blind = False
        self._stopping = threading.Event()
        self._zap = router.context.socket(zmq.ROUTER)
        self._zap.setsockopt(zmq.LINGER, 0)
        try:
            self._zap.bind(ZAP_ADDRESS)
        except zmq.ZMQError as error:
            self._zap.close()
            msg = "this ZeroMQ context has a gate already; give each server a context of its own"
            raise TransportError(msg) from error
        self._handshakes = Handshakes(router)
        keys.secure(router)
        self._thread = threading.Thread(target=self._run, name="st4vla_gate", daemon=True)
        self._thread.start()

    def lets_in(self, address: zmq.Frame) -> bool:
        """Say whether the sender's key is allowed now; cut its connection when it is not.

        The first message by an address that was another key's is dropped as well; `evicted` names the address.
        """
        user = _user(address)
        if user not in self._clients.allowed:
            self._count("messages_refused")
            if (connection := connection_of(address)) is not None:
                connection.cut()
            return False
        identity = address.bytes
        known = self._peers.pop(identity, None)
        if known is not None and known.user != user:
            # A client may call itself by another's address. It does not come into what that one left behind.
            self._left.append(identity)
            self._count("messages_refused")
            return False
        self._peers[identity] = _Peer(user, connection_of(address))
        if len(self._peers) > MAX_PEERS:
            self._peers.popitem(last=False)
        return True

    def may_answer(self, identity: bytes) -> bool:
        """Say whether the key that a client was let in with is allowed still."""
        peer = self._peers.get(identity)
        return peer is not None and peer.user in self._clients.allowed

    def evicted(self) -> list[bytes]:
        """Cut the connections of keys that were taken off the list, and return whose they were."""
        gone, self._left = self._left, []
        allowed = self._clients.allowed
        if allowed is not self._served:
            self._served = allowed
            for identity in [identity for identity, peer in self._peers.items() if peer.user not in allowed]:
                gone.append(identity)
                connection = self._peers.pop(identity).connection
                if connection is not None and connection.cut():
                    self._count("clients_revoked")
        return gone

    def close(self) -> None:
        """Stop; handshakes that come later are refused by ZeroMQ itself."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        # The end of the events wakes the thread.
        self._handshakes.stop()
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            LOG.warning("the list of clients is still being read; stopping without it")
            return
        self._zap.close()
        self._handshakes.close()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._zap, zmq.POLLIN)
        poller.register(self._handshakes.events, zmq.POLLIN)
        looked_ns = monotonic_ns()
        while not self._stopping.is_set():
            try:
                ready = dict(poller.poll(POLL_MS))
                if monotonic_ns() - looked_ns >= REFRESH_NS:
                    self._look()
                    looked_ns = monotonic_ns()
                if self._zap in ready:
                    self._answer(self._zap.recv_multipart())
                for _ in self._handshakes.read():
                    self._count("handshakes_refused")
            except Exception:
                # Whoever waits for an answer is refused, by ZeroMQ, as long as there is none.
                if self._stopping.wait(POLL_MS / 1000):
                    return
                LOG.exception("the gate failed, and goes on")

    def _look(self) -> None:
        """Look at the list; while that fails it goes stale, and a stale list is empty."""
        try:
            changed = self._clients.refresh()
        except Exception:
            if not self._blind:
                LOG.exception("the list of clients cannot be looked at; nobody is served until it can")
            self._blind = True
            return
        self._blind = False
        if changed:
            self._refused.clear()

    def _answer(self, request: list[bytes]) -> None:
        """Answer one of ZeroMQ's questions: may this key come in?"""
        peer, empty, version, number, domain, address, _, mechanism, *credentials = request
        known = (version, domain, mechanism) == (ZAP_VERSION, ZAP_DOMAIN, b"CURVE")
        user = z85.encode(credentials[0]).decode() if known and list(map(len, credentials)) == [KEY_BYTES] else ""
        allowed = user in self._clients.allowed
        if user and not allowed and user not in self._refused and len(self._refused) < MAX_REFUSED:
            self._refused.add(user)
            where = address.decode(errors="replace")
            LOG.warning("refused a client at %s: its key %s is not allowed here", where, fingerprint(user))
        status, text = (ALLOWED, b"OK") if allowed else (REFUSED, b"not allowed")
        self._zap.send_multipart(
            [peer, empty, ZAP_VERSION, number, status, text, user.encode() if allowed else b"", b""]
        )


def open_gate(keys: ServerKeys | None, router: zmq.Socket[bytes], count: Callable[[str], object]) -> Gate:
    """Return the gate for a server's socket, which is not bound yet.

    Raises:
        TransportError: See `CurveGate`.
    """
    return Gate() if keys is None else CurveGate(keys, router, count)


def _user(address: zmq.Frame) -> str:
    """Return the key that a sender proved to hold, in Z85; empty when it proved nothing."""
    with contextlib.suppress(zmq.ZMQError):
        return str(address.get("User-Id"))
    return ""
