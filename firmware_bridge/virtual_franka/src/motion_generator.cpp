#include "motion_generator.h"

#include <algorithm>
#include <cmath>

#include "rate_check.h"

namespace virtual_franka {
namespace {

/// Errors that mean the same of a joint, whether a joint generator or a Cartesian one moves it.
struct JointErrors {
    Error position, velocity, velocity_jump, acceleration_jump;
};
constexpr JointErrors kOfJoints = {Error::kJointGeneratorPositionLimits, Error::kJointGeneratorVelocityLimits,
                                   Error::kJointGeneratorVelocityDiscontinuity,
                                   Error::kJointGeneratorAccelerationDiscontinuity};
constexpr JointErrors kOfCartesian = {
    Error::kCartesianGeneratorJointPositionLimits, Error::kCartesianGeneratorJointVelocityLimits,
    Error::kCartesianGeneratorJointVelocityDiscontinuity, Error::kCartesianGeneratorJointAccelerationDiscontinuity};

double length(const Twist &twist, int first) { return norm(twist[first], twist[first + 1], twist[first + 2]); }

}  // namespace

void MotionGenerator::reset(const Joints &q) { desired_ = {q, {}, {}}; }

void MotionGenerator::follow(const Joints &q, const Joints &dq) { desired_ = {q, dq, {}}; }

void MotionGenerator::start(Generator generator, const Pose &flange_to_ee)
{
    generator_ = generator;
    flange_to_ee_ = flange_to_ee;
    // The deceleration that brought the arm to rest is over.
    desired_.ddq = {};
    commanded_ = {};
    commanded_.pose = forward(desired_.q, flange_to_ee);
    commanded_.elbow = elbow_of(desired_.q);
    target_ = desired_.q;
    first_ = true;
    with_elbow_ = asynchronous_ = false;
}

Errors MotionGenerator::advance(const CommandMessage &command)
{
    Errors errors;
    if (generator_ != Generator::kNone) {
        errors = joint_space() ? advance_joints(command) : advance_pose(command);
    }
    first_ = false;
    return errors;
}

Errors MotionGenerator::advance_joints(const CommandMessage &command)
{
    Errors errors;
    if (asynchronous_) {
        for (int i = 0; i < kJoints; ++i) {
            if (command.q_c[i] < limits_.lower[i] || command.q_c[i] > limits_.upper[i]) {
                set(errors, Error::kJointGeneratorPositionLimits);
            }
            target_[i] = command.q_c[i];
        }
        if (errors.none()) {
            approach_target();
        }
        return errors;
    }
    Joints velocity;
    for (int i = 0; i < kJoints; ++i) {
        const bool positions = generator_ == Generator::kJointPosition;
        velocity[i] = positions ? (command.q_c[i] - desired_.q[i]) / kPeriod : command.dq_c[i];
        // No motion that begins at rest can be so far away already.
        if (first_ && positions && std::fabs(velocity[i]) > limits_.velocity[i]) {
            set(errors, Error::kJointStartPoseInvalid);
        }
    }
    if (errors.none()) {
        errors = check_joints(velocity);
    }
    if (errors.none()) {
        take_joints(velocity);
    }
    return errors;
}

Errors MotionGenerator::check_joints(const Joints &velocity) const
{
    const JointErrors &named = joint_space() ? kOfJoints : kOfCartesian;
    Errors errors;
    for (int i = 0; i < kJoints; ++i) {
        const double acceleration = (velocity[i] - desired_.dq[i]) / kPeriod;
        const double jerk = (acceleration - desired_.ddq[i]) / kPeriod;
        const Bounds bounds = velocity_bounds(limits_, i, desired_.q[i]);
        const double next = desired_.q[i] + velocity[i] * kPeriod;
        const Broken broken =
            check({velocity[i] > 0.0 ? bounds.upper : -bounds.lower, limits_.acceleration[i], limits_.jerk[i]},
                  std::fabs(velocity[i]), std::fabs(acceleration), std::fabs(jerk));
        if (!(next >= limits_.lower[i] && next <= limits_.upper[i])) {
            set(errors, named.position);
        }
        if (broken.velocity) {
            set(errors, named.velocity);
        }
        if (broken.acceleration) {
            set(errors, named.velocity_jump);
        }
        if (broken.jerk) {
            set(errors, named.acceleration_jump);
        }
    }
    return errors;
}

void MotionGenerator::take_joints(const Joints &velocity)
{
    for (int i = 0; i < kJoints; ++i) {
        desired_.ddq[i] = (velocity[i] - desired_.dq[i]) / kPeriod;
        desired_.dq[i] = velocity[i];
        desired_.q[i] += velocity[i] * kPeriod;
    }
    if (joint_space()) {
        const Pose pose = forward(desired_.q, flange_to_ee_);
        commanded_.pose = pose;
        commanded_.elbow = elbow_of(desired_.q);
    }
}

Errors MotionGenerator::advance_pose(const CommandMessage &command)
{
    Errors errors;
    Twist velocity, acceleration, jerk;
    Pose pose;
    if (generator_ == Generator::kCartesianPose) {
        std::copy_n(command.O_T_EE_c, 16, pose.begin());
        if (!is_pose(pose)) {
            set(errors, Error::kCartesianInvalidFrame);
            return errors;
        }
        velocity = difference(commanded_.pose, pose);
        for (double &value : velocity) {
            value /= kPeriod;
        }
    } else {
        std::copy_n(command.O_dP_EE_c, 6, velocity.begin());
        Twist step = velocity;
        for (double &value : step) {
            value *= kPeriod;
        }
        pose = displaced(commanded_.pose, step);
    }
    for (int i = 0; i < 6; ++i) {
        acceleration[i] = (velocity[i] - commanded_.velocity[i]) / kPeriod;
        jerk[i] = (acceleration[i] - commanded_.acceleration[i]) / kPeriod;
    }
    for (const int first : {0, 3}) {
        const Broken broken = check(first == 0 ? limits_.translation : limits_.rotation, length(velocity, first),
                                    length(acceleration, first), length(jerk, first));
        if (broken.velocity && first_ && generator_ == Generator::kCartesianPose) {
            set(errors, Error::kCartesianStartPoseInvalid);
            return errors;
        }
        if (broken.velocity) {
            set(errors, Error::kCartesianGeneratorVelocityLimits);
        }
        if (broken.acceleration) {
            set(errors, Error::kCartesianGeneratorVelocityDiscontinuity);
        }
        if (broken.jerk) {
            set(errors, Error::kCartesianGeneratorAccelerationDiscontinuity);
        }
    }
    if (command.valid_elbow) {
        errors |= advance_elbow(command);
    }
    if (errors.any()) {
        return errors;
    }
    with_elbow_ = command.valid_elbow;
    take_twist(velocity, pose, with_elbow_);
    const Joints joints = follow_pose(with_elbow_);
    errors = check_joints(joints);
    if (errors.none()) {
        take_joints(joints);
    }
    return errors;
}

Errors MotionGenerator::advance_elbow(const CommandMessage &command)
{
    Errors errors;
    const double velocity = (command.elbow_c[0] - commanded_.elbow[0]) / kPeriod;
    const double acceleration = (velocity - commanded_.elbow_velocity) / kPeriod;
    const double jerk = (acceleration - commanded_.elbow_acceleration) / kPeriod;
    const Broken broken = check(limits_.elbow, std::fabs(velocity), std::fabs(acceleration), std::fabs(jerk));
    if (command.elbow_c[1] != commanded_.elbow[1]) {
        set(errors, first_ ? Error::kStartElbowSign : Error::kCartesianGeneratorElbowSign);
    } else if (first_ && broken.velocity) {
        set(errors, Error::kCartesianGeneratorStartElbowInvalid);
    } else if (broken.velocity || broken.acceleration || broken.jerk) {
        set(errors, Error::kCartesianGeneratorElbowLimit);
    }
    if (errors.none()) {
        commanded_.elbow[0] = command.elbow_c[0];
        commanded_.elbow_velocity = velocity;
        commanded_.elbow_acceleration = acceleration;
    }
    return errors;
}

void MotionGenerator::take_twist(const Twist &velocity, const Pose &pose, bool with_elbow)
{
    for (int i = 0; i < 6; ++i) {
        commanded_.acceleration[i] = (velocity[i] - commanded_.velocity[i]) / kPeriod;
        commanded_.velocity[i] = velocity[i];
    }
    commanded_.pose = pose;
    if (!with_elbow) {
        commanded_.elbow = elbow_of(desired_.q);
        commanded_.elbow_velocity = commanded_.elbow_acceleration = 0.0;
    }
}

Joints MotionGenerator::follow_pose(bool with_elbow) const
{
    // One step of Newton's method from where the joints are: what it leaves is taken up by the next.
    Twist step = difference(forward(desired_.q, flange_to_ee_), commanded_.pose);
    for (double &value : step) {
        value /= kPeriod;
    }
    const double elbow = (commanded_.elbow[0] - desired_.q[2]) / kPeriod;
    return solve(jacobian(desired_.q, flange_to_ee_), step, with_elbow ? &elbow : nullptr);
}

void MotionGenerator::extrapolate()
{
    if (generator_ == Generator::kNone) {
        return;
    }
    if (asynchronous_) {
        approach_target();
        return;
    }
    if (joint_space()) {
        Joints velocity;
        for (int i = 0; i < kJoints; ++i) {
            velocity[i] = desired_.dq[i] + desired_.ddq[i] * kPeriod;
        }
        take_joints(velocity);
        return;
    }
    Twist velocity, step;
    for (int i = 0; i < 6; ++i) {
        velocity[i] = commanded_.velocity[i] + commanded_.acceleration[i] * kPeriod;
        step[i] = velocity[i] * kPeriod;
    }
    if (with_elbow_) {
        commanded_.elbow_velocity += commanded_.elbow_acceleration * kPeriod;
        commanded_.elbow[0] += commanded_.elbow_velocity * kPeriod;
    }
    take_twist(velocity, displaced(commanded_.pose, step), with_elbow_);
    take_joints(follow_pose(with_elbow_));
}

void MotionGenerator::approach_target()
{
    Joints velocity;
    for (int i = 0; i < kJoints; ++i) {
        const double gap = target_[i] - desired_.q[i];
        const Bounds bounds = velocity_bounds(limits_, i, desired_.q[i]);
        const double most = std::min(target_velocity_[i], gap > 0.0 ? bounds.upper : -bounds.lower);
        // Half of the acceleration, so that the arm can stop from what one period too many adds.
        const double slope = 0.5 * limits_.acceleration[i];
        const double wanted = std::min({most, std::sqrt(2.0 * slope * std::fabs(gap)), std::fabs(gap) / kPeriod});
        const double change = std::copysign(wanted, gap) - desired_.dq[i];
        velocity[i] = desired_.dq[i] + std::clamp(change, -2.0 * slope * kPeriod, 2.0 * slope * kPeriod);
    }
    take_joints(velocity);
}

Errors MotionGenerator::finish()
{
    Errors errors;
    for (int i = 0; i < kJoints; ++i) {
        if (std::fabs(desired_.dq[i]) > limits_.acceleration[i] * kPeriod + kVelocityRounding) {
            set(errors, joint_space() ? Error::kJointGeneratorVelocityDiscontinuity
                                      : Error::kCartesianGeneratorVelocityDiscontinuity);
        }
    }
    if (errors.none()) {
        reset(Joints(desired_.q));
    }
    return errors;
}

bool MotionGenerator::brake()
{
    bool at_rest = true;
    for (int i = 0; i < kJoints; ++i) {
        const double change = std::min(std::fabs(desired_.dq[i]), limits_.acceleration[i] * kPeriod);
        const double velocity = desired_.dq[i] - std::copysign(change, desired_.dq[i]);
        desired_.ddq[i] = (velocity - desired_.dq[i]) / kPeriod;
        desired_.dq[i] = velocity;
        desired_.q[i] = std::clamp(desired_.q[i] + velocity * kPeriod, limits_.lower[i], limits_.upper[i]);
        at_rest = at_rest && velocity == 0.0;
    }
    commanded_.velocity = commanded_.acceleration = {};
    return at_rest;
}

}  // namespace virtual_franka
