// Memory for messages on their way out: taken by whoever encodes, given back by ZeroMQ's own thread.
#ifndef ST4VLA_BRIDGE_BUFFERS_H
#define ST4VLA_BRIDGE_BUFFERS_H

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace st4vla {

/// One message's memory.
class Buffer {
public:
    unsigned char *bytes() noexcept { return bytes_.get(); }

    /// Give it back. Called from any thread.
    void release() noexcept { taken_.store(false, std::memory_order_release); }

private:
    friend class Buffers;

    struct Free {
        void operator()(unsigned char *bytes) const noexcept;
    };

    std::unique_ptr<unsigned char, Free> bytes_;
    std::size_t capacity_ = 0;
    std::atomic<bool> taken_{false};
};

/// A few of them. They grow to the largest message that was sent; after that nothing is allocated any more.
class Buffers {
public:
    /// Take one of at least `size` bytes that begins where a picture may, or nullptr if all are on their way.
    ///
    /// Called by one thread at a time. Throws std::bad_alloc.
    Buffer *take(std::size_t size);

    /// How often memory was allocated.
    uint64_t grown() const noexcept { return grown_.load(std::memory_order_relaxed); }

private:
    /// One is being filled, one waits here, one or two wait in the socket, one is being written by ZeroMQ.
    std::array<Buffer, 6> buffers_;
    std::atomic<uint64_t> grown_{0};
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_BUFFERS_H
