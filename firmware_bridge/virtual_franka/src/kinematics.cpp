#include "kinematics.h"

#include <cmath>

namespace virtual_franka {
namespace {

// Small against singular values of 0.05 and more of poses that are of use; it costs 1e-6 of a velocity there.
constexpr double kDamping = 1e-8;

/// Solve A x = b in place for a symmetric positive matrix of `n` rows; returns the product of the pivots.
double solve_cholesky(double *a, double *b, int n)
{
    double pivots = 1.0;
    for (int j = 0; j < n; ++j) {
        double pivot = a[j * n + j];
        for (int k = 0; k < j; ++k) {
            pivot -= a[j * n + k] * a[j * n + k];
        }
        pivot = std::sqrt(std::fmax(pivot, 1e-18));
        pivots *= pivot;
        a[j * n + j] = pivot;
        for (int i = j + 1; i < n; ++i) {
            double sum = a[i * n + j];
            for (int k = 0; k < j; ++k) {
                sum -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = sum / pivot;
        }
    }
    for (int i = 0; i < n; ++i) {
        for (int k = 0; k < i; ++k) {
            b[i] -= a[i * n + k] * b[k];
        }
        b[i] /= a[i * n + i];
    }
    for (int i = n - 1; i >= 0; --i) {
        for (int k = i + 1; k < n; ++k) {
            b[i] -= a[k * n + i] * b[k];
        }
        b[i] /= a[i * n + i];
    }
    return pivots;
}

/// rows * rows^T + damping
void square(const double *rows, int n, double damping, double *out)
{
    for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) {
            out[i * n + j] = i == j ? damping : 0.0;
            for (int k = 0; k < kJoints; ++k) {
                out[i * n + j] += rows[i * kJoints + k] * rows[j * kJoints + k];
            }
        }
    }
}

}  // namespace

std::array<Pose, kJoints + 1> joint_frames(const Joints &q)
{
    std::array<Pose, kJoints + 1> out;
    Pose frame = kIdentity;
    for (int i = 0; i < kJoints; ++i) {
        const Link &link = kLinks[i];
        const double c = std::cos(q[i]), s = std::sin(q[i]);
        const double turn_c = link.quarter_turns == 0 ? 1.0 : 0.0, turn_s = link.quarter_turns;
        // A turn about x by quarters, then one about z by the joint.
        frame = frame * Pose{c,
                             turn_c * s,
                             turn_s * s,
                             0.0,
                             -s,
                             turn_c * c,
                             turn_s * c,
                             0.0,
                             0.0,
                             -turn_s,
                             turn_c,
                             0.0,
                             link.origin[0],
                             link.origin[1],
                             link.origin[2],
                             1.0};
        out[i] = frame;
    }
    Pose flange = kIdentity;
    flange[14] = kFlangeOffset;
    out[kJoints] = frame * flange;
    return out;
}

Pose forward(const Joints &q, const Pose &flange_to_frame) { return joint_frames(q)[kJoints] * flange_to_frame; }

Jacobian jacobian(const Joints &q, const Pose &flange_to_frame)
{
    const auto frames = joint_frames(q);
    const Vector3 point = position(frames[kJoints] * flange_to_frame);
    Jacobian out;
    for (int i = 0; i < kJoints; ++i) {
        const Vector3 axis = {frames[i][8], frames[i][9], frames[i][10]}, at = position(frames[i]);
        const Vector3 linear = cross(axis, {point[0] - at[0], point[1] - at[1], point[2] - at[2]});
        for (int row = 0; row < 3; ++row) {
            out[row * kJoints + i] = linear[row];
            out[(row + 3) * kJoints + i] = axis[row];
        }
    }
    return out;
}

Joints gravity_of(const Joints &q, double mass, const Vector3 &centre)
{
    Pose frame = kIdentity;
    frame[12] = centre[0], frame[13] = centre[1], frame[14] = centre[2];
    const Jacobian at = jacobian(q, frame);
    Joints out;
    for (int i = 0; i < kJoints; ++i) {
        out[i] = 9.81 * mass * at[2 * kJoints + i];
    }
    return out;
}

std::array<double, 2> elbow_of(const Joints &q) { return {q[2], q[3] > 0.0 ? 1.0 : -1.0}; }

Joints solve(const Jacobian &jacobian, const Twist &twist, const double *elbow)
{
    constexpr int kMost = 7;
    const int n = elbow ? 7 : 6;
    double rows[kMost * kJoints] = {}, matrix[kMost * kMost], goal[kMost];
    for (int i = 0; i < 6 * kJoints; ++i) {
        rows[i] = jacobian[i];
    }
    for (int i = 0; i < 6; ++i) {
        goal[i] = twist[i];
    }
    if (elbow) {
        rows[6 * kJoints + 2] = 1.0;
        goal[6] = *elbow;
    }
    square(rows, n, kDamping, matrix);
    solve_cholesky(matrix, goal, n);
    Joints out{};
    for (int i = 0; i < n; ++i) {
        for (int k = 0; k < kJoints; ++k) {
            out[k] += rows[i * kJoints + k] * goal[i];
        }
    }
    return out;
}

Twist wrench_of(const Jacobian &jacobian, const Joints &torques)
{
    // Damped so that a singular pose answers with small forces, as the interface promises.
    constexpr double damping = 1e-6;
    double matrix[36];
    Twist out{};
    for (int i = 0; i < 6; ++i) {
        for (int k = 0; k < kJoints; ++k) {
            out[i] += jacobian[i * kJoints + k] * torques[k];
        }
    }
    square(jacobian.data(), 6, damping, matrix);
    solve_cholesky(matrix, out.data(), 6);
    return out;
}

double manipulability(const Jacobian &jacobian)
{
    double matrix[36], unused[6] = {};
    square(jacobian.data(), 6, 0.0, matrix);
    return solve_cholesky(matrix, unused, 6);
}

}  // namespace virtual_franka
