"""How a peer whose machine or cable is gone is noticed.

By TCP itself, not by ZeroMQ's heartbeats: libzmq 4.3.5 ends the whole process ("Assertion failed: !_io_error") when a
heartbeat is due on a connection that has broken while unread messages stand at the receive mark. A control loop that
pauses for a moment is enough for that.
"""

from __future__ import annotations

import zmq

#: A connection is given up when what was sent has not been acknowledged for so long. Longer than any round trip to a
#: robot, shorter than the second in which service is to be back.
UNACKNOWLEDGED_MS = 800
#: One on which nothing is sent is asked after a second, each second, and given up after the second question.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 1, 1, 2

LIVENESS: tuple[tuple[int, int], ...] = (
    (zmq.TCP_MAXRT, UNACKNOWLEDGED_MS),
    (zmq.TCP_KEEPALIVE, 1),
    (zmq.TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S),
    (zmq.TCP_KEEPALIVE_INTVL, KEEPALIVE_INTERVAL_S),
    (zmq.TCP_KEEPALIVE_CNT, KEEPALIVE_COUNT),
)
