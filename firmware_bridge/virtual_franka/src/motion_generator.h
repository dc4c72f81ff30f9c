// From commands to the joint motion that the robot's controller follows, with the checks that abort a motion.
#pragma once

#include "errors.h"
#include "kinematics.h"

namespace virtual_franka {

/// What the arm should do now: rad, rad/s, rad/s^2.
struct Desired {
    Joints q{}, dq{}, ddq{};
};

/// The same as commanded at the end effector and, with the elbow, beside it.
struct Commanded {
    Pose pose = kIdentity;
    Twist velocity{}, acceleration{};
    std::array<double, 2> elbow{};
    double elbow_velocity = 0.0, elbow_acceleration = 0.0;
};

class MotionGenerator {
public:
    explicit MotionGenerator(const Limits &limits) : limits_(limits) {}

    /// Be at rest at a position.
    void reset(const Joints &q);
    /// Go on from a motion that nobody commanded, such as one under a client's torques.
    void follow(const Joints &q, const Joints &dq);

    /// Begin a motion where the arm is desired to be.
    void start(Generator generator, const Pose &flange_to_ee);
    /// Move to this command, or report why it may not.
    Errors advance(const CommandMessage &command);
    /// Without a command the acceleration is held, as the interface does for lost packets.
    void extrapolate();
    /// End the motion: its last velocity must be one that a period can take away.
    Errors finish();
    /// One period of slowing down as fast as the joints may. Returns whether the arm is desired to be at rest.
    bool brake();

    bool at_rest() const { return desired_.dq == Joints{}; }
    const Desired &desired() const { return desired_; }
    const Commanded &commanded() const { return commanded_; }
    Generator generator() const { return generator_; }

    /// Let the generator plan itself: positions are targets that may come whenever they like.
    void set_asynchronous(const Joints &maximum_velocity) { asynchronous_ = true, target_velocity_ = maximum_velocity; }
    bool asynchronous() const { return asynchronous_; }

private:
    bool joint_space() const
    {
        return generator_ == Generator::kJointPosition || generator_ == Generator::kJointVelocity;
    }
    Errors advance_joints(const CommandMessage &command);
    Errors advance_pose(const CommandMessage &command);
    Errors advance_elbow(const CommandMessage &command);
    Errors check_joints(const Joints &velocity) const;
    void take_joints(const Joints &velocity);
    void take_twist(const Twist &velocity, const Pose &pose, bool with_elbow);
    Joints follow_pose(bool with_elbow) const;
    void approach_target();

    const Limits &limits_;
    Generator generator_ = Generator::kNone;
    Pose flange_to_ee_ = kIdentity;
    Desired desired_;
    Commanded commanded_;
    Joints target_{}, target_velocity_{};
    bool first_ = true, with_elbow_ = false, asynchronous_ = false;
};

}  // namespace virtual_franka
