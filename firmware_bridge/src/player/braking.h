// How far a brake takes, and how fast one may be, in steps of one tick.
//
// A tick moves by the velocity that was chosen for it: p += v * tick. From there a brake takes `cut` off the speed at
// each tick, so a speed v needs tick * (v + (v - cut) + (v - 2 cut) + ...) until it is 0. In n ticks, at most
// tick * cut * n (n + 1) / 2 can be braked; between such lengths distance is linear in speed, and the inverse is exact.
#ifndef ST4VLA_PLAYER_BRAKING_H
#define ST4VLA_PLAYER_BRAKING_H

#include <cmath>

namespace st4vla::player {

/// The least whole number that is not below a positive one. std::ceil() is a call where a processor might lack SSE4.1.
inline double whole_from(double positive) noexcept
{
    if (!(positive < 9e15)) {
        return positive;
    }
    const double whole = static_cast<double>(static_cast<long long>(positive));
    return whole < positive ? whole + 1.0 : whole;
}

/// Return the greatest speed for this tick from which a brake ends within `distance`; 0 where nothing is left.
///
/// Whoever keeps below it can keep below it: braking by `cut` is always allowed at the next tick.
inline double braking_speed(double distance, double cut, double tick) noexcept
{
    if (!(distance > 0.0)) {
        return 0.0;
    }
    const double steps = distance / (cut * tick);
    const double n = whole_from(0.5 * (std::sqrt(1.0 + 8.0 * steps) - 1.0));
    return n <= 1.0 ? distance / tick : distance / (n * tick) + 0.5 * cut * (n - 1.0);
}

/// Return how far a brake from `speed` takes, this tick's move included.
inline double braking_distance(double speed, double cut, double tick) noexcept
{
    const double n = whole_from(speed / cut);
    return n < 1.0 ? 0.0 : tick * (n * speed - 0.5 * cut * n * (n - 1.0));
}

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_BRAKING_H
