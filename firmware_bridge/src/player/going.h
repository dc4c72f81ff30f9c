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
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_GOING_H
