// A point and an orientation that follow their goals within bounds.
#ifndef ST4VLA_PLAYER_FOLLOWERS_H
#define ST4VLA_PLAYER_FOLLOWERS_H

#include "player/average.h"
#include "player/going.h"

namespace st4vla::player {

/// Whether the robot hears of a tick. One that does not carries on with the acceleration of its last command, as a Franka
/// does, and the commands that follow must go on from there: in a tick that was missed a follower does the same. Its
/// acceleration and its jerk stay within their bounds; its velocity may pass them by what is gained in those ticks.
enum class Tick { kHeard, kMissed };

/// A position in D dimensions: three for the hand, one for each joint.
///
/// Inside, a point moves with bounded velocity and acceleration; what is commanded is the mean of its last positions,
/// which is where it is, less what the mean of its velocities still holds back. Where they are within the walls, their
/// mean is.
template <int D>
class PointFollower {
public:
    void reset(const Vec<D> &position, const Bounds<D> &bounds) noexcept
    {
        bounds_ = bounds;
        inner_ = goal_ = position;
        velocity_ = {};
        commanded_ = {position, {}, {}};
        velocities_.reset(bounds.average);
    }

    /// Move for a tick, towards a goal that is now at `goal`; a goal outside the walls or off the leash is moved.
    ///
    /// The goal is held to within `leash` of the inner point, and of `anchor` where there is one. A point that moves has
    /// a longer one, by what it needs to brake: a goal nearer than that could only be overshot. Returns whether the goal
    /// was moved.
    bool follow(const Vec<D> &goal, double leash, const Vec<D> *anchor, Tick tick) noexcept
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
        move(following(error, goal_velocity, bounds_), tick);
        return norm(moved) > kNoError;
    }

    /// Slow down for a tick, and forget where the goal was.
    void brake(Tick tick) noexcept
    {
        move({}, tick);
        goal_ = inner_;
    }

    /// Be where a robot went, as if it had been led there evenly; the goal stays.
    void go_on(const Going<D> &from) noexcept
    {
        commanded_ = from;
        velocity_ = velocities_.ramp(from.velocity, from.change);
        inner_ = from.position + velocities_.pending() * kTick_s;
    }

    const Vec<D> &goal() const noexcept { return goal_; }
    const Vec<D> &inner_velocity() const noexcept { return velocity_; }
    const Going<D> &commanded() const noexcept { return commanded_; }
    const Bounds<D> &bounds() const noexcept { return bounds_; }
    bool at_rest() const noexcept { return is_zero(velocity_) && is_zero(commanded_.velocity); }

private:
    void move(const Vec<D> &wanted, Tick tick) noexcept
    {
        if (tick == Tick::kMissed) {
            Going<D> alone = commanded_;
            alone.coast();
            go_on(alone);
            return;
        }
        velocity_ = allowed(velocity_, wanted, inner_, bounds_);
        inner_ = inner_ + velocity_ * kTick_s;
        velocities_.push(velocity_);
        commanded_.position = inner_ - velocities_.pending() * kTick_s;
        if (bounds_.walls) {
            commanded_.position = without_rounding(commanded_.position, bounds_.low, bounds_.high);
        }
        const Vec<D> velocity = velocities_.mean();
        commanded_.change = velocity - commanded_.velocity;
        commanded_.velocity = velocity;
    }

    Bounds<D> bounds_{};
    Vec<D> inner_{}, velocity_{}, goal_{};
    Going<D> commanded_;
    Average<D> velocities_;
};

/// An orientation, in the base frame.
///
/// Rotations have no mean, angular velocities do: the averaged ones are integrated, so that successive commands differ
/// by exactly them. What the average still holds back is counted in when the goal is aimed at.
class RotationFollower {
public:
    /// Stand at a rotation; goals are held to within `most_turn_rad` of it.
    void reset(const Quaternion &rotation, const Bounds<3> &bounds, double most_turn_rad) noexcept;

    /// Move for a tick, towards a goal that turns with `turn_rad_s` during it. The goal is held to within `leash_rad` of
    /// where this ends up. Returns whether the goal was moved.
    bool follow(const Vec3 &turn_rad_s, double leash_rad, Tick tick) noexcept;

    /// Slow down for a tick, and forget where the goal was.
    void brake(Tick tick) noexcept;

    /// Be where a robot went, as if it had been led there evenly; the goal stays.
    void go_on(const Turning &from) noexcept
    {
        commanded_ = from;
        velocity_ = velocities_.ramp(from.velocity, from.change);
    }

    const Vec3 &inner_velocity() const noexcept { return velocity_; }
    const Turning &commanded() const noexcept { return commanded_; }
    const Bounds<3> &bounds() const noexcept { return bounds_; }
    bool at_rest() const noexcept { return is_zero(velocity_) && is_zero(commanded_.velocity); }

private:
    Quaternion ahead() const noexcept;
    bool turn_goal(const Quaternion &from, Vec3 &turn_rad_s) noexcept;
    void move(const Vec3 &wanted, Tick tick) noexcept;

    Bounds<3> bounds_{};
    Quaternion home_, goal_;
    double most_turn_rad_ = 0.0, least_w_ = 0.0;  ///< How far the goal may be from home, and w of a turn as far.
    Vec3 velocity_{};
    Turning commanded_;
    Average<3> velocities_;
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_FOLLOWERS_H
