#include "geometry.h"

#include <algorithm>
#include <cmath>

namespace virtual_franka {

Pose operator*(const Pose &a, const Pose &b)
{
    Pose out{};
    for (int column = 0; column < 4; ++column) {
        for (int row = 0; row < 4; ++row) {
            for (int k = 0; k < 4; ++k) {
                out[4 * column + row] += a[4 * k + row] * b[4 * column + k];
            }
        }
    }
    return out;
}

Pose inverse(const Pose &pose)
{
    Pose out = kIdentity;
    for (int row = 0; row < 3; ++row) {
        for (int column = 0; column < 3; ++column) {
            out[4 * column + row] = pose[4 * row + column];
            out[12 + row] -= pose[4 * row + column] * pose[12 + column];
        }
    }
    return out;
}

Vector3 position(const Pose &pose) { return {pose[12], pose[13], pose[14]}; }

Vector3 rotate(const Pose &pose, const Vector3 &v)
{
    Vector3 out{};
    for (int row = 0; row < 3; ++row) {
        out[row] = pose[row] * v[0] + pose[4 + row] * v[1] + pose[8 + row] * v[2];
    }
    return out;
}

Vector3 rotate_back(const Pose &pose, const Vector3 &v)
{
    Vector3 out{};
    for (int row = 0; row < 3; ++row) {
        out[row] = pose[4 * row] * v[0] + pose[4 * row + 1] * v[1] + pose[4 * row + 2] * v[2];
    }
    return out;
}

Vector3 cross(const Vector3 &a, const Vector3 &b)
{
    return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

double norm(double x, double y, double z) { return std::sqrt(x * x + y * y + z * z); }

Twist difference(const Pose &from, const Pose &to)
{
    Pose turned = from;
    turned[12] = turned[13] = turned[14] = 0.0;
    const Pose turn = to * inverse(turned);
    // The antisymmetric part is the axis times the sine, which loses no digits for the small angles of one period.
    const double x = 0.5 * (turn[6] - turn[9]), y = 0.5 * (turn[8] - turn[2]), z = 0.5 * (turn[1] - turn[4]);
    const double sine = norm(x, y, z), cosine = 0.5 * (turn[0] + turn[5] + turn[10] - 1.0);
    const double scale = sine > 1e-12 ? std::atan2(sine, cosine) / sine : 1.0;
    return {to[12] - from[12], to[13] - from[13], to[14] - from[14], scale * x, scale * y, scale * z};
}

Pose displaced(const Pose &pose, const Twist &displacement)
{
    const double x = displacement[3], y = displacement[4], z = displacement[5], angle = norm(x, y, z);
    Pose turn = kIdentity;
    if (angle > 0.0) {
        const double s = std::sin(angle) / angle, c = 2.0 * std::pow(std::sin(0.5 * angle) / angle, 2);
        turn = {1.0 - c * (y * y + z * z),
                c * x * y + s * z,
                c * x * z - s * y,
                0.0,
                c * x * y - s * z,
                1.0 - c * (x * x + z * z),
                c * y * z + s * x,
                0.0,
                c * x * z + s * y,
                c * y * z - s * x,
                1.0 - c * (x * x + y * y),
                0.0,
                0.0,
                0.0,
                0.0,
                1.0};
    }
    Pose out = pose;
    out[12] = out[13] = out[14] = 0.0;
    out = turn * out;
    for (int i = 0; i < 3; ++i) {
        out[12 + i] = pose[12 + i] + displacement[i];
    }
    return out;
}

bool is_pose(const Pose &pose)
{
    constexpr double tolerance = 1e-5;
    if (!std::all_of(pose.begin(), pose.end(), [](double value) { return std::isfinite(value); }) || pose[3] != 0.0 ||
        pose[7] != 0.0 || pose[11] != 0.0 || pose[15] != 1.0) {
        return false;
    }
    for (int i = 0; i < 3; ++i) {
        const double *column = &pose[4 * i];
        const double *next = &pose[4 * ((i + 1) % 3)];
        const double dot = column[0] * next[0] + column[1] * next[1] + column[2] * next[2];
        if (std::fabs(norm(column[0], column[1], column[2]) - 1.0) > tolerance || std::fabs(dot) > tolerance) {
            return false;
        }
    }
    const Vector3 z = cross({pose[0], pose[1], pose[2]}, {pose[4], pose[5], pose[6]});
    return z[0] * pose[8] + z[1] * pose[9] + z[2] * pose[10] > 0.0;
}

}  // namespace virtual_franka
