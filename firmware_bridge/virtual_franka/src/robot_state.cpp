// The state that a robot sends each millisecond.
#include <algorithm>
#include <iterator>

#include "robot.h"

namespace virtual_franka {

double Robot::success_rate() const
{
    if (mode_ != RobotMode::kMove || received_.empty()) {
        return 0.0;
    }
    return static_cast<double>(std::count(received_.begin(), received_.end(), true)) /
           static_cast<double>(received_.size());
}

void Robot::write(StateMessage &out) const
{
    const auto put = [](auto &to, const auto &from) {
        std::transform(std::begin(from), std::end(from), std::begin(to),
                       [](double value) { return static_cast<float>(value); });
    };
    const Pose to_ee = settings_.flange_to_ee();
    const Desired &desired = generator_.desired();
    const Commanded &commanded = generator_.commanded();
    const Contact &contact = monitor_.contact();
    Twist twist{};
    const Jacobian at_ee = jacobian(desired.q, to_ee);
    for (int row = 0; row < 6; ++row) {
        for (int i = 0; i < kJoints; ++i) {
            twist[row] += at_ee[row * kJoints + i] * desired.dq[i];
        }
    }
    const bool moving = mode_ == RobotMode::kMove;
    const auto generator = static_cast<uint8_t>(static_cast<uint8_t>(generator_.generator()) + 1);
    out.generator = moving ? static_cast<StateGenerator>(generator) : StateGenerator::kIdle;
    out.controller = moving ? controller_ : Controller::kOther;
    out.mode = mode_;
    out.control_command_success_rate = static_cast<float>(success_rate());
    for (std::size_t i = 0; i < kErrorCount; ++i) {
        out.errors[i] = errors_.test(i);
        out.reflex_reason[i] = reflex_reason_.test(i);
    }
    put(out.O_T_EE, forward(arm_.q(), to_ee));
    put(out.O_T_EE_d, forward(desired.q, to_ee));
    put(out.O_T_EE_c, moving ? commanded.pose : forward(desired.q, to_ee));
    put(out.F_T_EE, to_ee);
    put(out.EE_T_K, settings_.ee_to_stiffness);
    put(out.F_T_NE, kFlangeToHand);
    put(out.NE_T_EE, settings_.nominal_to_ee);
    out.m_ee = static_cast<float>(kHand.mass);
    put(out.I_ee, kHand.inertia);
    put(out.F_x_Cee, kHand.centre);
    out.m_load = static_cast<float>(settings_.load.mass);
    put(out.I_load, settings_.load.inertia);
    put(out.F_x_Cload, settings_.load.centre);
    put(out.elbow, elbow_of(arm_.q()));
    put(out.elbow_d, elbow_of(desired.q));
    put(out.elbow_c, moving ? commanded.elbow : elbow_of(desired.q));
    out.delbow_c[0] = static_cast<float>(commanded.elbow_velocity);
    out.ddelbow_c[0] = static_cast<float>(commanded.elbow_acceleration);
    put(out.tau_J, tau_);
    put(out.tau_J_d, tau_d_);
    put(out.dtau_J, dtau_);
    put(out.q, arm_.q());
    put(out.dq, arm_.dq());
    put(out.q_d, desired.q);
    put(out.dq_d, desired.dq);
    put(out.ddq_d, desired.ddq);
    put(out.theta, arm_.q());
    put(out.dtheta, arm_.dq());
    put(out.joint_contact, contact.joint_contact);
    put(out.joint_collision, contact.joint_collision);
    put(out.cartesian_contact, contact.cartesian_contact);
    put(out.cartesian_collision, contact.cartesian_collision);
    put(out.tau_ext_hat_filtered, contact.torque);
    put(out.O_F_ext_hat_K, contact.base_wrench);
    put(out.K_F_ext_hat_K, contact.own_wrench);
    put(out.O_dP_EE_d, twist);
    put(out.O_dP_EE_c, commanded.velocity);
    put(out.O_ddP_EE_c, commanded.acceleration);
    put(out.O_ddP_O, Vector3{0.0, 0.0, -9.81});
}

}  // namespace virtual_franka
