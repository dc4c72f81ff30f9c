// The way to a runtime on the same machine: a Unix socket of packets, and messages in shared memory.
#ifndef ST4VLA_BRIDGE_LOCAL_SOCKET_H
#define ST4VLA_BRIDGE_LOCAL_SOCKET_H

#include <array>
#include <cstdint>
#include <mutex>
#include <string>

#include "buffers.h"
#include "socket.h"

namespace st4vla {

/// What its endpoints begin with; a path follows.
constexpr const char kLocalScheme[] = "local:";

/// Tells that a message lies in a memory; sent as it is, little-endian.
struct MessageNote {
    char magic[4];
    uint16_t version;
    /// Which of this client's memories: the one that comes with the note, or came with an earlier one of this number.
    uint16_t index;
    uint64_t bytes;
};
static_assert(sizeof(MessageNote) == 16);

class LocalSocket : public Socket {
public:
    /// `buffers`: where the messages lie that are shared and not sent.
    explicit LocalSocket(Buffers &buffers) : buffers_(buffers) { buffers_.share(); }
    ~LocalSocket() override;

    st4vla_status connect(const char *endpoint, const ClientKeys *keys) override;
    bool send(zmq_msg_t *message) noexcept override;
    bool receive(zmq_msg_t *message) noexcept override;
    bool readable() noexcept override;
    /// Also calls a server again that was not there.
    LinkEvents events() noexcept override;
    int descriptor() const noexcept override { return news_; }
    int events_descriptor() const noexcept override { return -1; }

private:
    void call() noexcept;
    void hang_up() noexcept;
    bool send_packet(const void *bytes, std::size_t size, int shared) noexcept;

    std::mutex mutex_;
    std::string path_;
    Buffers &buffers_;
    LinkEvents events_;
    int64_t called_ns_ = 0;
    int connection_ = -1;
    /// An epoll, whose descriptor stays while connections come and go.
    int news_ = -1;
    /// The largest chunk that is taken has half of it.
    std::array<unsigned char, 32768> packet_{};
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_LOCAL_SOCKET_H
