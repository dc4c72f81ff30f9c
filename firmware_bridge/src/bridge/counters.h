// What is counted, readable at any time from any thread.
#ifndef ST4VLA_BRIDGE_COUNTERS_H
#define ST4VLA_BRIDGE_COUNTERS_H

#include <array>
#include <atomic>
#include <cstdint>

#include "st4vla/bridge.h"

namespace st4vla {

class Counters {
public:
    void add(st4vla_counter counter) noexcept { counts_[counter].fetch_add(1, std::memory_order_relaxed); }
    void set(st4vla_counter counter, uint64_t count) noexcept
    {
        counts_[counter].store(count, std::memory_order_relaxed);
    }
    uint64_t read(uint32_t counter) const noexcept { return counts_[counter].load(std::memory_order_relaxed); }

private:
    std::array<std::atomic<uint64_t>, ST4VLA_COUNTER_COUNT> counts_{};
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_COUNTERS_H
