// What a robot is sent, and where it goes when it hears only some of it.
#ifndef ST4VLA_PLAYER_COURSE_H
#define ST4VLA_PLAYER_COURSE_H

#include "player/going.h"
#include "player/settings.h"

namespace st4vla::player {

/// A command, as the robot gets it: a pose's position and quaternion (w, x, y, z), or joints. One line of a cache holds
/// what a hand or seven joints need.
struct alignas(64) Sent {
    std::int64_t moved = 0;  ///< 1: the robot was known to be elsewhere than where it was sent before.
    double at[kMaxMotion] = {};
};

inline void put_pose(const Vec3 &position, const Quaternion &q, Sent *sent) noexcept
{
    const double numbers[] = {position[0], position[1], position[2], q.w, q.x, q.y, q.z};
    std::copy(numbers, numbers + 7, sent->at);
}

/// The largest difference of a command from a row-major 4 x 4 pose, or from joint positions; metres or radians, and where
/// what was told is above 1, a share of it, as its rounding is.
double difference(const Settings &settings, const Sent &sent, const double *told) noexcept;

/// The command that a robot tells of.
Sent sent_of(const Settings &settings, const double *told) noexcept;

/// What a robot does with the commands that it hears, and without those that it does not.
class Course {
public:
    /// Stand where it was sent.
    void begin(const Settings &settings, const Sent &sent) noexcept;
    void hear(const Settings &settings, const Sent &sent) noexcept;
    void coast(const Settings &settings) noexcept;
    /// Be where it coasted to in so many ticks.
    void arrive(const Settings &settings, const Sent &place, int ticks) noexcept;
    /// Where it is, as if it had been sent there.
    Sent place(const Settings &settings) const noexcept;
    /// Whether a robot that was sent to `sent`, and has missed commands since, can be here, and move like this.
    bool is_possible(const Settings &settings, const Sent &sent) const noexcept;

    Going<3> point;
    Turning rotation;
    Going<1> joints[kMaxMotion];
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_COURSE_H
