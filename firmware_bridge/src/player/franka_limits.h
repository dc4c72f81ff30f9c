// What Franka Robotics publishes as limits of commanded motions. A command beyond them ends a motion with a reflex.
//
// Source of the Research 3 and the Panda: "Control interface specification and robot limits",
// https://frankarobotics.github.io/docs/robot_specifications.html. Of the earlier Research 3: the same page before 2025
// (position limits) and include/franka/rate_limiting.h of libfranka 0.13 to 0.15 (limits of velocity by position).
// Checked against differences of successive commands at 1 kHz; Cartesian limits bound the length of the vector.
#ifndef ST4VLA_PLAYER_FRANKA_LIMITS_H
#define ST4VLA_PLAYER_FRANKA_LIMITS_H

namespace st4vla::franka {

constexpr int kJoints = 7;
/// libfranka holds rotations of commanded poses to this share of the limit.
constexpr double kPoseRotationShare = 0.99;
/// From its base's plane upwards the arm reaches so far, metres: shoulder's height, and reach from there.
constexpr double kShoulderHeight_m = 0.333, kReach_m = 0.855;

/// In metres or radians, and seconds.
struct CartesianLimits {
    double velocity, acceleration, jerk;
};

/// In radians and seconds. Near an end of its range a joint of the Research 3 may move towards it at
/// `-velocity_offset + sqrt(2 * deceleration * distance to position_max)` at most; a Panda has no such rule (0, 0).
struct JointLimits {
    double position_min, position_max, velocity, acceleration, jerk, velocity_offset, deceleration;
};

struct Limits {
    CartesianLimits translation, rotation, elbow;
    JointLimits joints[kJoints];
};

constexpr Limits kResearch3 = {{3.0, 9.0, 4500.0},
                               {2.5, 17.0, 8500.0},
                               {2.62, 10.0, 5000.0},
                               {{-2.9007, 2.9007, 2.62, 10.0, 5000.0, 0.6599, 6.0},
                                {-1.8361, 1.8361, 2.62, 10.0, 5000.0, 0.2517, 2.585},
                                {-2.9007, 2.9007, 2.62, 10.0, 5000.0, 0.2000, 3.5},
                                {-3.0770, -0.1169, 2.62, 10.0, 5000.0, 0.3533, 4.0},
                                {-2.8763, 2.8763, 5.26, 10.0, 5000.0, 0.5757, 17.0},
                                {0.4398, 4.6216, 4.18, 10.0, 5000.0, 0.4878, 5.5},
                                {-3.0508, 3.0508, 5.26, 10.0, 5000.0, 0.4628, 17.0}}};

constexpr Limits kEarlyResearch3 = {{3.0, 9.0, 4500.0},
                                    {2.5, 17.0, 8500.0},
                                    {1.5, 10.0, 5000.0},
                                    {{-2.7501, 2.7501, 2.62, 10.0, 5000.0, 0.30, 6.0},
                                     {-1.7918, 1.7918, 2.62, 10.0, 5000.0, 0.20, 2.585},
                                     {-2.9065, 2.9065, 2.62, 10.0, 5000.0, 0.20, 3.5},
                                     {-3.0481, -0.1458, 2.62, 10.0, 5000.0, 0.30, 4.0},
                                     {-2.8101, 2.8101, 5.26, 10.0, 5000.0, 0.35, 17.0},
                                     {0.54092, 4.5205, 4.18, 10.0, 5000.0, 0.35, 5.5},
                                     {-3.0196, 3.0196, 5.26, 10.0, 5000.0, 0.35, 17.0}}};

constexpr Limits kPanda = {{1.7, 13.0, 6500.0},
                           {2.5, 25.0, 12500.0},
                           {2.175, 10.0, 5000.0},
                           {{-2.8973, 2.8973, 2.175, 15.0, 7500.0, 0.0, 0.0},
                            {-1.7628, 1.7628, 2.175, 7.5, 3750.0, 0.0, 0.0},
                            {-2.8973, 2.8973, 2.175, 10.0, 5000.0, 0.0, 0.0},
                            {-3.0718, -0.0698, 2.175, 12.5, 6250.0, 0.0, 0.0},
                            {-2.8973, 2.8973, 2.61, 15.0, 7500.0, 0.0, 0.0},
                            {-0.0175, 3.7525, 2.61, 20.0, 10000.0, 0.0, 0.0},
                            {-2.8973, 2.8973, 2.61, 20.0, 10000.0, 0.0, 0.0}}};

}  // namespace st4vla::franka

#endif  // ST4VLA_PLAYER_FRANKA_LIMITS_H
