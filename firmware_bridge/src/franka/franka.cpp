// The arm through libfranka's active control: a state is read, a command is written, once a millisecond.
#include "st4vla/franka.h"

#include <franka/active_control_base.h>
#include <franka/control_types.h>
#include <franka/exception.h>
#include <franka/gripper.h>
#include <franka/robot.h>

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

namespace {

constexpr std::size_t kJoints = 7;
/// A grasp holds whatever lies between the fingers: any width between closed and open will do.
constexpr double kAnyWidth_m = 0.1;

using Mode = research_interface::robot::Move::ControllerMode;

void say(char *text, const char *what) noexcept
{
    if (text != nullptr) {
        std::snprintf(text, ST4VLA_CONTROL_TEXT_BYTES, "%s", what);
    }
}

template <std::size_t N>
std::array<double, N> array_of(const double (&values)[N])
{
    std::array<double, N> array{};
    std::copy_n(values, N, array.begin());
    return array;
}

/// libfranka's matrices are column-major, ours are not.
void transposed(const double *from, double *to) noexcept
{
    for (int row = 0; row < 4; ++row) {
        for (int column = 0; column < 4; ++column) {
            to[4 * row + column] = from[4 * column + row];
        }
    }
}

bool is_valid(const st4vla_franka_config &config) noexcept
{
    const auto positive = [](const double value) { return std::isfinite(value) && value > 0.0; };
    return std::all_of(config.torque_contact_Nm, config.torque_contact_Nm + kJoints, positive) &&
           std::all_of(config.torque_collision_Nm, config.torque_collision_Nm + kJoints, positive) &&
           std::all_of(config.force_contact_N, config.force_contact_N + 6, positive) &&
           std::all_of(config.force_collision_N, config.force_collision_N + 6, positive) &&
           positive(config.gripper_width_m) && positive(config.gripper_speed_m_s) && positive(config.gripper_force_N);
}

/// Something or somebody was touched.
bool is_collision(const franka::Errors &errors) noexcept
{
    return errors.joint_reflex || errors.cartesian_reflex || errors.self_collision_avoidance_violation ||
           errors.tau_j_range_violation || errors.force_control_safety_violation;
}

/// Gives the calling thread back the scheduling that it had. libfranka gives whichever thread connects the highest real-time
/// priority there is; threads that it begins after that, of cameras and sockets, would come before the control loop.
class KeptScheduling {
public:
    KeptScheduling() { known_ = pthread_getschedparam(pthread_self(), &policy_, &parameters_) == 0; }
    ~KeptScheduling()
    {
        if (known_) {
            pthread_setschedparam(pthread_self(), policy_, &parameters_);
        }
    }
    KeptScheduling(const KeptScheduling &) = delete;
    KeptScheduling &operator=(const KeptScheduling &) = delete;

private:
    bool known_ = false;
    int policy_ = SCHED_OTHER;
    sched_param parameters_{};
};

}  // namespace

struct st4vla_franka {
    st4vla_franka(const char *address, const st4vla_franka_config &given)
        : config(given),
          robot(address, given.real_time != 0 ? franka::RealtimeConfig::kEnforce : franka::RealtimeConfig::kIgnore)
    {
        robot.setCollisionBehavior(array_of(config.torque_contact_Nm), array_of(config.torque_collision_Nm),
                                   array_of(config.force_contact_N), array_of(config.force_collision_N));
        if (config.gripper != 0) {
            hand.emplace(address);
        }
    }

    void read(st4vla_robot_state &state);
    void write(const st4vla_player_setpoint &setpoint, bool last);
    bool grip(st4vla_player_gripper event);

    const st4vla_franka_config config;
    franka::Robot robot;
    std::optional<franka::Gripper> hand;
    std::unique_ptr<franka::ActiveControlBase> active;
};

void st4vla_franka::read(st4vla_robot_state &state)
{
    if (active == nullptr) {
        const Mode mode = config.impedance != 0 ? Mode::kCartesianImpedance : Mode::kJointImpedance;
        active = config.joints != 0 ? robot.startJointPositionControl(mode) : robot.startCartesianPoseControl(mode);
    }
    const auto [measured, since] = active->readOnce();
    state.ticks = static_cast<std::uint32_t>(since.toMSec());
    state.joint_count = kJoints;
    std::copy(measured.q.begin(), measured.q.end(), state.joint_positions_rad);
    std::copy(measured.dq.begin(), measured.dq.end(), state.joint_velocities_rad_s);
    std::copy(measured.q_d.begin(), measured.q_d.end(), state.commanded_positions_rad);
    transposed(measured.O_T_EE.data(), state.base_T_ee);
    transposed(measured.O_T_EE_c.data(), state.commanded_base_T_ee);
}

void st4vla_franka::write(const st4vla_player_setpoint &setpoint, bool last)
{
    if (config.joints != 0) {
        std::array<double, kJoints> joints{};
        std::copy_n(setpoint.joint_positions_rad, kJoints, joints.begin());
        franka::JointPositions command(joints);
        command.motion_finished = last;
        active->writeOnce(command);
    } else {
        std::array<double, 16> pose{};
        transposed(setpoint.base_T_ee, pose.data());
        franka::CartesianPose command(pose);
        command.motion_finished = last;
        active->writeOnce(command);
    }
    if (last) {
        active.reset();
    }
}

