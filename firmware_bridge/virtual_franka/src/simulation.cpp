#include "simulation.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "kinematics.h"

namespace virtual_franka {
namespace {

// Lighter than a payload that counts; MuJoCo wants a mass of every body that moves.
constexpr double kNoPayload = 1e-6;
const Vector3 kPayloadAt = {0.0, 0.0, 0.1034};

mjModel *compile(const std::string &xml)
{
    if (mj_version() != mjVERSION_HEADER) {
        throw std::runtime_error("MuJoCo is of version " + std::to_string(mj_version()) +
                                 ", and this program was built for " + std::to_string(mjVERSION_HEADER) +
                                 ": build it again");
    }
    mjVFS files;
    mj_defaultVFS(&files);
    mj_addBufferVFS(&files, "arm.xml", xml.data(), static_cast<int>(xml.size()));
    char error[512] = "";
    mjModel *model = mj_loadXML("arm.xml", &files, error, sizeof error);
    mj_deleteVFS(&files);
    if (!model) {
        throw std::runtime_error(std::string("MuJoCo refuses the arm: ") + error);
    }
    return model;
}

}  // namespace

Simulation::Simulation(const Limits &limits, double floor, const Joints &q)
    : model_(compile(arm_mjcf(limits, floor))), data_(mj_makeData(model_.get()))
{
    flange_ = mj_name2id(model_.get(), mjOBJ_BODY, "flange");
    payload_ = mj_name2id(model_.get(), mjOBJ_BODY, "payload");
    std::copy(q.begin(), q.end(), data_->qpos);
    read();
}

void Simulation::step(const Joints &torque)
{
    std::copy(torque.begin(), torque.end(), data_->ctrl);
    std::copy(push_.begin(), push_.end(), data_->xfrc_applied + 6 * flange_);
    mj_step2(model_.get(), data_.get());
    for (int finger = 0; finger < 2; ++finger) {
        data_->qpos[kJoints + finger] = 0.5 * width_;
        data_->qvel[kJoints + finger] = 0.0;
    }
    if (brakes_) {
        std::copy(q_.begin(), q_.end(), data_->qpos);
        std::fill_n(data_->qvel, kJoints, 0.0);
    }
    for (int i = 0; i < kJoints; ++i) {
        ddq_[i] = (data_->qvel[i] - dq_[i]) / kPeriod;
    }
    read();
}

void Simulation::read()
{
    mj_step1(model_.get(), data_.get());
    const int dofs = model_->nv;
    thread_local std::vector<double> full;
    full.resize(static_cast<std::size_t>(dofs) * dofs);
    mj_fullM(model_.get(), full.data(), data_->qM);
    std::copy_n(data_->qpos, kJoints, q_.begin());
    std::copy_n(data_->qvel, kJoints, dq_.begin());
    for (int i = 0; i < kJoints; ++i) {
        std::copy_n(&full[static_cast<std::size_t>(i) * dofs], kJoints, &mass_[i * kJoints]);
    }
    // The payload is weighed with the arm; what it adds is told apart as something that nobody's model knows of.
    const Joints unknown = gravity_of(q_, payload_mass_, kPayloadAt);
    const Jacobian at_flange = jacobian(q_, kIdentity);
    const Joints known = gravity();
    for (int i = 0; i < kJoints; ++i) {
        coriolis_[i] = data_->qfrc_bias[i] - known[i] - unknown[i];
        disturbance_[i] = data_->qfrc_constraint[i] - unknown[i];
        for (int row = 0; row < 3; ++row) {
            disturbance_[i] += at_flange[row * kJoints + i] * push_[row];
        }
    }
}

Joints Simulation::gravity() const
{
    Joints out = gravity_of(q_, kHand.mass, kHand.centre);
    const auto frames = joint_frames(q_);
    for (int i = 0; i < kJoints; ++i) {
        const Vector3 turned = rotate(frames[i], kLinks[i].centre);
        for (int joint = 0; joint <= i; ++joint) {
            const Vector3 at = position(frames[joint]), centre = position(frames[i]);
            const Vector3 lever = {centre[0] + turned[0] - at[0], centre[1] + turned[1] - at[1], 0.0};
            // The vertical part of axis x lever.
            out[joint] += 9.81 * kLinks[i].mass * (frames[joint][8] * lever[1] - frames[joint][9] * lever[0]);
        }
    }
    return out;
}

void Simulation::set_payload(double mass)
{
    payload_mass_ = mass;
    model_->body_mass[payload_] = std::max(mass, kNoPayload);
    const std::unique_ptr<mjData, FreeData> scratch(mj_makeData(model_.get()));
    mj_setConst(model_.get(), scratch.get());
}

}  // namespace virtual_franka
