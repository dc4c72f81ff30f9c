// What the robot feels and watches on the moving arm, whatever it was commanded: contacts, ranges and speeds.
#pragma once

#include "errors.h"
#include "settings.h"
#include "simulation.h"

namespace virtual_franka {

/// Torques and wrenches are what the arm does to its surroundings, as the interface counts them.
struct Contact {
    Joints torque{};  ///< Low-pass filtered, Nm
    Twist base_wrench{}, own_wrench{};  ///< At the stiffness frame, seen from the base and from itself
    std::array<bool, kJoints> joint_contact{}, joint_collision{};
    std::array<bool, 6> cartesian_contact{}, cartesian_collision{};
};

class Monitor {
public:
    explicit Monitor(const Limits &limits) : limits_(limits) {}

    /// Take one period of the arm in; `explained` is what the configured load explains, Nm. Collisions that were felt
    /// before stay with `keep`, as they do until errors are recovered from.
    void feel(const Simulation &arm, const Settings &settings, const Joints &explained, bool accelerating, bool keep);
    /// The errors of the arm as it is.
    Errors check(const Simulation &arm, const Settings &settings, const Joints &tau) const;

    const Contact &contact() const { return contact_; }

private:
    const Limits &limits_;
    Contact contact_;
};

}  // namespace virtual_franka
