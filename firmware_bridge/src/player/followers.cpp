#include "player/followers.h"

namespace st4vla::player {

void RotationFollower::reset(const Quaternion &rotation, const Bounds<3> &bounds) noexcept
{
    bounds_ = bounds;
    goal_ = commanded_ = rotation;
    velocity_ = commanded_velocity_ = {};
    velocities_.reset(bounds.average, {});
}

bool RotationFollower::follow(const Vec3 &turn_rad_s, double leash_rad) noexcept
{
    const Quaternion start = ahead();
    const Vec3 error = to_vector(goal_ * conjugate(start));
    const Vec3 held = shortened(error, leash_rad);
    const Vec3 turn = shortened(turn_rad_s, bounds_.speed);
    const bool moved = norm(error) > leash_rad || norm(turn_rad_s - turn) > kNoError;
    goal_ = normalized(from_vector(turn * kTick_s) * (norm(error) > leash_rad ? from_vector(held) * start : goal_));
    move(following(held, turn, bounds_));
    return moved;
}

void RotationFollower::brake() noexcept
{
    move({});
    goal_ = ahead();
}

/// Where this comes to rest if the inner velocity were 0 from now on.
Quaternion RotationFollower::ahead() const noexcept
{
    return from_vector(velocities_.pending() * kTick_s) * commanded_;
}

void RotationFollower::move(const Vec3 &wanted) noexcept
{
    velocity_ = allowed(velocity_, wanted, {}, bounds_);
    velocities_.push(velocity_);
    commanded_velocity_ = velocities_.mean();
    commanded_ = normalized(from_vector(commanded_velocity_ * kTick_s) * commanded_);
}

}  // namespace st4vla::player
