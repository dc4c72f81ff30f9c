// A robot that goes on by itself where it hears of no command, and checks the ones that it hears.
#ifndef ST4VLA_TESTS_PLAYER_ROBOT_MODEL_H
#define ST4VLA_TESTS_PLAYER_ROBOT_MODEL_H

#include <cmath>

#include "player/rotation.h"
#include "player/vec.h"
#include "st4vla/player.h"

namespace st4vla::player {

class RobotModel {
public:
    explicit RobotModel(const double *base_T_ee)
        : position_{{base_T_ee[3], base_T_ee[7], base_T_ee[11]}}, rotation_(from_matrix(base_T_ee, 4))
    {
    }

    void hear(const st4vla_player_setpoint &setpoint)
    {
        const double *pose = setpoint.base_T_ee;
        const Vec3 position{{pose[3], pose[7], pose[11]}};
        const Quaternion rotation = from_matrix(pose, 4);
        go((position - position_) * 1e3, to_vector(rotation * conjugate(rotation_)) * 1e3);
        position_ = position;
        rotation_ = rotation;
    }

    void hear_nothing()
    {
        const Vec3 velocity = velocity_ + acceleration_ * 1e-3, turn = turn_ + turn_acceleration_ * 1e-3;
        position_ = position_ + velocity * 1e-3;
        rotation_ = normalized(from_vector(turn * 1e-3) * rotation_);
        go(velocity, turn);
    }

    /// Write where it was sent last, in the precision that a Franka tells of it.
    void tell(st4vla_player_input &input) const
    {
        to_matrix(rotation_, input.sent, 4);
        for (int i = 0; i < 3; ++i) {
            input.sent[4 * i + 3] = position_[i];
        }
        input.sent[15] = 1.0;
        for (double &entry : input.sent) {
            entry = static_cast<float>(entry);
        }
        input.has_sent = 1;
    }

    const Vec3 &position() const { return position_; }

    double fastest_change = 0.0, fastest_jerk = 0.0, fastest_turn_change = 0.0, fastest_turn_jerk = 0.0;

private:
    void go(const Vec3 &velocity, const Vec3 &turn)
    {
        const Vec3 acceleration = (velocity - velocity_) * 1e3, turn_acceleration = (turn - turn_) * 1e3;
        fastest_change = std::fmax(fastest_change, norm(acceleration));
        fastest_jerk = std::fmax(fastest_jerk, norm(acceleration - acceleration_) * 1e3);
        fastest_turn_change = std::fmax(fastest_turn_change, norm(turn_acceleration));
        fastest_turn_jerk = std::fmax(fastest_turn_jerk, norm(turn_acceleration - turn_acceleration_) * 1e3);
        velocity_ = velocity;
        acceleration_ = acceleration;
        turn_ = turn;
        turn_acceleration_ = turn_acceleration;
    }

    Vec3 position_, velocity_{}, acceleration_{};
    Quaternion rotation_;
    Vec3 turn_{}, turn_acceleration_{};
};

}  // namespace st4vla::player

#endif  // ST4VLA_TESTS_PLAYER_ROBOT_MODEL_H
