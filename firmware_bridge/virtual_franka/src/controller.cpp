#include "controller.h"

#include <cmath>

namespace virtual_franka {
namespace {

/// Inertia times acceleration, and Coriolis: what the desired motion takes without any error.
Joints feed_forward(const Simulation &arm, const Joints &ddq)
{
    Joints out = arm.coriolis();
    for (int i = 0; i < kJoints; ++i) {
        out[i] += kJointDamping * arm.dq()[i];
        for (int k = 0; k < kJoints; ++k) {
            out[i] += arm.mass()[i * kJoints + k] * ddq[k];
        }
    }
    return out;
}

double damping_of(double stiffness, double inertia) { return 2.0 * std::sqrt(stiffness * inertia); }

}  // namespace

Joints joint_impedance(const Simulation &arm, const Desired &desired, const Stiffness &stiffness)
{
    Joints out = feed_forward(arm, desired.ddq);
    for (int i = 0; i < kJoints; ++i) {
        const double damping = damping_of(stiffness.joint[i], arm.mass()[i * kJoints + i]);
        out[i] += stiffness.joint[i] * (desired.q[i] - arm.q()[i]) + damping * (desired.dq[i] - arm.dq()[i]);
    }
    return out;
}

Joints cartesian_impedance(const Simulation &arm, const Desired &desired, const Stiffness &stiffness,
                           const Pose &flange_to_ee)
{
    // Light enough to give way in the null space, and damped so that it comes to rest.
    constexpr double null_stiffness = 20.0;
    const Jacobian at_ee = jacobian(arm.q(), flange_to_ee);
    const Twist error = difference(forward(arm.q(), flange_to_ee), forward(desired.q, flange_to_ee));
    // A mass of some kilograms and the inertia of a hand with its arm are what these springs hold.
    constexpr double inertia[6] = {5.0, 5.0, 5.0, 0.3, 0.3, 0.3};
    Joints out = feed_forward(arm, desired.ddq), slip;
    for (int k = 0; k < kJoints; ++k) {
        slip[k] = desired.dq[k] - arm.dq()[k];
    }
    for (int i = 0; i < 6; ++i) {
        double rate = 0.0;
        for (int k = 0; k < kJoints; ++k) {
            rate += at_ee[i * kJoints + k] * slip[k];
        }
        const double force = stiffness.cartesian[i] * error[i] + damping_of(stiffness.cartesian[i], inertia[i]) * rate;
        for (int k = 0; k < kJoints; ++k) {
            out[k] += at_ee[i * kJoints + k] * force;
        }
    }
    Joints posture;
    for (int k = 0; k < kJoints; ++k) {
        posture[k] = null_stiffness * (desired.q[k] - arm.q()[k]) +
                     damping_of(null_stiffness, arm.mass()[k * kJoints + k]) * slip[k];
    }
    // Only the part of those torques that no wrench at the end effector explains.
    const Twist explained = wrench_of(at_ee, posture);
    for (int k = 0; k < kJoints; ++k) {
        out[k] += posture[k];
        for (int i = 0; i < 6; ++i) {
            out[k] -= at_ee[i * kJoints + k] * explained[i];
        }
    }
    return out;
}

Joints guided(const Simulation &arm)
{
    constexpr double damping = 1.0;  // Nm s/rad
    Joints out = arm.coriolis();
    for (int i = 0; i < kJoints; ++i) {
        out[i] -= damping * arm.dq()[i];
    }
    return out;
}

}  // namespace virtual_franka
