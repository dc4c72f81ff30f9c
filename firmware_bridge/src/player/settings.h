// A config, checked, in the terms that the player computes with.
#ifndef ST4VLA_PLAYER_SETTINGS_H
#define ST4VLA_PLAYER_SETTINGS_H

#include <cstdint>

#include "player/bounds.h"
#include "st4vla/player.h"

namespace st4vla::player {

/// Numbers in an action without the gripper's.
constexpr int kMaxMotion = ST4VLA_MAX_JOINTS;

/// One number for each that moves the arm: six of the end effector, or the joints.
struct Motion {
    double at[kMaxMotion];  ///< Positions; only where chunks hold positions.
    double speed[kMaxMotion];
};

/// What each tick needs lies at the front, up to the config's ages.
struct Settings {
    bool joints;     ///< Chunks are of joints; else of the end effector.
    bool positions;  ///< They hold positions; else moves.
    int motion;      ///< Numbers of an action that move the arm: 6 or the joints.
    double fading;   ///< How quickly what is left of the chunk before fades, 1/s.
    double fade;     ///< What is left of it after a tick, but for the part that is linear in time.
    int dimension[kMaxMotion];  ///< Which of an action's numbers they are.
    st4vla_player_config config;
    Bounds<3> translation, rotation;
    Bounds<1> joint[kMaxMotion];
    std::int64_t rest_bound_ns;  ///< How long a brake can take.
};

/// Fill in the defaults for a robot.
st4vla_player_status default_config(st4vla_player_robot robot, st4vla_player_config *config) noexcept;

/// Take over a server's welcome.
st4vla_player_status take_welcome(const st4vla_wire_welcome &welcome, st4vla_player_config *config) noexcept;

/// Check a config, and derive the settings.
st4vla_player_status checked(const st4vla_player_config &config, Settings *settings) noexcept;

/// The strictest pace that an age asks for.
inline int pace_of(const st4vla_player_ages &ages, std::int64_t age_ns) noexcept
{
    if (ages.stop_ns != 0 && age_ns >= ages.stop_ns) {
        return ST4VLA_PACE_STOP;
    }
    if (ages.hold_ns != 0 && age_ns >= ages.hold_ns) {
        return ST4VLA_PACE_HOLD;
    }
    return ages.slow_ns != 0 && age_ns >= ages.slow_ns ? ST4VLA_PACE_SLOW : ST4VLA_PACE_RUN;
}

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_SETTINGS_H
