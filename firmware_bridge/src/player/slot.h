// A place for the newest of something: one thread writes, one reads, and neither ever waits or sees half of a value.
//
// Three buffers: one is the writer's, one the reader's, one lies in between. Writing and reading exchange one's own
// with the one in between, a single atomic operation each (a triple buffer, as used for pictures). A reader that `keeps`
// has a fourth, in which what it took and works with stays until it keeps something newer: nothing is ever copied.
#ifndef ST4VLA_PLAYER_SLOT_H
#define ST4VLA_PLAYER_SLOT_H

#include <atomic>
#include <cstdint>
#include <utility>

namespace st4vla::player {

template <typename T, bool keeps = false>
class Slot {
public:
    /// What the writer may fill; nobody else looks at it.
    T &back() noexcept { return buffers_[back_]; }

    /// Make what was filled the newest; what nobody took in between is lost. Called by the writer.
    void publish() noexcept
    {
        back_ = between_.exchange(back_ | kNew, std::memory_order_acq_rel) & kIndex;
    }

    /// Take the newest, if there is one that was not taken yet. Called by the reader.
    bool take() noexcept
    {
        if ((between_.load(std::memory_order_relaxed) & kNew) == 0) {
            return false;
        }
        front_ = between_.exchange(front_, std::memory_order_acq_rel) & kIndex;
        return true;
    }

    /// What was taken last; it stays as it is until the reader takes again.
    const T &front() const noexcept { return buffers_[front_]; }

    /// Keep what was taken last, instead of what was kept before. Called by the reader.
    void keep() noexcept
    {
        static_assert(keeps, "a slot of three buffers has none to keep");
        std::swap(front_, kept_);
    }

    /// What was kept last.
    const T &kept() const noexcept
    {
        static_assert(keeps, "a slot of three buffers has none to keep");
        return buffers_[kept_];
    }

private:
    static constexpr std::uint32_t kIndex = 3, kNew = 4;

    T buffers_[keeps ? 4 : 3] = {};
    std::uint32_t back_ = 0, front_ = 1, kept_ = 3;
    // A line of its own: the writer's traffic must not slow the reader's counters down.
    alignas(64) std::atomic<std::uint32_t> between_{2};
    static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "the slot must not hide a lock");
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_SLOT_H
