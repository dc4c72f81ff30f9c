// Checks setpoints as a robot does: differences of successive ones, against the config, whatever led to them.
#ifndef ST4VLA_TESTS_PLAYER_BOUND_CHECK_H
#define ST4VLA_TESTS_PLAYER_BOUND_CHECK_H

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "player/rotation.h"
#include "player/vec.h"
#include "player/wall_check.h"
#include "st4vla/player.h"

namespace st4vla::player {

/// Third differences over a millisecond, of numbers near 1, are known to about this: 1e-16 / (1 ms)^3, times a hundred.
constexpr double kJerkRounding = 1e-5;

/// The three derivatives of what moves in D dimensions, from its successive moves.
template <int D>
class Derivatives {
public:
    void restart() { known_ = 0; }

    /// The robot missed up to so many commands, and went on as it was: it may be faster than allowed by what it gained in
    /// them and until its jerk let that end, and from there only slow down.
    void missed(int ticks, const st4vla_player_limits &limits)
    {
        rising_ = samples_of_mean(limits);
        gained_s_ = 1e-3 * (ticks + rising_);
    }

    /// Take the move of a tick; what is compared with the limits depends on how many moves in a row are known.
    void take(const char *what, const Vec<D> &move, const st4vla_player_limits &limits)
    {
        const Vec<D> velocity = move * 1e3, acceleration = (velocity - velocity_) * 1e3;
        const Vec<D> jerk = (acceleration - acceleration_) * 1e3;
        const double fastest_now = rising_ > 0 ? limits.velocity + limits.acceleration * gained_s_
                                               : std::fmax(limits.velocity, excess_ ? norm(velocity_) : 0.0);
        compare(what, "velocity", norm(velocity), fastest_now, 1e-9);
        excess_ = norm(velocity) > limits.velocity && (excess_ || rising_ > 0);
        rising_ = std::max(rising_ - 1, 0);
        if (known_ >= 1) {
            compare(what, "acceleration", norm(acceleration), limits.acceleration, 1e-8);
        }
        if (known_ >= 2) {
            compare(what, "jerk", norm(jerk), limits.jerk, kJerkRounding);
        }
        velocity_ = velocity;
        acceleration_ = acceleration;
        ++known_;
        fastest = std::fmax(fastest, norm(velocity));
        hardest = known_ > 1 ? std::fmax(hardest, norm(acceleration)) : hardest;
        sharpest = known_ > 2 ? std::fmax(sharpest, norm(jerk)) : sharpest;
    }

    double fastest = 0.0, hardest = 0.0, sharpest = 0.0;

private:
    static void compare(const char *what, const char *derivative, double value, double limit, double rounding)
    {
        if (!(value <= limit * (1.0 + 1e-9) + rounding)) {
            std::fprintf(stderr, "%s: %s %.12g exceeds %.12g\n", what, derivative, value, limit);
            std::abort();
        }
    }

    Vec<D> velocity_{}, acceleration_{};
    double gained_s_ = 0.0;
    bool excess_ = false;
    int known_ = 0, rising_ = 0;
};

class BoundCheck {
public:
    explicit BoundCheck(const st4vla_player_config &config) : config_(config)
    {
        for (int i = 0; i < 3; ++i) {
            box_.emplace_back(config.workspace_low_m[i], config.workspace_high_m[i], config.translation,
                              config.translation.acceleration / std::sqrt(3.0));
        }
        for (int i = 0; i < config.joint_count; ++i) {
            ranges_.emplace_back(config.joint_low_rad[i], config.joint_high_rad[i], config.joints[i],
                                 config.joint_braking_rad_s2[i]);
        }
    }

    /// Setpoints before and after may differ by anything: the arm was anchored anew.
    void restart()
    {
        forget_moves();
        for (auto *walls : {&box_, &ranges_}) {
            for (WallCheck &wall : *walls) {
                wall.restart();
            }
        }
    }

