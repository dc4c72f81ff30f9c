// Where the flange is and how joints move it, from the table of links alone.
#pragma once

#include "arm.h"

namespace virtual_franka {

/// Row-major [6, 7]: linear over angular, seen from the base.
using Jacobian = std::array<double, 6 * kJoints>;

/// The frame of each joint in the base, and of the flange last.
std::array<Pose, kJoints + 1> joint_frames(const Joints &q);
/// Pose in the base of a frame that is given in the flange's.
Pose forward(const Joints &q, const Pose &flange_to_frame);
/// Of the origin of that frame.
Jacobian jacobian(const Joints &q, const Pose &flange_to_frame);
/// What gravity asks of each joint for a point mass in the flange's frame, Nm.
Joints gravity_of(const Joints &q, double mass, const Vector3 &centre);
/// Third joint (rad) and the sign of the fourth: libfranka's `elbow`.
std::array<double, 2> elbow_of(const Joints &q);

/// Joint velocities that move a frame by a twist and, where `elbow` is given, the third joint at that rate (rad/s).
/// Damped least squares: near a singular pose velocities grow large, but stay finite.
Joints solve(const Jacobian &jacobian, const Twist &twist, const double *elbow);
/// The wrench at a frame that explains torques of the joints best.
Twist wrench_of(const Jacobian &jacobian, const Joints &torques);
/// Yoshikawa's measure, sqrt(det(J J^T)): 0 in a singular pose.
double manipulability(const Jacobian &jacobian);

}  // namespace virtual_franka
