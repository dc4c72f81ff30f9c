#include "player/followers.h"

namespace st4vla::player {

void RotationFollower::reset(const Quaternion &rotation, const Bounds<3> &bounds, double most_turn_rad) noexcept
{
    bounds_ = bounds;
    most_turn_rad_ = most_turn_rad;
    least_w_ = std::cos(0.5 * most_turn_rad);
    home_ = goal_ = rotation;
    velocity_ = {};
    commanded_ = {rotation, {}, {}};
    velocities_.reset(bounds.average);
}

bool RotationFollower::follow(const Vec3 &turn_rad_s, double leash_rad, Tick tick) noexcept
{
    const Quaternion start = ahead();
    const Vec3 error = to_vector(goal_ * conjugate(start));
    const Vec3 held = shortened(error, leash_rad);
    Vec3 turn = shortened(turn_rad_s, bounds_.speed);
    bool moved = norm(error) > leash_rad || norm(turn_rad_s - turn) > kNoError;
    moved |= turn_goal(norm(error) > leash_rad ? from_vector(held) * start : goal_, turn);
    move(following(held, turn, bounds_), tick);
    return moved;
}

/// Turn the goal on from where it was, as far as it may be turned; the turn becomes what was done. Whether it is less.
bool RotationFollower::turn_goal(const Quaternion &from, Vec3 &turn_rad_s) noexcept
{
    goal_ = normalized(from_vector(turn_rad_s * kTick_s) * from);
    const Quaternion away = goal_ * conjugate(home_);
    if (std::fabs(away.w) >= least_w_) {
        return false;
    }
    goal_ = normalized(from_vector(shortened(to_vector(away), most_turn_rad_)) * home_);
    turn_rad_s = shortened(to_vector(goal_ * conjugate(from)) * (1.0 / kTick_s), bounds_.speed);
    return true;
}

void RotationFollower::brake(Tick tick) noexcept
{
    move({}, tick);
    goal_ = ahead();
}

/// Where this comes to rest if the inner velocity were 0 from now on.
Quaternion RotationFollower::ahead() const noexcept
{
    return from_vector(velocities_.pending() * kTick_s) * commanded_.rotation;
}

void RotationFollower::move(const Vec3 &wanted, Tick tick) noexcept
{
    if (tick == Tick::kMissed) {
        Turning alone = commanded_;
        alone.coast();
        go_on(alone);
        return;
    }
    velocity_ = allowed(velocity_, wanted, {}, bounds_);
    velocities_.push(velocity_);
    const Vec3 velocity = velocities_.mean();
    commanded_.change = velocity - commanded_.velocity;
    commanded_.velocity = velocity;
    commanded_.rotation = normalized(from_vector(velocity * kTick_s) * commanded_.rotation);
}

}  // namespace st4vla::player
