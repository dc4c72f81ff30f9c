// Memory for messages on their way out: taken by whoever encodes, given back by who sends.
#ifndef ST4VLA_BRIDGE_BUFFERS_H
#define ST4VLA_BRIDGE_BUFFERS_H

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "room.h"

namespace st4vla {

/// One message's memory.
class Buffer {
public:
    unsigned char *bytes() noexcept { return room_.bytes(); }

    /// Give it back. Called from any thread.
    void release() noexcept { taken_.store(false, std::memory_order_release); }

private:
    friend class Buffers;

    Room room_;
    /// What `bytes` gives, for those who have not taken it.
    std::atomic<const unsigned char *> begins_{nullptr};
    /// The reader that knows its memory; 0: none.
    uint64_t lent_to_ = 0;
    std::atomic<bool> taken_{false};
};

/// What another process must know of a buffer that it is to read.
struct Loan {
    unsigned index;
    /// Of its memory; negative if that process has it already.
    int descriptor;
};

/// A few of them. They grow to the largest message that was sent; after that nothing is allocated any more.
///
/// They may be shared with a reader in another process, one at a time. What was lent to it is not taken again before
/// the reader has given it back, or another reader has come.
class Buffers {
public:
    /// Make what is allocated from now on readable by others; before the first is taken.
    void share() noexcept { shared_ = true; }

    /// Take one of at least `size` bytes that begins where a picture may, or nullptr if all are on their way.
    ///
    /// Called by one thread at a time. Throws std::bad_alloc.
    Buffer *take(std::size_t size);

    /// Another reader has come, which has none of the memories. Called by one thread at a time, as are the next two.
    void begin_reader() noexcept { reader_.fetch_add(1, std::memory_order_relaxed); }

    /// Lend the taken buffer that begins with these bytes to the reader, if there is one.
    std::optional<Loan> lend(const void *bytes) noexcept;

    /// The reader was told of what was lent last; or else it was not, and the loan is off.
    void told(const Loan &loan, bool was_told) noexcept;

    /// How often memory was allocated.
    uint64_t grown() const noexcept { return grown_.load(std::memory_order_relaxed); }

private:
    /// One is being filled, one waits here, one or two wait in the socket, one is being written by ZeroMQ. A reader
    /// has one that waits, and each of its two systems one that it works on and the slow one's last.
    std::array<Buffer, 8> buffers_;
    bool shared_ = false;
    std::atomic<uint64_t> reader_{0};
    std::atomic<uint64_t> grown_{0};
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_BUFFERS_H
