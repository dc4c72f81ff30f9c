// The arm's links as facts: kinematics by the published Denavit-Hartenberg parameters, masses and inertias.
//
// Both descriptions of the arm, the one that MuJoCo runs and the one that clients are given, are written from this one
// table. Masses, centres and inertias are those that Franka publishes for Research 3 (franka_description,
// robots/fr3/inertials.yaml). Franka publishes none for Panda, whose links are of the same build: it is given the same.
#pragma once

#include <string>

#include "geometry.h"
#include "limits.h"

namespace virtual_franka {

struct Link {
    /// Of the joint's frame in its parent's: m, and a turn about x in quarters. The joint turns about z.
    Vector3 origin;
    int quarter_turns;
    double mass;  ///< kg
    Vector3 centre;  ///< m, in the joint's frame
    std::array<double, 6> inertia;  ///< xx, yy, zz, xy, xz, yz about the centre, kg m^2
};

/// A body at the flange: kg, m and kg m^2 (3 x 3, about its centre), in the flange's frame.
struct FlangeBody {
    double mass;
    Vector3 centre;
    std::array<double, 9> inertia;
};

extern const std::array<Link, kJoints> kLinks;
constexpr double kFlangeOffset = 0.107;  ///< m, along z of joint 7

/// The Franka Hand as Desk describes it to the robot, and the frame of its fingertips in the flange's (turned by -45
/// degrees).
extern const FlangeBody kHand;
extern const Pose kFlangeToHand;
constexpr double kHandWidth = 0.08;  ///< m, the widest that its fingers open

/// What a motor's rotor adds to each joint's inertia, kg m^2. The interface's mass matrix leaves it out.
constexpr double kRotorInertia = 0.1;
/// What the robot's compensation leaves of its joints' friction, Nm s/rad.
constexpr double kJointDamping = 0.1;

/// The pose that Franka's examples begin with.
constexpr Joints kReadyPose = {
    0.0, -0.785398163397448, 0.0, -2.35619449019234, 0.0, 1.5707963267949, 0.785398163397448};

/// The arm and a floor for MuJoCo. `floor` is its height in the base's frame, m.
std::string arm_mjcf(const Limits &limits, double floor);
/// The arm for clients: it names joints and limits as libfranka looks them up.
std::string arm_urdf(const Limits &limits);

}  // namespace virtual_franka
