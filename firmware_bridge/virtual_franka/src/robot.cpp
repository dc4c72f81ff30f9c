#include "robot.h"

#include <algorithm>
#include <cmath>

#include "rate_check.h"

namespace virtual_franka {
namespace {

// Replies to StopMove and AutomaticErrorRecovery that only they have; 0 and 1 are those of all.
enum class StopStatus : uint8_t { kSuccess, kNotPossible, kRejectedBySafety, kEmergencyAborted, kReflexAborted };

/// Poses in which a Cartesian motion cannot begin: the arm stretched out.
constexpr double kSingular = 1e-3;

/// A float32 of a torque below 128 Nm, as libfranka's rate limiter reads it back.
constexpr double kTorqueRounding = 4e-6;

bool sound(const Deviation &deviation)
{
    return deviation.translation >= 0.0 && deviation.rotation >= 0.0 && deviation.elbow >= 0.0;
}

/// The torques of a message, in which they do not lie as doubles must.
Joints torques_of(const CommandMessage &command)
{
    Joints out;
    for (int i = 0; i < kJoints; ++i) {
        out[i] = command.tau_J_d[i];
    }
    return out;
}

/// Poses are checked as such, and named when they are none.
bool finite(const CommandMessage &command)
{
    bool out = std::isfinite(command.elbow_c[0]) && std::isfinite(command.elbow_c[1]);
    for (int i = 0; i < kJoints; ++i) {
        out = out && std::isfinite(command.q_c[i]) && std::isfinite(command.dq_c[i]) && std::isfinite(command.tau_J_d[i]);
    }
    for (int i = 0; i < 6; ++i) {
        out = out && std::isfinite(command.O_dP_EE_c[i]);
    }
    return out;
}

}  // namespace

Robot::Robot(const Limits &limits, Simulation &arm, const Joints &q)
    : limits_(limits), arm_(arm), generator_(limits), monitor_(limits)
{
    generator_.reset(q);
}

MoveStatus Robot::move(uint32_t id, const MoveRequest &request)
{
    if (mode_ != RobotMode::kIdle || !generator_.at_rest()) {
        return MoveStatus::kNotPossible;
    }
    if (request.controller > static_cast<uint32_t>(Controller::kExternal) ||
        request.generator > static_cast<uint32_t>(Generator::kNone) || !sound(request.path) || !sound(request.goal)) {
        return MoveStatus::kInvalidArgument;
    }
    const auto generator = static_cast<Generator>(request.generator);
    const auto controller = static_cast<Controller>(request.controller);
    const bool cartesian = generator == Generator::kCartesianPose || generator == Generator::kCartesianVelocity;
    if (generator == Generator::kNone && controller != Controller::kExternal) {
        return MoveStatus::kInvalidArgument;
    }
    if (cartesian && manipulability(jacobian(arm_.q(), settings_.flange_to_ee())) < kSingular) {
        return MoveStatus::kStartAtSingularPose;
    }
    mode_ = RobotMode::kMove;
    controller_ = controller;
    move_id_ = id;
    reflex_reason_.reset();
    generator_.start(generator, settings_.flange_to_ee());
    if (request.asynchronous) {
        Joints velocity;
        for (int i = 0; i < kJoints; ++i) {
            velocity[i] = request.maximum_velocity[i];
        }
        generator_.set_asynchronous(velocity);
    }
    received_.clear();
    waited_ = lost_ = 0;
    commanded_ = false;
    tracking_error_ = 0.0;
    return MoveStatus::kMotionStarted;
}

void Robot::stop(uint32_t id)
{
    if (mode_ == RobotMode::kMove) {
        if (external()) {
            hold();
        }
        stop_id_ = id;
        ending_ = MoveStatus::kPreempted;
    } else {
        // Whatever ended the motion, a client that clears up after itself asks for this as well.
        replies_.push_back({Request::kStopMove, id, static_cast<uint8_t>(Status::kSuccess)});
    }
}

void Robot::recover(uint32_t id)
{
    if (mode_ == RobotMode::kReflex) {
        errors_.reset();
        recovery_id_ = id;
        mode_ = RobotMode::kAutomaticErrorRecovery;
    } else {
        const bool fine = mode_ == RobotMode::kIdle;
        replies_.push_back({Request::kAutomaticErrorRecovery, id,
                            static_cast<uint8_t>(fine ? Status::kSuccess : Status::kNotPossible)});
    }
}

std::vector<Reply> Robot::take_replies()
{
    std::vector<Reply> out;
    out.swap(replies_);
    return out;
}

void Robot::advance(const CommandMessage *command)
{
    if (mode_ == RobotMode::kMove && !ending_) {
        run_motion(command);
    } else {
        settle();
    }
    load_gravity_ = gravity_of(arm_.q(), settings_.load.mass,
                               {settings_.load.centre[0], settings_.load.centre[1], settings_.load.centre[2]});
    const Joints gravity = arm_.gravity(), before = tau_;
    if (!(mode_ == RobotMode::kMove && external())) {
        tau_d_ = control();
    }
    Joints motor;
    for (int i = 0; i < kJoints; ++i) {
        motor[i] = tau_d_[i] + gravity[i] + load_gravity_[i];
    }
    if (push_periods_ > 0 && --push_periods_ == 0) {
        arm_.push({});
    }
    arm_.step(motor);
    bool accelerating = false;
    for (int i = 0; i < kJoints; ++i) {
        // Sensors sit behind the gears: they do not feel what turns the rotors.
        tau_[i] = motor[i] - kRotorInertia * arm_.ddq()[i];
        dtau_[i] = (tau_[i] - before[i]) / kPeriod;
        accelerating = accelerating || std::fabs(generator_.desired().ddq[i]) > 0.01 * limits_.acceleration[i];
        if (mode_ == RobotMode::kMove && !external()) {
            tracking_error_ = std::max(tracking_error_, std::fabs(generator_.desired().q[i] - arm_.q()[i]));
        }
    }
    monitor_.feel(arm_, settings_, load_gravity_, accelerating, mode_ == RobotMode::kReflex);
    if (mode_ == RobotMode::kMove) {
        const Errors errors = monitor_.check(arm_, settings_, motor);
        if (errors.any()) {
            reflex(errors);
        }
    }
}

void Robot::run_motion(const CommandMessage *command)
{
    if (!command) {
        generator_.extrapolate();
        if (!count(false)) {
            Errors errors;
            set(errors, Error::kCommunicationConstraints);
            reflex(errors);
        }
        return;
    }
    count(true);
    if (!finite(*command)) {
        end_motion(MoveStatus::kInputErrorAborted, RobotMode::kIdle);
        return;
    }
    const bool finished = command->motion_finished || command->torque_finished;
    const bool planned = external() || generator_.asynchronous();
    Errors errors;
    // libfranka ends asynchronous control with a position of zeros, which is no target.
    if (!(generator_.asynchronous() && finished)) {
        errors = generator_.advance(*command);
    }
    if (external()) {
        const Joints torques = torques_of(*command);
        for (int i = 0; i < kJoints; ++i) {
            if (std::fabs(torques[i] - tau_d_[i]) > limits_.torque_rate * kPeriod + kTorqueRounding) {
                set(errors, Error::kControllerTorqueDiscontinuity);
            }
        }
        if (errors.none()) {
            tau_d_ = torques;
        }
        if (generator_.generator() == Generator::kNone) {
            // Torques alone: what is desired is what the arm does.
            generator_.follow(arm_.q(), arm_.dq());
        }
    }
    if (finished && errors.none() && !planned) {
        errors = generator_.finish();
    }
    if (errors.any()) {
        reflex(errors);
    } else if (finished && planned) {
        // Nobody promised that the arm would be at rest by now.
        if (external()) {
            hold();
        }
        ending_ = MoveStatus::kSuccess;
    } else if (finished) {
        end_motion(MoveStatus::kSuccess, RobotMode::kIdle);
    }
}

bool Robot::count(bool received)
{
    commanded_ = commanded_ || received;
    if (generator_.asynchronous() || (!commanded_ && ++waited_ < kFirstCommandPackets)) {
        return true;
    }
    lost_ = received ? 0 : lost_ + 1;
    lost_commands_ += received ? 0 : 1;
    received_.push_back(received);
    if (received_.size() > kCountedPackets) {
        received_.erase(received_.begin());
    }
    return lost_ < kLostPackets;
}

void Robot::settle()
{
    if (mode_ == RobotMode::kGuiding || mode_ == RobotMode::kOther) {
        generator_.reset(arm_.q());
        return;
    }
    if (generator_.brake()) {
        if (mode_ == RobotMode::kMove) {
            end_motion(ending_.value_or(MoveStatus::kPreempted), RobotMode::kIdle);
        } else if (mode_ == RobotMode::kAutomaticErrorRecovery) {
            mode_ = RobotMode::kIdle;
            if (recovery_id_) {
                replies_.push_back(
                    {Request::kAutomaticErrorRecovery, *recovery_id_, static_cast<uint8_t>(Status::kSuccess)});
                recovery_id_.reset();
            }
        }
    }
}

Joints Robot::control() const
{
    if (mode_ == RobotMode::kGuiding) {
        return guided(arm_);
    }
    if (mode_ == RobotMode::kMove && controller_ == Controller::kCartesianImpedance) {
        return cartesian_impedance(arm_, generator_.desired(), settings_.stiffness, settings_.flange_to_ee());
    }
    // At rest the robot is as stiff as it ever is, whatever a client set for its motions.
    return joint_impedance(arm_, generator_.desired(), mode_ == RobotMode::kMove ? settings_.stiffness : Stiffness{});
}

void Robot::hold() { generator_.follow(arm_.q(), arm_.dq()), controller_ = Controller::kJointImpedance; }

void Robot::end_motion(MoveStatus status, RobotMode mode)
{
    if (external()) {
        hold();
    }
    if (move_id_) {
        replies_.push_back({Request::kMove, *move_id_, static_cast<uint8_t>(status)});
    }
    if (stop_id_) {
        const StopStatus stopped = status == MoveStatus::kReflexAborted      ? StopStatus::kReflexAborted
                                   : status == MoveStatus::kEmergencyAborted ? StopStatus::kEmergencyAborted
                                                                             : StopStatus::kSuccess;
        replies_.push_back({Request::kStopMove, *stop_id_, static_cast<uint8_t>(stopped)});
    }
    if (recovery_id_ && mode != RobotMode::kIdle) {
        replies_.push_back(
            {Request::kAutomaticErrorRecovery, *recovery_id_, static_cast<uint8_t>(Status::kNotPossible)});
        recovery_id_.reset();
    }
    move_id_.reset();
    stop_id_.reset();
    ending_.reset();
    mode_ = mode;
    controller_ = Controller::kOther;
    received_.clear();
}

void Robot::reflex(const Errors &errors)
{
    errors_ = reflex_reason_ = errors;
    end_motion(MoveStatus::kReflexAborted, RobotMode::kReflex);
}

void Robot::user_stop(bool pressed)
{
    if (pressed) {
        end_motion(MoveStatus::kEmergencyAborted, RobotMode::kUserStopped);
    } else if (mode_ == RobotMode::kUserStopped) {
        errors_.reset();
        mode_ = RobotMode::kIdle;
    }
}

void Robot::guide(bool pressed)
{
    if (pressed && (mode_ == RobotMode::kIdle || mode_ == RobotMode::kUserStopped)) {
        mode_ = RobotMode::kGuiding;
    } else if (!pressed && mode_ == RobotMode::kGuiding) {
        generator_.follow(arm_.q(), arm_.dq());
        mode_ = RobotMode::kIdle;
    }
}

void Robot::emergency_stop()
{
    end_motion(MoveStatus::kEmergencyAborted, RobotMode::kOther);
    arm_.set_brakes(true);
}

void Robot::open_brakes()
{
    if (mode_ == RobotMode::kOther) {
        arm_.set_brakes(false);
        generator_.reset(arm_.q());
        errors_.reset();
        mode_ = RobotMode::kIdle;
    }
}

void Robot::push(const Vector3 &force, int periods)
{
    arm_.push(force);
    push_periods_ = periods;
}

void Robot::forget_client()
{
    replies_.clear();
    move_id_.reset();
    stop_id_.reset();
    recovery_id_.reset();
    if (mode_ == RobotMode::kMove && generator_.asynchronous()) {
        // Targets may be late for ever; a client that is gone sends none.
        Errors errors;
        set(errors, Error::kCommunicationConstraints);
        reflex(errors);
    }
}

}  // namespace virtual_franka
