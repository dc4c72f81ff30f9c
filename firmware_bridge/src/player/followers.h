// A point and an orientation that follow their goals within bounds.
#ifndef ST4VLA_PLAYER_FOLLOWERS_H
#define ST4VLA_PLAYER_FOLLOWERS_H

#include "player/average.h"
#include "player/bounds.h"
#include "player/rotation.h"

namespace st4vla::player {

/// A position in D dimensions: three for the hand, one for each joint.
///
/// Inside, a point moves with bounded velocity and acceleration; what is commanded is the mean of its last positions.
/// Where they are within the walls, their mean is.
template <int D>
class PointFollower {
public:
    void reset(const Vec<D> &position, const Bounds<D> &bounds) noexcept
    {
        bounds_ = bounds;
        inner_ = goal_ = commanded_ = position;
        velocity_ = commanded_velocity_ = {};
        positions_.reset(bounds.average, position);
        velocities_.reset(bounds.average, {});
    }

    /// Move for a tick, towards a goal that is now at `goal`; a goal outside the walls or off the leash is moved.
    ///
    /// The goal is held to within `leash` of the inner point, and of `anchor` where there is one. A point that moves
    /// has a longer one, by what it needs to brake: a goal nearer than that could only be overshot. Returns whether
    /// the goal was moved.
    bool follow(const Vec<D> &goal, double leash, const Vec<D> *anchor) noexcept
    {
        const double longest = leash + braking_distance(norm(velocity_), kCatchUpShare * bounds_.cut, kTick_s);
        Vec<D> held = inner_ + shortened(goal - inner_, longest);
        if (anchor != nullptr) {
            held = *anchor + shortened(held - *anchor, longest);
        }
        if (bounds_.walls) {
            held = clamped(held, bounds_.low, bounds_.high);
        }
        if (norm(held - goal_) <= kStill) {
            held = goal_;
        }
        const Vec<D> moved = goal - held;
        const Vec<D> goal_velocity = shortened((held - goal_) * (1.0 / kTick_s), bounds_.speed);
        const Vec<D> error = held - goal_velocity * kTick_s - inner_;
        goal_ = held;
        move(following(error, goal_velocity, bounds_));
        return norm(moved) > kNoError;
    }

    /// Slow down for a tick, and forget where the goal was.
    void brake() noexcept
    {
        move({});
        goal_ = inner_;
    }

    const Vec<D> &goal() const noexcept { return goal_; }
    const Vec<D> &inner_velocity() const noexcept { return velocity_; }
    const Vec<D> &commanded() const noexcept { return commanded_; }
    const Vec<D> &commanded_velocity() const noexcept { return commanded_velocity_; }
    const Bounds<D> &bounds() const noexcept { return bounds_; }
    bool at_rest() const noexcept { return is_zero(velocity_) && is_zero(commanded_velocity_); }

private:
    void move(const Vec<D> &wanted) noexcept
    {
        velocity_ = allowed(velocity_, wanted, inner_, bounds_);
        inner_ = inner_ + velocity_ * kTick_s;
        positions_.push(inner_);
        velocities_.push(velocity_);
        commanded_ = positions_.mean();
        if (bounds_.walls) {
            // Rounding could leave a mean one digit beyond what it is the mean of.
            commanded_ = clamped(commanded_, bounds_.low, bounds_.high);
        }
        commanded_velocity_ = velocities_.mean();
    }

    Bounds<D> bounds_{};
    Vec<D> inner_{}, velocity_{}, goal_{}, commanded_{}, commanded_velocity_{};
    Average<D> positions_, velocities_;
};

/// An orientation, in the base frame.
///
/// Rotations have no mean, angular velocities do: the averaged ones are integrated, so that successive commands differ
/// by exactly them. What the average still holds back is counted in when the goal is aimed at.
class RotationFollower {
public:
    void reset(const Quaternion &rotation, const Bounds<3> &bounds) noexcept;

    /// Move for a tick, towards a goal that turns with `turn_rad_s` during it. The goal is held to within `leash_rad`
    /// of where this ends up. Returns whether the goal was moved.
    bool follow(const Vec3 &turn_rad_s, double leash_rad) noexcept;

    /// Slow down for a tick, and forget where the goal was.
    void brake() noexcept;

    const Vec3 &inner_velocity() const noexcept { return velocity_; }
    const Quaternion &commanded() const noexcept { return commanded_; }
    const Vec3 &commanded_velocity() const noexcept { return commanded_velocity_; }
    const Bounds<3> &bounds() const noexcept { return bounds_; }
    bool at_rest() const noexcept { return is_zero(velocity_) && is_zero(commanded_velocity_); }

private:
    Quaternion ahead() const noexcept;
    void move(const Vec3 &wanted) noexcept;

    Bounds<3> bounds_{};
    Quaternion goal_, commanded_;
    Vec3 velocity_{}, commanded_velocity_{};
    Average<3> velocities_;
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_FOLLOWERS_H
