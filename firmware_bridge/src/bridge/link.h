// The way to one runtime: a socket, a thread that takes in what comes, and what is known of the other side.
#ifndef ST4VLA_BRIDGE_LINK_H
#define ST4VLA_BRIDGE_LINK_H

#include <zmq.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "../player/slot.h"
#include "bell.h"
#include "buffers.h"
#include "clock_offset.h"
#include "counters.h"
#include "intake.h"
#include "jpeg.h"
#include "socket.h"
#include "st4vla/bridge.h"

namespace st4vla {

/// A chunk, and how many were let in with it.
struct Arrived {
    st4vla_chunk chunk;
    uint64_t number;
};

class Link {
public:
    explicit Link(const st4vla_bridge_config &config);
    ~Link();
    Link(const Link &) = delete;
    Link &operator=(const Link &) = delete;

    /// Connect and start the thread; once.
    st4vla_status open(const char *endpoint, const ClientKeys *keys);

    st4vla_status send(const st4vla_observation &observation, uint64_t *sequence);
    st4vla_status hello(int timeout_ms, st4vla_welcome &welcome);
    st4vla_status receive(int timeout_ms, st4vla_chunk &chunk);
    std::optional<st4vla_clock_offset> clock() const;
    std::optional<st4vla_server_error> last_error() const;
    std::optional<st4vla_plan> last_plan() const;
    uint64_t count(uint32_t counter) const noexcept { return counters_.read(counter); }

private:
    /// What the other side has said, and when; under `news_mutex_`.
    struct News {
        std::optional<st4vla_welcome> welcome;
        std::optional<st4vla_plan> plan;
        std::optional<st4vla_server_error> error;
        ClockOffsetEstimator clock;
        uint64_t held_chunk_id = 0;
        int64_t held_received_ns = 0;
        bool connected = false;
        bool refused = false;
    };

    void run();
    void take_in();
    void read(const void *frame, std::size_t size, int64_t received_ns);
    void read_chunk(const void *frame, std::size_t size, const st4vla_wire_header &header, int64_t received_ns);
    void read_error(const void *frame, std::size_t size);
    void learn(const st4vla_chunk &chunk);
    void note_events();
    void greet();
    bool flush() noexcept;
    void post(zmq_msg_t &message) noexcept;
    void say_goodbye() noexcept;
    st4vla_status silence() const;

    const int jpeg_quality_;
    const st4vla_chunk_callback on_chunk_;
    void *const context_;
    bool has_keys_ = false;

    Counters counters_;
    // Before the socket: ZeroMQ's thread gives buffers back until the socket's context has ended.
    Buffers buffers_;
    std::unique_ptr<Socket> socket_;
    std::mutex socket_mutex_;
    zmq_msg_t waiting_{};
    bool has_waiting_ = false;
    Bell wake_;

    std::mutex send_mutex_;
    JpegEncoder encoder_;
    std::atomic<uint64_t> sequence_{0};

    Intake intake_;
    player::Slot<Arrived> newest_;
    std::mutex receive_mutex_;
    uint64_t received_ = 0;
    Bell arrived_;

    mutable std::mutex news_mutex_;
    std::condition_variable news_;
    News known_;
    bool greets_ = true;
    int64_t greeted_ns_ = 0;

    std::atomic<bool> stop_{false};
    std::thread thread_;
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_LINK_H
