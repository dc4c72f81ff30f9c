// The client's ZeroMQ socket, with what its monitor tells of its connections.
#ifndef ST4VLA_BRIDGE_SOCKET_H
#define ST4VLA_BRIDGE_SOCKET_H

#include <cstdint>
#include <memory>

#include "key_files.h"
#include "st4vla/status.h"

struct zmq_msg_t;

namespace st4vla {

/// Events of a socket's connections since the last look.
struct LinkEvents {
    unsigned connected = 0;
    unsigned disconnected = 0;
    unsigned handshakes_failed = 0;
    /// A server hung up in mid-handshake, as one does that wants other keys.
    bool refused = false;
};

/// A DEALER that one thread at a time uses; `events` may be used by another one at the same time.
class Socket {
public:
    Socket() = default;
    ~Socket();
    Socket(const Socket &) = delete;
    Socket &operator=(const Socket &) = delete;

    /// Begin to connect. `keys` is nullptr for a connection without.
    st4vla_status connect(const char *endpoint, const ClientKeys *keys);

    /// Hand a message over; false if there is no place for it, in which case it is as it was.
    bool send(zmq_msg_t *message) noexcept;

    /// Take a message into one that is initialised, if there is one.
    bool receive(zmq_msg_t *message) noexcept;

    bool readable() noexcept;
    bool writable() noexcept;

    LinkEvents events() noexcept;

    /// Descriptors that become readable on news.
    int descriptor() const noexcept;
    int events_descriptor() const noexcept;

private:
    struct CloseSocket {
        void operator()(void *socket) const noexcept;
    };
    struct EndContext {
        void operator()(void *context) const noexcept;
    };
    using Handle = std::unique_ptr<void, CloseSocket>;

    std::unique_ptr<void, EndContext> context_;
    Handle monitor_;
    Handle dealer_;
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_SOCKET_H
