// Options and liveness are those of runtime/st4vla/runtime/client.py and liveness.py, for the same reasons.
#include "dealer.h"

#include <sys/random.h>
#include <zmq.h>

#include <cerrno>
#include <cstring>

#include "../detail.h"

namespace st4vla {
namespace {

/// A server that is gone is called again and again.
constexpr int kConnectTimeoutMs = 450, kReconnectMs = 20, kReconnectMaxMs = 100;
/// A connection is given up when what was sent has not been acknowledged for so long. Not by ZeroMQ's heartbeats:
/// libzmq 4.3.5 ends the process when one is due on a broken connection whose receive mark is reached.
constexpr int kUnacknowledgedMs = 800;
/// One on which nothing is sent is asked after a second, each second, and given up after the second question.
constexpr int kKeepaliveIdleS = 1, kKeepaliveIntervalS = 1, kKeepaliveCount = 2;
/// How long a socket that closes tries to say goodbye.
constexpr int kLingerMs = 100;
constexpr int kSendBufferBytes = 512 * 1024;
/// Answers are small; a server that sends more than this is none of ours.
constexpr int64_t kMaxMessageBytes = 1 << 20;
constexpr const char *kMonitorAddress = "inproc://events";
/// Events that wait at most. At the limit ZeroMQ's own thread would wait for us, and the connection with it.
constexpr int kMaxEvents = 100'000;

constexpr int kEvents = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                        ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;

bool set(void *socket, int option, int value) { return zmq_setsockopt(socket, option, &value, sizeof value) == 0; }

bool set_key(void *socket, int option, const std::string &key)
{
    return zmq_setsockopt(socket, option, key.data(), key.size()) == 0;
}

bool set_options(void *socket)
{
    static constexpr int kOptions[][2] = {
        {ZMQ_LINGER, kLingerMs},
        // One message waits at most: while a server is away, frames are replaced here instead of growing stale.
        {ZMQ_SNDHWM, 1},
        {ZMQ_RCVHWM, 1},
        {ZMQ_SNDBUF, kSendBufferBytes},
        {ZMQ_TCP_MAXRT, kUnacknowledgedMs},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, kKeepaliveIdleS},
        {ZMQ_TCP_KEEPALIVE_INTVL, kKeepaliveIntervalS},
        {ZMQ_TCP_KEEPALIVE_CNT, kKeepaliveCount},
        {ZMQ_CONNECT_TIMEOUT, kConnectTimeoutMs},
        {ZMQ_RECONNECT_IVL, kReconnectMs},
        {ZMQ_RECONNECT_IVL_MAX, kReconnectMaxMs},
    };
    for (const auto &[option, value] : kOptions) {
        if (!set(socket, option, value)) {
            return false;
        }
    }
    // Nobody else has this name, and a server knows by it the client that comes back.
    unsigned char name[17] = {'c'};
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &kMaxMessageBytes, sizeof kMaxMessageBytes) == 0 &&
           getrandom(name + 1, sizeof name - 1, 0) == sizeof name - 1 &&
           zmq_setsockopt(socket, ZMQ_ROUTING_ID, name, sizeof name) == 0;
}

bool set_keys(void *socket, const ClientKeys &keys)
{
    return set_key(socket, ZMQ_CURVE_SERVERKEY, keys.server_public) &&
           set_key(socket, ZMQ_CURVE_PUBLICKEY, keys.own_public) &&
           set_key(socket, ZMQ_CURVE_SECRETKEY, keys.own_secret);
}

int state(void *socket)
{
    int events = 0;
    std::size_t size = sizeof events;
    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0 ? events : 0;
}

int descriptor_of(void *socket)
{
    int descriptor = -1;
    std::size_t size = sizeof descriptor;
    zmq_getsockopt(socket, ZMQ_FD, &descriptor, &size);
    return descriptor;
}

}  // namespace

void Dealer::CloseSocket::operator()(void *socket) const noexcept { zmq_close(socket); }

void Dealer::EndContext::operator()(void *context) const noexcept
{
    while (zmq_ctx_term(context) != 0 && errno == EINTR) {
    }
}

Dealer::~Dealer()
{
    if (dealer_ != nullptr) {
        // While the reader is there still: without one ZeroMQ blocks.
        zmq_socket_monitor(dealer_.get(), nullptr, 0);
    }
}

st4vla_status Dealer::connect(const char *endpoint, const ClientKeys *keys)
{
    context_.reset(zmq_ctx_new());
    if (context_ == nullptr) {
        return ST4VLA_NO_MEMORY;
    }
    dealer_.reset(zmq_socket(context_.get(), ZMQ_DEALER));
    monitor_.reset(zmq_socket(context_.get(), ZMQ_PAIR));
    if (dealer_ == nullptr || monitor_ == nullptr || !set_options(dealer_.get()) ||
        (keys != nullptr && !set_keys(dealer_.get(), *keys)) || !set(monitor_.get(), ZMQ_RCVHWM, kMaxEvents) ||
        !set(monitor_.get(), ZMQ_LINGER, 0) || zmq_socket_monitor(dealer_.get(), kMonitorAddress, kEvents) != 0 ||
        zmq_connect(monitor_.get(), kMonitorAddress) != 0) {
        return fail(ST4VLA_SYSTEM, "a ZeroMQ socket cannot be set up: %s", zmq_strerror(errno));
    }
    if (zmq_connect(dealer_.get(), endpoint) != 0) {
        return fail(ST4VLA_BAD_ENDPOINT,
                    "cannot connect to '%s': %s; an address looks like tcp://127.0.0.1:5555, or local:PATH", endpoint,
                    zmq_strerror(errno));
    }
    return ST4VLA_OK;
}

bool Dealer::send(zmq_msg_t *message) noexcept { return zmq_msg_send(message, dealer_.get(), ZMQ_DONTWAIT) >= 0; }

bool Dealer::receive(zmq_msg_t *message) noexcept { return zmq_msg_recv(message, dealer_.get(), ZMQ_DONTWAIT) >= 0; }

bool Dealer::readable() noexcept { return (state(dealer_.get()) & ZMQ_POLLIN) != 0; }

LinkEvents Dealer::events() noexcept
{
    LinkEvents events;
    zmq_msg_t part;
    zmq_msg_init(&part);
    // Two parts each: the event's number (16 bits) with its value, and the address.
    bool is_first = true;
    while (zmq_msg_recv(&part, monitor_.get(), ZMQ_DONTWAIT) >= 0) {
        uint16_t event = 0;
        if (is_first && zmq_msg_size(&part) >= sizeof event) {
            std::memcpy(&event, zmq_msg_data(&part), sizeof event);
        }
        is_first = zmq_msg_more(&part) == 0;
        events.connected += event == ZMQ_EVENT_CONNECTED;
        events.disconnected += event == ZMQ_EVENT_DISCONNECTED;
        const bool refused =
            event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL || event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;
        events.refused |= refused;
        events.handshakes_failed += refused || event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    }
    zmq_msg_close(&part);
    return events;
}

int Dealer::descriptor() const noexcept { return descriptor_of(dealer_.get()); }

int Dealer::events_descriptor() const noexcept { return descriptor_of(monitor_.get()); }

}  // namespace st4vla
