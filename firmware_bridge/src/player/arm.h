// What is moved: the hand's position and orientation, or the joints.
#ifndef ST4VLA_PLAYER_ARM_H
#define ST4VLA_PLAYER_ARM_H

#include "player/course.h"
#include "player/followers.h"

namespace st4vla::player {

class Arm {
public:
    /// Be at rest at a row-major 4 x 4 pose, or at joint positions, whichever the settings are of.
    st4vla_player_status reset(const Settings &settings, const double *base_T_ee,
                               const double *joint_positions_rad) noexcept;

    /// Move for a tick as is asked. `measured` is the hand's position or the joints, or nullptr. Returns whether less
    /// was done than was asked for.
    bool follow(const Settings &settings, const Motion &asked, const double *measured, Tick tick) noexcept;

    /// Slow down for a tick.
    void brake(const Settings &settings, Tick tick) noexcept;

    /// Be where a robot went; the goal stays.
    void go_on(const Settings &settings, const Course &from) noexcept;

    /// Fill in what is commanded.
    void command(const Settings &settings, Sent *sent) const noexcept;

    /// Fill in what is being done, in the terms in which it is asked for.
    void done(const Settings &settings, Motion *motion) const noexcept;

    bool at_rest(const Settings &settings) const noexcept;

    /// Whether the arm is so far from where it was sent that its goal cannot be told from where it is.
    bool is_lost(const Settings &settings, const double *measured) const noexcept;

    /// Fill in where it is to be.
    void write(const Settings &settings, st4vla_player_setpoint *setpoint) const noexcept;

private:
    RotationFollower rotation_;
    PointFollower<3> point_;
    PointFollower<1> joints_[kMaxMotion];
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_ARM_H
