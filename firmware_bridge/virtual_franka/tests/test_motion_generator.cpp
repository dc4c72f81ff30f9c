// Each limit of a commanded motion: what keeps to it passes, what breaks it is called by its name.
#include <algorithm>
#include <cmath>

#include "../../tests/check.h"
#include "motion_generator.h"

using namespace virtual_franka;

namespace {

constexpr double kPi = 3.14159265358979324;

MotionGenerator at_rest(Generator generator, const Limits &limits = kFr3)
{
    MotionGenerator out(limits);
    out.reset(kReadyPose);
    out.start(generator, kFlangeToHand);
    return out;
}

CommandMessage positions(const Joints &q)
{
    CommandMessage out{};
    std::copy(q.begin(), q.end(), out.q_c);
    return out;
}

CommandMessage velocity(int joint, double value)
{
    CommandMessage out{};
    out.dq_c[joint] = value;
    return out;
}

CommandMessage twist(int axis, double value)
{
    CommandMessage out{};
    out.O_dP_EE_c[axis] = value;
    return out;
}

CommandMessage pose(const Pose &value)
{
    CommandMessage out{};
    std::copy(value.begin(), value.end(), out.O_T_EE_c);
    return out;
}

bool only(const Errors &errors, Error error) { return errors.count() == 1 && has(errors, error); }

/// Speed a joint up with a jerk and at most an acceleration, until it is as fast as asked.
Errors speed_up(MotionGenerator &motion, int joint, double to, double most_acceleration, double jerk)
{
    double acceleration = 0.0, speed = 0.0;
    while (std::fabs(speed - to) > 1e-9) {
        // The acceleration that can be taken away by the jerk in what remains.
        const double fading = std::sqrt(2.0 * jerk * std::fabs(to - speed));
        acceleration =
            std::min({acceleration + jerk * kPeriod, most_acceleration, fading, std::fabs(to - speed) / kPeriod});
        speed += std::copysign(acceleration * kPeriod, to);
        const Errors errors = motion.advance(velocity(joint, speed));
        if (errors.any()) {
            return errors;
        }
    }
    return {};
}

bool same(const RateLimits &limits, double velocity, double acceleration, double jerk)
{
    return limits.velocity == velocity && limits.acceleration == acceleration && limits.jerk == jerk;
}

void the_limits_are_the_published_ones()
{
    for (int i = 0; i < kJoints; ++i) {
        CHECK(kFr3.acceleration[i] == 10.0 && kFr3.jerk[i] == 5000.0);
        CHECK(kFr3.torque[i] == (i < 4 ? 87.0 : 12.0) && kPanda.torque[i] == kFr3.torque[i]);
        CHECK(kFr3.velocity[i] == (i < 4 ? 2.62 : i == 5 ? 4.18 : 5.26) && kPanda.velocity[i] == (i < 4 ? 2.175 : 2.61));
    }
    CHECK((kPanda.acceleration == Joints{15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0}));
    CHECK((kPanda.jerk == Joints{7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0}));
    CHECK((kFr3.upper == Joints{2.7501, 1.7918, 2.9065, -0.1458, 2.8101, 4.5205, 3.0196}));
    CHECK((kFr3.lower == Joints{-2.7501, -1.7918, -2.9065, -3.0481, -2.8101, 0.54092, -3.0196}));
    CHECK((kPanda.upper == Joints{2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973}));
    CHECK((kPanda.lower == Joints{-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973}));
    CHECK(same(kFr3.translation, 3.0, 9.0, 4500.0) && same(kPanda.translation, 1.7, 13.0, 6500.0));
    CHECK(same(kFr3.rotation, 2.5, 17.0, 8500.0) && same(kPanda.rotation, 2.5, 25.0, 12500.0));
    CHECK(same(kFr3.elbow, 1.5, 10.0, 5000.0) && same(kPanda.elbow, 2.175, 10.0, 5000.0));
    CHECK(kFr3.torque_rate == 1000.0 && kPanda.torque_rate == 1000.0);
}

void a_smooth_motion_passes_and_is_followed()
{
    MotionGenerator motion = at_rest(Generator::kJointPosition);
    Joints q = kReadyPose;
    for (int i = 0; i <= 1000; ++i) {
        q[3] = kReadyPose[3] + 0.1 * (1.0 - std::cos(2.0 * kPi * i * kPeriod));
        CHECK(motion.advance(positions(q)).none());
        CHECK(std::fabs(motion.desired().q[3] - q[3]) < 1e-12);
    }
    CHECK(motion.finish().none());
    CHECK(motion.desired().dq[3] == 0.0 && motion.desired().ddq[3] == 0.0);
}

void a_start_far_from_the_arm_is_no_start()
{
    MotionGenerator motion = at_rest(Generator::kJointPosition);
    Joints q = kReadyPose;
    q[0] += 0.05;
    CHECK(only(motion.advance(positions(q)), Error::kJointStartPoseInvalid));
}

void velocity_acceleration_and_jerk_are_limited_at_each_joint()
{
    for (const Limits *limits : {&kFr3, &kPanda}) {
        for (int joint = 0; joint < kJoints; ++joint) {
            const double jerk = limits->jerk[joint], most = limits->acceleration[joint], fast = limits->velocity[joint];
            // In the middle of its range, where the velocity does not depend on the position.
            Joints q = kReadyPose;
            q[joint] = 0.5 * (limits->lower[joint] + limits->upper[joint]);
            const auto fresh = [&] {
                MotionGenerator motion(*limits);
                motion.reset(q);
                motion.start(Generator::kJointVelocity, kFlangeToHand);
                return motion;
            };
            MotionGenerator within = fresh();
            CHECK(speed_up(within, joint, 0.3, most, 0.999 * jerk).none());
            MotionGenerator jerky = fresh();
            CHECK(only(jerky.advance(velocity(joint, 1.2 * jerk * kPeriod * kPeriod)),
                       Error::kJointGeneratorAccelerationDiscontinuity));
            MotionGenerator steep = fresh();
            CHECK(
                only(speed_up(steep, joint, 0.5, 1.2 * most, 0.5 * jerk), Error::kJointGeneratorVelocityDiscontinuity));
            MotionGenerator quick = fresh();
            const Errors errors = speed_up(quick, joint, 1.01 * fast, most, 0.5 * jerk);
            CHECK(has(errors, Error::kJointGeneratorVelocityLimits) &&
                  !has(errors, Error::kJointGeneratorVelocityDiscontinuity));
        }
    }
}

void a_jump_in_mid_motion_breaks_all_three()
{
    MotionGenerator motion = at_rest(Generator::kJointPosition);
    CHECK(motion.advance(positions(kReadyPose)).none());
    Joints q = kReadyPose;
    q[6] += 0.2;
    const Errors errors = motion.advance(positions(q));
    CHECK(has(errors, Error::kJointGeneratorVelocityLimits) &&
          has(errors, Error::kJointGeneratorVelocityDiscontinuity));
    CHECK(has(errors, Error::kJointGeneratorAccelerationDiscontinuity) && errors.count() == 3);
}

void joints_stop_before_their_ends()
{
    // Nearer to its end a joint of Research 3 must be slower; at the end itself it must be at rest.
    CHECK(velocity_bounds(kFr3, 0, 0.0).upper == kFr3.velocity[0]);
    CHECK(std::fabs(velocity_bounds(kFr3, 0, 2.6).upper - (std::sqrt(12.0 * 0.1501) - 0.3)) < 1e-12);
    CHECK(velocity_bounds(kFr3, 0, kFr3.upper[0]).upper == 0.0);
    CHECK(velocity_bounds(kFr3, 3, kFr3.lower[3]).lower == 0.0);
    MotionGenerator motion(kPanda);
    Joints q = kReadyPose;
    q[5] = kPanda.upper[5] - 1e-5;
    motion.reset(q);
    motion.start(Generator::kJointVelocity, kFlangeToHand);
    Errors errors;
    for (int i = 1; errors.none() && i < 100; ++i) {
        errors = motion.advance(velocity(5, 0.001 * i));
    }
    CHECK(has(errors, Error::kJointGeneratorPositionLimits));
}

void a_motion_must_end_at_rest()
{
    MotionGenerator motion = at_rest(Generator::kJointVelocity);
    CHECK(speed_up(motion, 0, 0.2, 5.0, 2000.0).none());
    CHECK(only(motion.finish(), Error::kJointGeneratorVelocityDiscontinuity));
}

void cartesian_rates_are_limited()
{
    const Generator generator = Generator::kCartesianVelocity;
    MotionGenerator jerky = at_rest(generator);
    CHECK(has(jerky.advance(twist(0, 1.3 * 4500.0 * 1e-6)), Error::kCartesianGeneratorAccelerationDiscontinuity));
    MotionGenerator turning = at_rest(generator);
    CHECK(has(turning.advance(twist(5, 1.3 * 8500.0 * 1e-6)), Error::kCartesianGeneratorAccelerationDiscontinuity));
    MotionGenerator steep = at_rest(generator);
    CHECK(has(steep.advance(twist(2, 0.011)), Error::kCartesianGeneratorVelocityDiscontinuity));
    MotionGenerator quick = at_rest(generator);
    CHECK(has(quick.advance(twist(1, 3.1)), Error::kCartesianGeneratorVelocityLimits));
    MotionGenerator far = at_rest(Generator::kCartesianPose);
    Pose goal = far.commanded().pose;
    goal[12] += 0.01;
    CHECK(only(far.advance(pose(goal)), Error::kCartesianStartPoseInvalid));
    goal[0] = 2.0;
    CHECK(only(far.advance(pose(goal)), Error::kCartesianInvalidFrame));
}

void a_cartesian_path_is_followed_by_the_joints()
{
    MotionGenerator motion = at_rest(Generator::kCartesianPose);
    const Pose start = motion.commanded().pose;
    for (int i = 0; i <= 1000; ++i) {
        const double s = 0.05 * (1.0 - std::cos(2.0 * kPi * i * kPeriod));
        const Pose goal = displaced(start, {s, 0.5 * s, -s, 0.0, 2.0 * s, 4.0 * s});
        CHECK(motion.advance(pose(goal)).none());
        const Twist error = difference(goal, forward(motion.desired().q, kFlangeToHand));
        CHECK(std::all_of(error.begin(), error.end(), [](double value) { return std::fabs(value) < 1e-6; }));
    }
    CHECK(motion.finish().none());
}

void the_elbow_moves_by_itself()
{
    MotionGenerator motion = at_rest(Generator::kCartesianPose);
    CommandMessage command = pose(motion.commanded().pose);
    command.valid_elbow = 1;
    command.elbow_c[1] = -1.0;
    for (int i = 0; i <= 1000; ++i) {
        command.elbow_c[0] = 0.05 * (1.0 - std::cos(kPi * i * kPeriod));
        CHECK(motion.advance(command).none());
    }
    CHECK(std::fabs(motion.desired().q[2] - 0.1) < 1e-6);
    command.elbow_c[1] = 1.0;
    CHECK(only(motion.advance(command), Error::kCartesianGeneratorElbowSign));
    command.elbow_c[1] = -1.0;
    command.elbow_c[0] += 0.01;
    CHECK(only(motion.advance(command), Error::kCartesianGeneratorElbowLimit));
    MotionGenerator other = at_rest(Generator::kCartesianPose);
    CHECK(only(other.advance(command), Error::kCartesianGeneratorStartElbowInvalid));
    command.elbow_c[1] = 1.0;
    MotionGenerator flipped = at_rest(Generator::kCartesianPose);
    CHECK(only(flipped.advance(command), Error::kStartElbowSign));
}

void a_lost_packet_is_bridged_by_constant_acceleration()
{
    MotionGenerator motion = at_rest(Generator::kJointVelocity);
    const double acceleration = 2.0;
    for (int i = 1; i <= 50; ++i) {
        if (i == 20 || i == 21) {
            motion.extrapolate();
        } else {
            CHECK(motion.advance(velocity(4, acceleration * i * kPeriod)).none());
        }
        CHECK(std::fabs(motion.desired().dq[4] - acceleration * i * kPeriod) < 1e-9);
    }
    while (!motion.brake()) {
    }
    CHECK(motion.desired().dq[4] == 0.0);
}

void targets_without_a_rate_are_approached()
{
    MotionGenerator motion = at_rest(Generator::kJointPosition);
    motion.set_asynchronous({0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5});
    Joints goal = kReadyPose;
    goal[0] += 0.3, goal[3] -= 0.2;
    CHECK(motion.advance(positions(goal)).none());
    double fastest = 0.0;
    for (int i = 0; i < 2000; ++i) {
        motion.extrapolate();
        fastest = std::max(fastest, std::fabs(motion.desired().dq[0]));
    }
    CHECK(std::fabs(motion.desired().q[0] - goal[0]) < 1e-6 && std::fabs(motion.desired().q[3] - goal[3]) < 1e-6);
    CHECK(fastest > 0.45 && fastest <= 0.5);
}

}  // namespace

int main()
{
    the_limits_are_the_published_ones();
    a_smooth_motion_passes_and_is_followed();
    a_start_far_from_the_arm_is_no_start();
    velocity_acceleration_and_jerk_are_limited_at_each_joint();
    a_jump_in_mid_motion_breaks_all_three();
    joints_stop_before_their_ends();
    a_motion_must_end_at_rest();
    cartesian_rates_are_limited();
    a_cartesian_path_is_followed_by_the_joints();
    the_elbow_moves_by_itself();
    a_lost_packet_is_bridged_by_constant_acceleration();
    targets_without_a_rate_are_approached();
    return 0;
}
