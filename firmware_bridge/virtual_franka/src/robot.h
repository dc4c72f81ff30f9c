// The robot behind the interface: its modes, what ends a motion, and one millisecond of its life.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "controller.h"
#include "errors.h"
#include "monitor.h"
#include "motion_generator.h"
#include "settings.h"
#include "simulation.h"

namespace virtual_franka {

/// Lost packets in a row that end a motion, and packets that the success rate counts.
constexpr int kLostPackets = 20;
constexpr int kCountedPackets = 100;
/// Packets that a client may take to send its first command.
constexpr int kFirstCommandPackets = 200;

/// A status that is due to a request that was answered before, or could not be answered at once.
struct Reply {
    Request request;
    uint32_t id;
    uint8_t status;
};

class Robot {
public:
    Robot(const Limits &limits, Simulation &arm, const Joints &q);

    // Requests. What cannot be answered at once is answered by `take_replies`.
    MoveStatus move(uint32_t id, const MoveRequest &request);
    void stop(uint32_t id);
    void recover(uint32_t id);
    bool may_be_set() const { return mode_ != RobotMode::kMove; }
    Settings &settings() { return settings_; }
    std::vector<Reply> take_replies();

    /// Live for one period, with the command that answered the last state (or null when none did).
    void advance(const CommandMessage *command);
    void write(StateMessage &out) const;

    // What happens to a robot from outside.
    void reflex(const Errors &errors);
    void user_stop(bool pressed);
    void guide(bool pressed);
    void emergency_stop();
    void open_brakes();
    void push(const Vector3 &force, int periods);
    /// Its motion is over and its client gone: nobody is left to answer.
    void forget_client();

    RobotMode mode() const { return mode_; }
    const Errors &errors() const { return errors_; }
    const Simulation &arm() const { return arm_; }
    Simulation &arm() { return arm_; }
    const Limits &limits() const { return limits_; }
    /// The most that a joint was off its desired position since the last motion began, rad.
    double tracking_error() const { return tracking_error_; }
    uint64_t lost_commands() const { return lost_commands_; }

private:
    bool external() const { return controller_ == Controller::kExternal; }
    void run_motion(const CommandMessage *command);
    bool count(bool received);
    void end_motion(MoveStatus status, RobotMode mode);
    /// Take over from the client's torques, at the speed that the arm has.
    void hold();
    void settle();
    Joints control() const;
    double success_rate() const;

    const Limits &limits_;
    Simulation &arm_;
    Settings settings_;
    MotionGenerator generator_;
    Monitor monitor_;

    RobotMode mode_ = RobotMode::kIdle;
    Controller controller_ = Controller::kOther;
    std::optional<uint32_t> move_id_, stop_id_, recovery_id_;
    /// What Move is to be answered with as soon as the arm is at rest.
    std::optional<MoveStatus> ending_;
    std::vector<Reply> replies_;
    Errors errors_, reflex_reason_;

    Joints tau_d_{}, tau_{}, dtau_{}, load_gravity_{};
    std::vector<bool> received_;
    int waited_ = 0, lost_ = 0, push_periods_ = 0;
    bool commanded_ = false;
    double tracking_error_ = 0.0;
    uint64_t lost_commands_ = 0;
};

}  // namespace virtual_franka
