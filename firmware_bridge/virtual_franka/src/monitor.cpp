#include "monitor.h"

#include <algorithm>
#include <cmath>

namespace virtual_franka {
namespace {

/// Share of a new value: first order, 100 Hz.
constexpr double kFilter = 1.0 - 0.5334;  // 1 - exp(-2 pi 100 Hz 1 ms)

// An arm that follows a command at its limits exceeds them a little: by a share of the speed, and by an angle (rad)
// less than the robot's own limits leave beyond those of its commands (0.029 rad at joint 4 of Research 3).
constexpr double kMeasured = 1.05;
constexpr double kMeasuredMargin = 0.02;

}  // namespace

void Monitor::feel(const Simulation &arm, const Settings &settings, const Joints &explained, bool accelerating,
                   bool keep)
{
    for (int i = 0; i < kJoints; ++i) {
        const double torque = -arm.disturbance()[i] - explained[i];
        contact_.torque[i] += kFilter * (torque - contact_.torque[i]);
    }
    const Pose frame = settings.flange_to_stiffness();
    contact_.base_wrench = wrench_of(jacobian(arm.q(), frame), contact_.torque);
    const Pose pose = forward(arm.q(), frame);
    const Twist &base = contact_.base_wrench;
    const Vector3 force = rotate_back(pose, {base[0], base[1], base[2]});
    const Vector3 torque = rotate_back(pose, {base[3], base[4], base[5]});
    contact_.own_wrench = {force[0], force[1], force[2], torque[0], torque[1], torque[2]};

    const CollisionBehavior &behavior = settings.collision;
    const double *lower_torque = accelerating ? behavior.lower_torque_acceleration : behavior.lower_torque_nominal;
    const double *upper_torque = accelerating ? behavior.upper_torque_acceleration : behavior.upper_torque_nominal;
    const double *lower_force = accelerating ? behavior.lower_force_acceleration : behavior.lower_force_nominal;
    const double *upper_force = accelerating ? behavior.upper_force_acceleration : behavior.upper_force_nominal;
    for (int i = 0; i < kJoints; ++i) {
        const double size = std::fabs(contact_.torque[i]);
        contact_.joint_contact[i] = size > lower_torque[i];
        contact_.joint_collision[i] = (keep && contact_.joint_collision[i]) || size > upper_torque[i];
    }
    for (int i = 0; i < 6; ++i) {
        const double size = std::fabs(contact_.own_wrench[i]);
        contact_.cartesian_contact[i] = size > lower_force[i];
        contact_.cartesian_collision[i] = (keep && contact_.cartesian_collision[i]) || size > upper_force[i];
    }
}

Errors Monitor::check(const Simulation &arm, const Settings &settings, const Joints &tau) const
{
    Errors errors;
    const auto any = [](const auto &flags) { return std::find(flags.begin(), flags.end(), true) != flags.end(); };
    if (any(contact_.joint_collision)) {
        set(errors, Error::kJointReflex);
    }
    if (any(contact_.cartesian_collision)) {
        set(errors, Error::kCartesianReflex);
    }
    const Jacobian at_ee = jacobian(arm.q(), settings.flange_to_ee());
    Vector3 speed{};
    for (int i = 0; i < kJoints; ++i) {
        const double q = arm.q()[i], dq = arm.dq()[i];
        if (q < limits_.lower[i] - kMeasuredMargin || q > limits_.upper[i] + kMeasuredMargin) {
            set(errors, Error::kJointPositionLimits);
        }
        if (std::fabs(dq) > kMeasured * limits_.velocity[i]) {
            set(errors, Error::kJointVelocity);
        }
        if (std::fabs(tau[i]) > limits_.torque[i]) {
            set(errors, Error::kTauJRange);
        }
        for (int row = 0; row < 3; ++row) {
            speed[row] += at_ee[row * kJoints + i] * dq;
        }
    }
    if (norm(speed[0], speed[1], speed[2]) > kMeasured * limits_.translation.velocity) {
        set(errors, Error::kCartesianVelocity);
    }
    return errors;
}

}  // namespace virtual_franka
