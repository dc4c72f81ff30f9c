#include "settings.h"

#include <algorithm>
#include <cmath>

namespace virtual_franka {
namespace {

// Of Franka's documentation of setJointImpedance and setCartesianImpedance.
constexpr double kMostJointStiffness = 14250.0, kMostTranslationStiffness = 3000.0, kMostRotationStiffness = 300.0;
// What Franka's arms carry, kg, and further away than any tool reaches, m.
constexpr double kMostLoad = 3.0, kMostOffset = 10.0;

bool within(double value, double most) { return value >= 0.0 && value <= most; }

template <std::size_t Size>
bool are_thresholds(const double (&lower)[Size], const double (&upper)[Size])
{
    for (std::size_t i = 0; i < Size; ++i) {
        if (!(lower[i] >= 0.0 && upper[i] >= 0.0 && std::isfinite(lower[i]) && std::isfinite(upper[i]))) {
            return false;
        }
    }
    return true;
}

}  // namespace

Settings::Settings()
{
    // What the examples of libfranka set.
    std::fill_n(collision.lower_torque_acceleration, 4 * kJoints, 20.0);
    std::fill_n(collision.lower_force_acceleration, 4 * 6, 20.0);
    std::fill_n(collision.upper_torque_acceleration, kJoints, 40.0);
    std::fill_n(collision.upper_torque_nominal, kJoints, 40.0);
    std::fill_n(collision.upper_force_acceleration, 6, 40.0);
    std::fill_n(collision.upper_force_nominal, 6, 40.0);
}

bool Settings::take(const CollisionBehavior &value)
{
    if (!are_thresholds(value.lower_torque_acceleration, value.upper_torque_acceleration) ||
        !are_thresholds(value.lower_torque_nominal, value.upper_torque_nominal) ||
        !are_thresholds(value.lower_force_acceleration, value.upper_force_acceleration) ||
        !are_thresholds(value.lower_force_nominal, value.upper_force_nominal)) {
        return false;
    }
    collision = value;
    return true;
}

bool Settings::take_joint_stiffness(const Joints &value)
{
    if (!std::all_of(value.begin(), value.end(), [](double k) { return within(k, kMostJointStiffness); })) {
        return false;
    }
    stiffness.joint = value;
    return true;
}

bool Settings::take_cartesian_stiffness(const Twist &value)
{
    for (int i = 0; i < 6; ++i) {
        if (!within(value[i], i < 3 ? kMostTranslationStiffness : kMostRotationStiffness)) {
            return false;
        }
    }
    stiffness.cartesian = value;
    return true;
}

bool Settings::take_load(const Load &value)
{
    const auto finite = [](double number) { return std::isfinite(number); };
    const auto near = [](double number) { return std::fabs(number) <= kMostOffset; };
    if (!within(value.mass, kMostLoad) || !std::all_of(value.centre, value.centre + 3, near) ||
        !std::all_of(value.inertia, value.inertia + 9, finite)) {
        return false;
    }
    load = value;
    return true;
}

bool Settings::take_pose(const Pose &value, Pose &out)
{
    if (!is_pose(value) || !(norm(value[12], value[13], value[14]) <= kMostOffset)) {
        return false;
    }
    out = value;
    return true;
}

}  // namespace virtual_franka
