// How far another machine's clock is from this one's.
#ifndef ST4VLA_BRIDGE_CLOCK_OFFSET_H
#define ST4VLA_BRIDGE_CLOCK_OFFSET_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "st4vla/bridge.h"

namespace st4vla {

/// Two times on the local clock, two on the peer's.
struct Exchange {
    int64_t sent_ns;
    int64_t peer_received_ns;
    int64_t peer_replied_ns;
    int64_t received_ns;
};

/// Estimates the offset to a peer's clock from request and reply times (RFC 5905, section 8).
///
/// Keeps the last 64 samples and believes the one with the shortest round trip, whose bound is the tightest. A sample
/// that contradicts it beyond both bounds means that a clock has stepped: what was believed is forgotten.
class ClockOffsetEstimator {
public:
    /// Add one exchange; false for one that no pair of clocks can produce, which is not believed.
    bool add(const Exchange &exchange) noexcept;

    /// The best estimate so far.
    std::optional<st4vla_clock_offset> estimate() const noexcept;

private:
    std::array<st4vla_clock_offset, 64> samples_{};
    std::size_t count_ = 0, next_ = 0;
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_CLOCK_OFFSET_H
