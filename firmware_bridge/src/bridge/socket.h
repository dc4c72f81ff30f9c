// What a link's messages go through.
#ifndef ST4VLA_BRIDGE_SOCKET_H
#define ST4VLA_BRIDGE_SOCKET_H

#include <memory>

#include "key_files.h"
#include "st4vla/status.h"

struct zmq_msg_t;

namespace st4vla {

class Buffers;

/// Events of a socket's connections since the last look.
struct LinkEvents {
    unsigned connected = 0;
    unsigned disconnected = 0;
    unsigned handshakes_failed = 0;
    /// A server hung up in mid-handshake, as one does that wants other keys.
    bool refused = false;
};

/// One thread at a time uses it; `events` may be used by another one at the same time.
class Socket {
public:
    Socket() = default;
    virtual ~Socket() = default;
    Socket(const Socket &) = delete;
    Socket &operator=(const Socket &) = delete;

    /// Begin to connect. `keys` is nullptr for a connection without.
    virtual st4vla_status connect(const char *endpoint, const ClientKeys *keys) = 0;

    /// Hand a message over; false if there is no place for it, in which case it is as it was.
    virtual bool send(zmq_msg_t *message) noexcept = 0;

    /// Take a message into one that is initialised, if there is one.
    virtual bool receive(zmq_msg_t *message) noexcept = 0;

    /// Whether there is news that its descriptors may have told of already, and will not again.
    virtual bool readable() noexcept = 0;

    virtual LinkEvents events() noexcept = 0;

    /// Descriptors that become readable on news; negative where there is none.
    virtual int descriptor() const noexcept = 0;
    virtual int events_descriptor() const noexcept = 0;
};

/// The one for an endpoint: shared memory for "local:PATH", else ZeroMQ. `buffers` has the messages that will be sent.
std::unique_ptr<Socket> make_socket(const char *endpoint, Buffers &buffers);

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_SOCKET_H
