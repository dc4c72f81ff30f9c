// Whether a commanded rate of change stays within limits of velocity, acceleration and jerk.
#pragma once

#include "limits.h"

namespace virtual_franka {

/// Which of the limits a step breaks.
struct Broken {
    bool velocity, acceleration, jerk;
};

/// States carry float32, and libfranka's rate limiters go on from what they read there, so a client that keeps to its
/// limits exactly is off by the rounding of a position below 4 rad (2^-23, both ways), of a velocity below 4 rad/s and
/// of an acceleration below 32 rad/s^2. These are what that becomes per period.
constexpr double kVelocityRounding = 1.2e-7 / kPeriod;
constexpr double kAccelerationRounding = (2 * kVelocityRounding + 1.2e-7) / kPeriod;
constexpr double kJerkRounding = (2 * kAccelerationRounding + 1e-6) / kPeriod;

inline Broken check(const RateLimits &limits, double velocity, double acceleration, double jerk)
{
    return {velocity > limits.velocity + kVelocityRounding, acceleration > limits.acceleration + kAccelerationRounding,
            jerk > limits.jerk + kJerkRounding};
}

}  // namespace virtual_franka