bool st4vla_franka::grip(st4vla_player_gripper event)
{
    if (!hand) {
        return false;
    }
    if (event == ST4VLA_PLAYER_GRIPPER_OPEN) {
        return hand->move(config.gripper_width_m, config.gripper_speed_m_s);
    }
    return hand->grasp(0.0, config.gripper_speed_m_s, config.gripper_force_N, kAnyWidth_m, kAnyWidth_m);
}

namespace {

/// Run something that may throw: a status, with what was thrown as text.
template <typename Function>
st4vla_franka_status guarded(char *text, Function function) noexcept
{
    try {
        function();
        return ST4VLA_FRANKA_OK;
    } catch (const franka::CommandException &error) {
        say(text, error.what());
        return ST4VLA_FRANKA_REFUSED;
    } catch (const std::exception &error) {
        say(text, error.what());
    } catch (...) {
        say(text, "libfranka threw what is no std::exception");
    }
    return ST4VLA_FRANKA_NOT_REACHED;
}

/// A part of a motion: 0, or 1 if it has ended by itself. One that was cut off cannot be written to any more.
template <typename Function>
int moved(st4vla_franka &franka, char *text, Function function) noexcept
{
    if (guarded(text, function) == ST4VLA_FRANKA_OK) {
        return 0;
    }
    franka.active.reset();
    return 1;
}

int read(void *user, st4vla_robot_state *state, char *text)
{
    auto &franka = *static_cast<st4vla_franka *>(user);
    return moved(franka, text, [&] { franka.read(*state); });
}

int write(void *user, const st4vla_player_setpoint *setpoint, int last, char *text)
{
    auto &franka = *static_cast<st4vla_franka *>(user);
    return moved(franka, text, [&] { franka.write(*setpoint, last != 0); });
}

/// In a thread of its own, beside read and write: it must leave the motion alone.
int grip(void *user, st4vla_player_gripper event, char *text)
{
    bool done = false;
    const auto status = guarded(text, [&] { done = static_cast<st4vla_franka *>(user)->grip(event); });
    if (status == ST4VLA_FRANKA_OK && !done) {
        say(text, "the gripper did not do what it was told");
    }
    return done ? 0 : 1;
}

}  // namespace

uint32_t st4vla_franka_abi_version(void) { return ST4VLA_FRANKA_ABI_VERSION; }

const char *st4vla_franka_message(st4vla_franka_status status)
{
    switch (status) {
    case ST4VLA_FRANKA_OK:
        return "done";
    case ST4VLA_FRANKA_BAD_ARGUMENT:
        return "a pointer is NULL, or a threshold, width, speed or force is not a positive number";
    case ST4VLA_FRANKA_NOT_REACHED:
        return "no Franka answers there: check its address, that its interface (FCI) is activated, and its version";
    case ST4VLA_FRANKA_REFUSED:
        return "the robot refused a command; its text says why";
    case ST4VLA_FRANKA_NEEDS_OPERATOR:
        return "it stopped at a collision, or its stop is pressed: look at the arm first, then say so";
    }
    return "no status of the Franka";
}

void st4vla_franka_config_default(st4vla_franka_config *config)
{
    if (config == nullptr) {
        return;
    }
    *config = {};
    config->real_time = config->gripper = 1;
    std::fill_n(config->torque_contact_Nm, kJoints, 20.0);
    std::fill_n(config->torque_collision_Nm, kJoints, 20.0);
    for (int axis = 0; axis < 6; ++axis) {
        config->force_contact_N[axis] = config->force_collision_N[axis] = axis < 3 ? 20.0 : 25.0;
    }
    config->gripper_width_m = 0.08;
    config->gripper_speed_m_s = 0.1;
    config->gripper_force_N = 20.0;
}

st4vla_franka_status st4vla_franka_open(const char *address, const st4vla_franka_config *config,
                                        st4vla_franka **franka, char *text)
{
    if (franka == nullptr) {
        return ST4VLA_FRANKA_BAD_ARGUMENT;
    }
    *franka = nullptr;
    if (address == nullptr || config == nullptr || !is_valid(*config)) {
        return ST4VLA_FRANKA_BAD_ARGUMENT;
    }
    return guarded(text, [&] {
        const KeptScheduling kept;
        *franka = new st4vla_franka(address, *config);
    });
}

void st4vla_franka_close(st4vla_franka *franka) { delete franka; }

st4vla_franka_status st4vla_franka_robot(st4vla_franka *franka, st4vla_robot *robot)
{
    if (franka == nullptr || robot == nullptr) {
        return ST4VLA_FRANKA_BAD_ARGUMENT;
    }
    *robot = {};
    robot->user = franka;
    robot->joints = franka->config.joints;
    robot->read = read;
    robot->write = write;
    robot->gripper = franka->hand ? grip : nullptr;
    return ST4VLA_FRANKA_OK;
}

st4vla_franka_status st4vla_franka_recover(st4vla_franka *franka, int looked, char *text)
{
    if (franka == nullptr) {
        return ST4VLA_FRANKA_BAD_ARGUMENT;
    }
    bool needs_operator = false;
    const auto status = guarded(text, [&] {
        const franka::RobotState state = franka->robot.readOnce();
        const bool held = state.robot_mode == franka::RobotMode::kUserStopped ||
                          state.robot_mode == franka::RobotMode::kGuiding;
        needs_operator = held || (looked == 0 && is_collision(state.last_motion_errors));
        if (needs_operator) {
            say(text, static_cast<std::string>(state.last_motion_errors).c_str());
        } else {
            franka->robot.automaticErrorRecovery();
        }
    });
    return needs_operator ? ST4VLA_FRANKA_NEEDS_OPERATOR : status;
}
