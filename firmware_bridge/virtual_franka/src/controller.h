// The robot's own controllers: torques that follow the desired motion, without gravity.
#pragma once

#include "motion_generator.h"
#include "simulation.h"

namespace virtual_franka {

/// Nm/rad for joints; N/m and Nm/rad at the end effector.
struct Stiffness {
    Joints joint = {3000.0, 3000.0, 3000.0, 2500.0, 2500.0, 2000.0, 2000.0};
    Twist cartesian = {3000.0, 3000.0, 3000.0, 300.0, 300.0, 300.0};
};

/// Springs at the joints, damped critically, with the torques that the motion itself asks for.
Joints joint_impedance(const Simulation &arm, const Desired &desired, const Stiffness &stiffness);
/// Springs at the end effector; its null space is held by soft springs at the joints.
Joints cartesian_impedance(const Simulation &arm, const Desired &desired, const Stiffness &stiffness,
                           const Pose &flange_to_ee);
/// What lets a guide move the arm by hand: a little damping.
Joints guided(const Simulation &arm);

}  // namespace virtual_franka
