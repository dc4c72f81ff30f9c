// How a robot goes on: with the acceleration of the last command that it heard.
#ifndef ST4VLA_PLAYER_GOING_H
#define ST4VLA_PLAYER_GOING_H

#include "player/bounds.h"
#include "player/rotation.h"

namespace st4vla::player {

/// A point that is moved once a tick.
template <int D>
struct Going {
    Vec<D> position{}, velocity{};
    Vec<D> change{};  ///< Of the velocity in the last tick.

    void hear(const Vec<D> &next) noexcept
    {
        const Vec<D> faster = (next - position) * (1.0 / kTick_s);
        change = faster - velocity;
        velocity = faster;
        position = next;
    }

    /// Do what a robot does in a tick that it does not hear of.
    void coast() noexcept
    {
        velocity = velocity + change;
        position = position + velocity * kTick_s;
    }

    /// Be at a place that it coasted to in so many ticks: what it is off by is put down to the acceleration.
    void arrive(const Vec<D> &place, int ticks) noexcept
    {
        const Vec<D> more = (place - position) * (2.0 / (kTick_s * ticks * (ticks + 1)));
        change = change + more;
        velocity = velocity + more * ticks;
        position = place;
    }
};

/// An orientation that is turned once a tick, in the base frame.
struct Turning {
    Quaternion rotation;
    Vec3 velocity{}, change{};

    void hear(const Quaternion &next) noexcept
    {
        const Vec3 faster = to_vector(next * conjugate(rotation)) * (1.0 / kTick_s);
        change = faster - velocity;
        velocity = faster;
        rotation = next;
    }

    void coast() noexcept
    {
        velocity = velocity + change;
        rotation = normalized(from_vector(velocity * kTick_s) * rotation);
    }

    void arrive(const Quaternion &place, int ticks) noexcept
    {
        const Vec3 more = to_vector(place * conjugate(rotation)) * (2.0 / (kTick_s * ticks * (ticks + 1)));
        change = change + more;
        velocity = velocity + more * ticks;
        rotation = place;
    }
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_GOING_H
