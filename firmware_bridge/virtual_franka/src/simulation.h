// MuJoCo behind the arm: torques in, motion out, one millisecond a step.
#pragma once

#include <memory>

#include <mujoco/mujoco.h>

#include "arm.h"

namespace virtual_franka {

/// Row-major [7, 7], kg m^2
using MassMatrix = std::array<double, kJoints * kJoints>;

class Simulation {
public:
    /// Throws std::runtime_error when MuJoCo is of another version or refuses the model.
    Simulation(const Limits &limits, double floor, const Joints &q);

    /// Let torques of the motors act for one period.
    void step(const Joints &torque);

    const Joints &q() const { return q_; }
    const Joints &dq() const { return dq_; }
    const Joints &ddq() const { return ddq_; }
    /// With the rotors of the motors.
    const MassMatrix &mass() const { return mass_; }
    /// Of the arm and the hand, but of no payload.
    Joints gravity() const;
    /// Coriolis and centrifugal torques.
    const Joints &coriolis() const { return coriolis_; }
    /// What contacts, pushes and the payload do to the joints, Nm: what a model of arm and hand does not explain.
    const Joints &disturbance() const { return disturbance_; }

    /// A force on the flange (N, in the base's frame), until it is set anew.
    void push(const Vector3 &force) { push_ = force; }
    /// A mass between the fingers, kg.
    void set_payload(double mass);
    void set_fingers(double width) { width_ = width; }
    /// Brakes hold each joint where it is.
    void set_brakes(bool closed) { brakes_ = closed; }

private:
    struct FreeModel {
        void operator()(mjModel *model) const { mj_deleteModel(model); }
    };
    struct FreeData {
        void operator()(mjData *data) const { mj_deleteData(data); }
    };

    /// Bring what depends on positions and velocities up to date.
    void read();

    std::unique_ptr<mjModel, FreeModel> model_;
    std::unique_ptr<mjData, FreeData> data_;
    int flange_ = 0, payload_ = 0;
    Joints q_{}, dq_{}, ddq_{}, coriolis_{}, disturbance_{};
    MassMatrix mass_{};
    Vector3 push_{};
    double payload_mass_ = 0.0, width_ = kHandWidth;
    bool brakes_ = false;
};

}  // namespace virtual_franka
