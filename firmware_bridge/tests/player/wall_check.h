// Checks how far a robot comes beyond the ends of its room: not at all, but after milliseconds that it missed.
#ifndef ST4VLA_TESTS_PLAYER_WALL_CHECK_H
#define ST4VLA_TESTS_PLAYER_WALL_CHECK_H

#include <algorithm>
#include <cmath>

#include "player/bounds.h"
#include "st4vla/player.h"

namespace st4vla::player {

/// Of how many velocities what is commanded is the mean, so that its jerk is bounded.
inline int samples_of_mean(const st4vla_player_limits &limits)
{
    return std::max(static_cast<int>(std::ceil(2.0 * limits.acceleration / (limits.jerk * kTick_s) - 1e-9)), 1);
}

/// One coordinate, taken a millisecond at a time; in metres or radians.
class WallCheck {
public:
    WallCheck(double low, double high, const st4vla_player_limits &limits, double braking)
        : low_(low), high_(high), cut_(limits.acceleration * kTick_s), brake_(braking * kTick_s),
          mean_(samples_of_mean(limits))
    {
    }

    /// Stand somewhere else.
    void restart()
    {
        known_ = 0;
        beyond_low_ = beyond_high_ = 0.0;
    }

    /// Go on alone for a tick that was not heard.
    void miss()
    {
        if (known_ > 0) {
            velocity_ += change_;
            at_ += velocity_ * kTick_s;
            beyond_high_ = std::max(beyond_high_, reach(velocity_) + at_ - high_);
            beyond_low_ = std::max(beyond_low_, reach(-velocity_) + low_ - at_);
        }
    }

    /// Be where it was sent. Returns whether it may be there: a brake that was made too late by what was missed ends
    /// beyond the wall, as near to it as can be, and then it comes back.
    bool take(double now, double rounding)
    {
        const double velocity = known_ > 0 ? (now - at_) / kTick_s : 0.0;
        change_ = known_ > 1 ? velocity - velocity_ : 0.0;
        velocity_ = velocity;
        at_ = now;
        known_ = std::min(known_ + 1, 2);
        const bool rests = std::fabs(velocity_) + std::fabs(change_) <= 1e-9;
        beyond_high_ = std::min(beyond_high_, std::max((rests ? 0.0 : reach(velocity_)) + at_ - high_, 0.0));
        beyond_low_ = std::min(beyond_low_, std::max((rests ? 0.0 : reach(-velocity_)) + low_ - at_, 0.0));
        return now <= high_ + beyond_high_ + rounding && now >= low_ - beyond_low_ - rounding;
    }

private:
    /// How far it gets from a velocity: what its mean holds back is at most so much faster, and then it brakes.
    double reach(double velocity) const
    {
        const double inner = std::max(velocity + cut_ * mean_, 0.0);
        return inner * mean_ * kTick_s + braking_distance(inner, brake_, kTick_s);
    }

    double low_, high_, cut_, brake_, mean_;
    double at_ = 0.0, velocity_ = 0.0, change_ = 0.0;
    double beyond_low_ = 0.0, beyond_high_ = 0.0;
    int known_ = 0;
};

}  // namespace st4vla::player

#endif  // ST4VLA_TESTS_PLAYER_WALL_CHECK_H
