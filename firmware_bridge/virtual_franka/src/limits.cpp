#include "limits.h"

#include <algorithm>
#include <cmath>

namespace virtual_franka {
namespace {

constexpr Joints all(double value) { return {value, value, value, value, value, value, value}; }

// Panda's velocities do not depend on positions: with this it would stop within a micrometre.
constexpr double kNoDeceleration = 1e9;

}  // namespace

const Limits kFr3 = {
    "fr3",
    {-2.7501, -1.7918, -2.9065, -3.0481, -2.8101, 0.54092, -3.0196},
    {2.7501, 1.7918, 2.9065, -0.1458, 2.8101, 4.5205, 3.0196},
    {2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26},
    all(10.0),
    all(5000.0),
    {0.30, 0.20, 0.20, 0.30, 0.35, 0.35, 0.35},
    {6.0, 2.585, 3.5, 4.0, 17.0, 5.5, 17.0},
    {87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0},
    1000.0,
    {3.0, 9.0, 4500.0},
    {2.5, 17.0, 8500.0},
    {1.5, 10.0, 5000.0},
};

const Limits kPanda = {
    "panda",
    {-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973},
    {2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973},
    {2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61},
    {15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0},
    {7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0},
    all(0.0),
    all(kNoDeceleration),
    {87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0},
    1000.0,
    {1.7, 13.0, 6500.0},
    {2.5, 25.0, 12500.0},
    {2.175, 10.0, 5000.0},
};

Bounds velocity_bounds(const Limits &limits, int joint, double position)
{
    const double offset = limits.velocity_offset[joint], twice = 2.0 * limits.deceleration[joint];
    const double above = std::sqrt(std::max(0.0, twice * (limits.upper[joint] - position)));
    const double below = std::sqrt(std::max(0.0, twice * (position - limits.lower[joint])));
    return {std::max(-limits.velocity[joint], std::min(0.0, offset - below)),
            std::min(limits.velocity[joint], std::max(0.0, above - offset))};
}

}  // namespace virtual_franka
