// Rigid transforms as the interface carries them: 4 x 4, column-major.
#pragma once

#include <array>

namespace virtual_franka {

using Pose = std::array<double, 16>;
using Vector3 = std::array<double, 3>;
/// Linear then angular, both seen from the base: m and rad, m/s and rad/s, or N and Nm.
using Twist = std::array<double, 6>;

constexpr Pose kIdentity = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};

Pose operator*(const Pose &a, const Pose &b);
Pose inverse(const Pose &pose);
Vector3 position(const Pose &pose);
/// Turn a vector by the rotation of a pose, or back.
Vector3 rotate(const Pose &pose, const Vector3 &vector);
Vector3 rotate_back(const Pose &pose, const Vector3 &vector);
Vector3 cross(const Vector3 &a, const Vector3 &b);
double norm(double x, double y, double z);

/// How far one pose is from another: the translation, and the axis times the angle of the rotation between them.
Twist difference(const Pose &from, const Pose &to);
/// Carry a pose along a displacement (a twist times a time): translation, and rotation by Rodrigues' formula.
Pose displaced(const Pose &pose, const Twist &displacement);
/// Whether a matrix is a rotation (within 1e-5, as libfranka asks) and a translation, all finite.
bool is_pose(const Pose &pose);

}  // namespace virtual_franka
