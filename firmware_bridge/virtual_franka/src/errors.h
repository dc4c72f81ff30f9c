// The errors of the Franka Control Interface, in the order of its states.
#pragma once

#include <bitset>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "fci_messages.h"

namespace virtual_franka {

enum class Error : std::size_t {
    kJointPositionLimits,
    kCartesianPositionLimits,
    kSelfCollisionAvoidance,
    kJointVelocity,
    kCartesianVelocity,
    kForceControlSafety,
    kJointReflex,
    kCartesianReflex,
    kMaxGoalPoseDeviation,
    kMaxPathPoseDeviation,
    kCartesianVelocityProfileSafety,
    kJointStartPoseInvalid,
    kJointGeneratorPositionLimits,
    kJointGeneratorVelocityLimits,
    kJointGeneratorVelocityDiscontinuity,
    kJointGeneratorAccelerationDiscontinuity,
    kCartesianStartPoseInvalid,
    kCartesianGeneratorElbowLimit,
    kCartesianGeneratorVelocityLimits,
    kCartesianGeneratorVelocityDiscontinuity,
    kCartesianGeneratorAccelerationDiscontinuity,
    kCartesianGeneratorElbowSign,
    kCartesianGeneratorStartElbowInvalid,
    kForceControllerDesiredForceTolerance,
    kStartElbowSign,
    kCommunicationConstraints,
    kPowerLimit,
    kCartesianGeneratorJointPositionLimits,
    kCartesianGeneratorJointVelocityLimits,
    kCartesianGeneratorJointVelocityDiscontinuity,
    kCartesianGeneratorJointAccelerationDiscontinuity,
    kCartesianInvalidFrame,
    kControllerTorqueDiscontinuity,
    kJointP2pInsufficientTorque,
    kTauJRange,
    kInstability,
    kJointMoveInWrongDirection,
    kCartesianSpline,
    kJointViaPlanLimit,
    kBaseAccelerationTimeout,
    kBaseAccelerationInvalid,
};

using Errors = std::bitset<kErrorCount>;

inline void set(Errors &errors, Error error) { errors.set(static_cast<std::size_t>(error)); }
inline bool has(const Errors &errors, Error error) { return errors.test(static_cast<std::size_t>(error)); }

/// The name that libfranka's exceptions use.
const char *error_name(Error error);
std::optional<Error> error_named(std::string_view name);
/// As in `["joint_reflex", "cartesian_reflex"]`.
std::string error_names(const Errors &errors);

}  // namespace virtual_franka
