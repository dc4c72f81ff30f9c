// Which velocity may follow a velocity: length, change and walls, such that there is always a next one.
#ifndef ST4VLA_PLAYER_BOUNDS_H
#define ST4VLA_PLAYER_BOUNDS_H

#include "player/braking.h"
#include "player/vec.h"

namespace st4vla::player {

/// The player's tick, seconds and nanoseconds.
constexpr double kTick_s = 1e-3;
constexpr long long kTick_ns = 1'000'000;

/// Bounds of a point in D dimensions, in metres or radians, and seconds.
template <int D>
struct Bounds {
    double speed;     ///< Longest velocity.
    double cut;       ///< Longest change of velocity in a tick.
    double wall_cut;  ///< Change of each coordinate's velocity when it brakes for a wall; at most cut / sqrt(D).
    int average;      ///< Samples of the mean that bounds the jerk.
    bool walls;       ///< Whether `low` and `high` bound the position.
    Vec<D> low, high;
};

/// Bring the longest parts of a vector down to one length, such that it is no longer than `longest`. Parts of up to
/// longest / sqrt(D) stay as they are: what one coordinate needs is not taken by another that needs more.
template <int D>
Vec<D> levelled(Vec<D> a, double longest) noexcept
{
    if (dot(a, a) <= longest * longest) {
        return a;
    }
    double level = longest / std::sqrt(static_cast<double>(D));
    for (int pass = 1; pass < D; ++pass) {
        double room = longest * longest;
        int longer = 0;
        for (int i = 0; i < D; ++i) {
            const bool stays = std::fabs(a[i]) <= level;
            room -= stays ? a[i] * a[i] : 0.0;
            longer += stays ? 0 : 1;
        }
        level = longer > 0 ? std::sqrt(room / longer) : level;
    }
    for (int i = 0; i < D; ++i) {
        a[i] = std::min(std::max(a[i], -level), level);
    }
    return a;
}

/// Return the velocity for this tick that is nearest to what is wanted, and allowed.
///
/// Allowed are velocities no longer than `speed`, no farther than `cut` from `velocity`, from which each coordinate can
/// brake before its wall. The set is convex, and never empty: `velocity` was allowed a tick ago, so each coordinate slowed
/// down by up to `wall_cut` is in it. So what is wanted is brought within speed and change, then within the walls; if that
/// changes it too much, it is drawn towards the smallest change that keeps within the walls until it does not. After ticks
/// that a robot missed even that can be too much; then all there is goes into it.
template <int D>
Vec<D> allowed(const Vec<D> &velocity, const Vec<D> &wanted, const Vec<D> &position, const Bounds<D> &bounds) noexcept
{
    Vec<D> next = velocity + shortened(shortened(wanted, bounds.speed) - velocity, bounds.cut);
    if (!bounds.walls) {
        return next;
    }
    Vec<D> least{};
    for (int i = 0; i < D; ++i) {
        const double up = braking_speed(bounds.high[i] - position[i], bounds.wall_cut, kTick_s);
        const double down = braking_speed(position[i] - bounds.low[i], bounds.wall_cut, kTick_s);
        next[i] = std::min(std::max(next[i], -down), up);
        least[i] = std::min(std::max(velocity[i], -down), up);
    }
    const Vec<D> change = next - velocity;
    const double most = bounds.cut * bounds.cut;
    if (dot(change, change) <= most) {
        return next;
    }
    const Vec<D> brake = levelled(least - velocity, bounds.cut), rest = change - brake;
    const double along = dot(brake, rest), length = dot(rest, rest);
    const double room = std::max(along * along + length * (most - dot(brake, brake)), 0.0);
    const double share = length > 0.0 ? (std::sqrt(room) - along) / length : 0.0;
    return velocity + brake + rest * std::min(std::max(share, 0.0), 1.0);
}

/// Errors below it are left alone, metres or radians; otherwise rounding would keep the arm from ever being at rest.
constexpr double kNoError = 1e-9;
/// A goal that moves less in a tick stands still: that is rounding.
constexpr double kStill = 1e-12;

/// Return a position that is a rounding error beyond its walls at the wall: a mean could be one digit beyond what it is the
/// mean of. What is farther out is left there: the robot went there by itself, and its brake has become late.
template <int D>
Vec<D> without_rounding(const Vec<D> &position, const Vec<D> &low, const Vec<D> &high) noexcept
{
    Vec<D> inside = clamped(position, low, high);
    for (int i = 0; i < D; ++i) {
        inside[i] = std::fabs(position[i] - inside[i]) <= kStill ? inside[i] : position[i];
    }
    return inside;
}

/// Share of the acceleration that is planned with to make up for an error; the rest is for the goal's own motion.
constexpr double kCatchUpShare = 0.75;

/// Return the velocity that follows a goal: the goal's own, and the fastest towards it that can still be braked.
///
/// `error` is from here to where the goal was; `goal_velocity` what it does in this tick.
template <int D>
Vec<D> following(const Vec<D> &error, const Vec<D> &goal_velocity, const Bounds<D> &bounds) noexcept
{
    const double distance = norm(error);
    if (!(distance > kNoError)) {
        return goal_velocity;
    }
    return goal_velocity + error * (braking_speed(distance, kCatchUpShare * bounds.cut, kTick_s) / distance);
}

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_BOUNDS_H
