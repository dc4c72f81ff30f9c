// The arm: our kinematics and gravity against MuJoCo's, and controllers that hold it.
#include <algorithm>
#include <cmath>
#include <random>

#include "../../tests/check.h"
#include "controller.h"
#include "kinematics.h"
#include "settings.h"
#include "simulation.h"

using namespace virtual_franka;

namespace {

Joints random_pose(std::mt19937 &generator)
{
    Joints out;
    for (int i = 0; i < kJoints; ++i) {
        out[i] = std::uniform_real_distribution<>(kFr3.lower[i], kFr3.upper[i])(generator);
    }
    return out;
}

double distance(const Joints &a, const Joints &b)
{
    double out = 0.0;
    for (int i = 0; i < kJoints; ++i) {
        out = std::max(out, std::fabs(a[i] - b[i]));
    }
    return out;
}

double off(const Pose &a, const Pose &b)
{
    double out = 0.0;
    for (int i = 0; i < 16; ++i) {
        out = std::max(out, std::fabs(a[i] - b[i]));
    }
    return out;
}

void poses_are_turned_and_turned_back()
{
    std::mt19937 generator(1);
    for (int i = 0; i < 100; ++i) {
        const Pose a = forward(random_pose(generator), kFlangeToHand),
                   b = forward(random_pose(generator), kFlangeToHand);
        CHECK(is_pose(a) && off(a * inverse(a), kIdentity) < 1e-12);
        CHECK(off(displaced(a, difference(a, b)), b) < 1e-9);
    }
    CHECK(!is_pose({1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1}));
    CHECK(!is_pose({NAN, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}));
}

void the_ready_pose_is_where_frankas_documentation_has_it()
{
    // Of Franka's examples: 0.307 m ahead, 0.487 m up with the hand, fingers down.
    const Pose pose = forward(kReadyPose, kFlangeToHand);
    CHECK(std::fabs(pose[12] - 0.30689) < 1e-4 && std::fabs(pose[13]) < 1e-9 && std::fabs(pose[14] - 0.48689) < 1e-3);
    CHECK(std::fabs(pose[10] + 1.0) < 1e-6);
}

void the_jacobian_is_the_derivative()
{
    std::mt19937 generator(2);
    const Joints q = random_pose(generator);
    const Jacobian at = jacobian(q, kFlangeToHand);
    for (int i = 0; i < kJoints; ++i) {
        Joints less = q, more = q;
        less[i] -= 1e-6, more[i] += 1e-6;
        const Twist moved = difference(forward(less, kFlangeToHand), forward(more, kFlangeToHand));
        for (int row = 0; row < 6; ++row) {
            CHECK(std::fabs(moved[row] / 2e-6 - at[row * kJoints + i]) < 1e-6);
        }
    }
    const Twist wanted = {0.1, -0.2, 0.05, 0.3, 0.1, -0.1};
    const double elbow = 0.2;
    for (const double *third : {static_cast<const double *>(nullptr), &elbow}) {
        const Joints dq = solve(jacobian(kReadyPose, kFlangeToHand), wanted, third);
        const Jacobian ready = jacobian(kReadyPose, kFlangeToHand);
        for (int row = 0; row < 6; ++row) {
            double got = 0.0;
            for (int i = 0; i < kJoints; ++i) {
                got += ready[row * kJoints + i] * dq[i];
            }
            CHECK(std::fabs(got - wanted[row]) < 1e-4);
        }
        CHECK(!third || std::fabs(dq[2] - elbow) < 1e-5);
    }
    const Joints stretched = {0.0, 0.0, 0.0, -0.08, 0.0, 1.6, 0.0};
    CHECK(manipulability(jacobian(stretched, kFlangeToHand)) <
              manipulability(jacobian(kReadyPose, kFlangeToHand)) / 5.0 &&
          manipulability(jacobian(kReadyPose, kFlangeToHand)) > 0.05);
}

void mujoco_agrees_about_kinematics_and_gravity()
{
    std::mt19937 generator(3);
    for (int i = 0; i < 20; ++i) {
        const Joints q = random_pose(generator);
        Simulation arm(kFr3, -2.0, q);
        // At rest MuJoCo's bias is gravity alone: what is left over is what our formula misses, beside the fingers.
        for (const double value : arm.coriolis()) {
            CHECK(std::fabs(value) < 5e-4);
        }
    }
}

void gravity_compensated_the_arm_stays_and_held_it_stays_stiff()
{
    Simulation arm(kFr3, 0.0, kReadyPose);
    for (int i = 0; i < 1000; ++i) {
        arm.step(arm.gravity());
    }
    CHECK(distance(arm.q(), kReadyPose) < 1e-3);

    Simulation pushed(kFr3, 0.0, kReadyPose);
    const Desired hold = {kReadyPose, {}, {}};
    pushed.push({0.0, 0.0, -20.0});
    for (int i = 0; i < 1000; ++i) {
        Joints torque = joint_impedance(pushed, hold, Stiffness{});
        const Joints gravity = pushed.gravity();
        for (int k = 0; k < kJoints; ++k) {
            torque[k] += gravity[k];
        }
        pushed.step(torque);
    }
    // Springs of 3000 and 2500 Nm/rad under 20 N at less than 0.6 m.
    CHECK(distance(pushed.q(), kReadyPose) > 1e-3 && distance(pushed.q(), kReadyPose) < 6e-3);
    CHECK(distance(pushed.dq(), {}) < 1e-4);
}

void a_payload_disturbs_as_its_weight_does()
{
    Simulation arm(kFr3, 0.0, kReadyPose);
    arm.set_payload(0.5);
    const Desired hold = {kReadyPose, {}, {}};
    for (int i = 0; i < 500; ++i) {
        Joints torque = joint_impedance(arm, hold, Stiffness{});
        const Joints gravity = arm.gravity();
        for (int k = 0; k < kJoints; ++k) {
            torque[k] += gravity[k];
        }
        arm.step(torque);
    }
    Joints expected = gravity_of(arm.q(), 0.5, {0.0, 0.0, 0.1034});
    for (double &value : expected) {
        value = -value;
    }
    CHECK(distance(arm.disturbance(), expected) < 0.02);
}

}  // namespace

int main()
{
    poses_are_turned_and_turned_back();
    the_ready_pose_is_where_frankas_documentation_has_it();
    the_jacobian_is_the_derivative();
    mujoco_agrees_about_kinematics_and_gravity();
    gravity_compensated_the_arm_stays_and_held_it_stays_stiff();
    a_payload_disturbs_as_its_weight_does();
    return 0;
}
