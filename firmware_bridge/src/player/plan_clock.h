// The time at which a chunk is read: it runs evenly, a tick a tick, and is drawn to the clock only slowly.
//
// A control loop wakes up early or late by some of a millisecond; read at those times, even motion would look uneven.
#ifndef ST4VLA_PLAYER_PLAN_CLOCK_H
#define ST4VLA_PLAYER_PLAN_CLOCK_H

#include <cstdint>

#include "st4vla/player.h"

namespace st4vla::player {

class PlanClock {
public:
    /// Advance by a tick; return whether the time had to jump, because it was far off.
    bool tick(std::int64_t clock_ns) noexcept
    {
        time_ns_ += ST4VLA_PLAYER_TICK_NS;
        const std::int64_t behind_ns = clock_ns - time_ns_;
        if (behind_ns > kFar_ns || behind_ns < -kFar_ns) {
            time_ns_ = clock_ns;
            return true;
        }
        time_ns_ += behind_ns / kSlowness;
        return false;
    }

    std::int64_t time_ns() const noexcept { return time_ns_; }

private:
    static constexpr std::int64_t kFar_ns = 20'000'000, kSlowness = 64;

    std::int64_t time_ns_ = 0;
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_PLAN_CLOCK_H
