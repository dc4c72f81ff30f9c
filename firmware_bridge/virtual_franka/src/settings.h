// What clients set and the robot remembers until it is switched off.
#pragma once

#include "controller.h"
#include "fci_messages.h"

namespace virtual_franka {

struct Settings {
    Stiffness stiffness;
    CollisionBehavior collision;
    GuidingMode guiding{};
    Pose nominal_to_ee = kIdentity;  ///< NE_T_EE
    Pose ee_to_stiffness = kIdentity;  ///< EE_T_K
    Load load{};

    Settings();

    Pose flange_to_ee() const { return kFlangeToHand * nominal_to_ee; }
    Pose flange_to_stiffness() const { return flange_to_ee() * ee_to_stiffness; }

    // Each takes a request's payload, and refuses (false) what the robot would: not finite, negative, or out of range.
    bool take(const CollisionBehavior &value);
    bool take_joint_stiffness(const Joints &value);
    bool take_cartesian_stiffness(const Twist &value);
    bool take_load(const Load &value);
    static bool take_pose(const Pose &value, Pose &out);
};

}  // namespace virtual_franka
