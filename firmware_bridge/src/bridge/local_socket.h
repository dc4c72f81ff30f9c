// The way to a runtime on the same machine: a Unix socket of packets, and frames in shared memory.
#ifndef ST4VLA_BRIDGE_LOCAL_SOCKET_H
#define ST4VLA_BRIDGE_LOCAL_SOCKET_H

#include <array>
#include <cstdint>
#include <mutex>
#include <string>

#include "shared_frames.h"
#include "socket.h"

namespace st4vla {

/// What its endpoints begin with; a path follows.
constexpr const char kLocalScheme[] = "local:";

class LocalSocket : public Socket {
public:
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
    SharedFrames frames_;
    /// The memory that the server knows of; 0: none.
    uint64_t known_ = 0;
    LinkEvents events_;
    int64_t called_ns_ = 0;
    int connection_ = -1;
    /// An epoll, whose descriptor stays while connections come and go.
    int news_ = -1;
    std::array<unsigned char, 32 * 1024> packet_{};
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_LOCAL_SOCKET_H
