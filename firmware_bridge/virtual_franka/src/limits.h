// Franka's published limits of what may be commanded, for Research 3 and for Emika Panda.
//
// https://frankarobotics.github.io/docs/control_parameters.html, and the constants of libfranka's rate limiters
// (include/franka/rate_limiting.h; those of Panda are in its versions 0.8 and 0.9). The player of this project has its own
// numbers (src/player/franka_limits.h) on purpose: who is wrong there shows here.
#pragma once

#include <array>

namespace virtual_franka {

constexpr int kJoints = 7;
constexpr double kPeriod = 1e-3;  ///< s
using Joints = std::array<double, kJoints>;

/// Norms for a translation (m/s, m/s^2, m/s^3), a rotation or the elbow (rad/s, ...).
struct RateLimits {
    double velocity, acceleration, jerk;
};

/// rad, rad/s, rad/s^2, rad/s^3, Nm, Nm/s
struct Limits {
    const char *name;
    Joints lower, upper;
    Joints velocity, acceleration, jerk;
    /// Near a position limit a joint must be slow enough to stop with this deceleration; see `velocity_bounds`.
    Joints velocity_offset, deceleration;
    Joints torque;
    double torque_rate;
    RateLimits translation, rotation, elbow;
};

extern const Limits kFr3;
extern const Limits kPanda;

/// The lowest (not above 0) and the highest velocity that a joint may have at a position, rad/s.
struct Bounds {
    double lower, upper;
};
Bounds velocity_bounds(const Limits &limits, int joint, double position);

}  // namespace virtual_franka