    /// The next setpoint may be where a robot went that missed commands, which whoever moves the robot checks.
    void unheard()
    {
        restart();
        walls_known_ = false;
    }

    /// The next setpoint comes after so many that the robot did not get.
    void missed(int ticks)
    {
        forget_moves();
        missed_ = ticks;
        for (auto *walls : {&box_, &ranges_}) {
            for (WallCheck &wall : *walls) {
                for (int tick = 1; tick < ticks; ++tick) {
                    wall.miss();
                }
            }
        }
    }

    void take(const st4vla_player_setpoint &setpoint)
    {
        const bool of_joints = config_.representation != ST4VLA_ACTION_EE_DELTA;
        if (of_joints) {
            take_joints(setpoint);
        } else {
            take_pose(setpoint);
        }
        last_ = setpoint;
        if (fresh_ && missed_ > 0) {
            translation.missed(missed_, config_.translation);
            rotation.missed(missed_, config_.rotation);
            for (int i = 0; i < config_.joint_count; ++i) {
                joints[i].missed(missed_, config_.joints[i]);
            }
            missed_ = 0;
        }
        fresh_ = false;
        walls_known_ = true;
    }

    Derivatives<3> translation, rotation;
    Derivatives<1> joints[ST4VLA_MAX_JOINTS];

private:
    void forget_moves()
    {
        fresh_ = true;
        translation.restart();
        rotation.restart();
        for (auto &joint : joints) {
            joint.restart();
        }
    }

    static void require(bool condition, const char *text)
    {
        if (!condition) {
            std::fprintf(stderr, "%s\n", text);
            std::abort();
        }
    }

    void take_joints(const st4vla_player_setpoint &setpoint)
    {
        for (int i = 0; i < config_.joint_count; ++i) {
            const double now = setpoint.joint_positions_rad[i];
            require(!walls_known_ || ranges_[i].take(now, 0.0), "a joint left its range");
            if (!fresh_) {
                joints[i].take("joint", {{now - last_.joint_positions_rad[i]}}, config_.joints[i]);
            }
        }
    }

    void take_pose(const st4vla_player_setpoint &setpoint)
    {
        require(is_rotation(setpoint.base_T_ee, 4, 1e-12), "the setpoint is not a pose");
        Vec3 move{};
        for (int i = 0; i < 3; ++i) {
            const double now = setpoint.base_T_ee[4 * i + 3];
            require(!walls_known_ || box_[i].take(now, 0.0), "the workspace was left");
            move[i] = now - last_.base_T_ee[4 * i + 3];
        }
        if (!fresh_) {
            translation.take("translation", move, config_.translation);
            rotation.take("rotation", turn(last_.base_T_ee, setpoint.base_T_ee), config_.rotation);
        }
    }

    /// The rotation vector of R_now R_before^T, as libfranka takes it; from the matrices, as the robot gets them.
    static Vec3 turn(const double *before, const double *now)
    {
        double r[9];
        for (int i = 0; i < 3; ++i) {
            for (int j = 0; j < 3; ++j) {
                r[3 * i + j] = 0.0;
                for (int k = 0; k < 3; ++k) {
                    r[3 * i + j] += now[4 * i + k] * before[4 * j + k];
                }
            }
        }
        // A millisecond's turn is small: its sine is in the skew part, to the last digit.
        const Vec3 sine{{0.5 * (r[7] - r[5]), 0.5 * (r[2] - r[6]), 0.5 * (r[3] - r[1])}};
        const double length = norm(sine);
        require(length < 0.5 && r[0] + r[4] + r[8] > 1.0, "the orientation jumped");
        return length < 1e-9 ? sine : sine * (std::asin(length) / length);
    }

    const st4vla_player_config config_;
    std::vector<WallCheck> box_, ranges_;
    st4vla_player_setpoint last_{};
    bool fresh_ = true, walls_known_ = true;
    int missed_ = 0;
};

}  // namespace st4vla::player

#endif  // ST4VLA_TESTS_PLAYER_BOUND_CHECK_H
