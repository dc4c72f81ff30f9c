// The robot without a network: modes, what ends a motion, and what Move is answered with.
#include <algorithm>
#include <cmath>
#include <memory>

#include "../../tests/check.h"
#include "robot.h"

using namespace virtual_franka;

namespace {

constexpr double kPi = 3.14159265358979324;

struct Bench {
    Simulation arm{kFr3, -0.5, kReadyPose};
    Robot robot{kFr3, arm, kReadyPose};
    std::vector<Reply> replies;
    int told = 0;

    MoveStatus start(Generator generator, Controller controller = Controller::kJointImpedance)
    {
        MoveRequest request{};
        request.controller = static_cast<uint32_t>(controller);
        request.generator = static_cast<uint32_t>(generator);
        return robot.move(7, request);
    }
    void live(const CommandMessage *command)
    {
        robot.advance(command);
        const auto due = robot.take_replies();
        replies.insert(replies.end(), due.begin(), due.end());
    }
    void live(int periods)
    {
        for (int i = 0; i < periods; ++i) {
            live(nullptr);
        }
    }
    /// Turn joint 6 there and back within a second, from period `from` on.
    CommandMessage swing(int period) const
    {
        CommandMessage out{};
        for (int i = 0; i < kJoints; ++i) {
            out.q_c[i] = kReadyPose[i];
        }
        out.q_c[5] += 0.1 * (1.0 - std::cos(2.0 * kPi * period * kPeriod));
        return out;
    }
    void swing_for(int periods)
    {
        for (; told < periods; ++told) {
            const CommandMessage command = swing(told);
            live(&command);
        }
    }
    StateMessage state() const
    {
        alignas(8) StateMessage out{};
        robot.write(out);
        return out;
    }
    bool answered(Request request, uint8_t status) const
    {
        return std::any_of(replies.begin(), replies.end(),
                           [&](const Reply &reply) { return reply.request == request && reply.status == status; });
    }
    bool aborted_by(Error error) const
    {
        return answered(Request::kMove, static_cast<uint8_t>(MoveStatus::kReflexAborted)) &&
               robot.mode() == RobotMode::kReflex && has(robot.errors(), error);
    }
};

void a_motion_runs_and_ends()
{
    Bench bench;
    CHECK(bench.state().generator == StateGenerator::kIdle && bench.state().mode == RobotMode::kIdle);
    CHECK(bench.start(Generator::kJointPosition) == MoveStatus::kMotionStarted);
    CHECK(bench.start(Generator::kJointPosition) == MoveStatus::kNotPossible);
    CHECK(!bench.robot.may_be_set());
    bench.swing_for(1000);
    CHECK(bench.state().generator == StateGenerator::kJointPosition && bench.state().mode == RobotMode::kMove);
    CHECK(bench.state().control_command_success_rate == 1.0f);
    CommandMessage last = bench.swing(1000);
    last.motion_finished = 1;
    bench.live(&last);
    CHECK(bench.answered(Request::kMove, static_cast<uint8_t>(MoveStatus::kSuccess)));
    CHECK(bench.state().mode == RobotMode::kIdle && bench.state().controller == Controller::kOther);
    CHECK(bench.robot.tracking_error() < 1e-3);
    CHECK(bench.state().control_command_success_rate == 0.0f);
}

void twenty_lost_packets_end_a_motion_and_nineteen_do_not()
{
    Bench bench;
    bench.start(Generator::kJointPosition);
    bench.swing_for(5);
    bench.live(kLostPackets - 1);
    CHECK(bench.robot.mode() == RobotMode::kMove);
    CHECK(std::fabs(bench.state().control_command_success_rate - 5.0 / 24.0) < 1e-6);
    bench.live(1);
    CHECK(bench.aborted_by(Error::kCommunicationConstraints));
    CHECK(bench.state().errors[25] && bench.state().reflex_reason[25]);
    // Nothing but recovery ends that, and it keeps the reason until the next motion.
    CHECK(bench.start(Generator::kJointPosition) == MoveStatus::kNotPossible);
    bench.robot.recover(9);
    CHECK(bench.robot.mode() == RobotMode::kAutomaticErrorRecovery);
    bench.live(300);
    CHECK(bench.answered(Request::kAutomaticErrorRecovery, 0) && bench.robot.mode() == RobotMode::kIdle);
    CHECK(!bench.state().errors[25] && bench.state().reflex_reason[25]);
}

void a_client_that_never_commands_is_waited_for()
{
    Bench bench;
    bench.start(Generator::kJointVelocity);
    bench.live(kFirstCommandPackets - 1);
    CHECK(bench.robot.mode() == RobotMode::kMove);
    bench.live(kLostPackets);
    CHECK(bench.aborted_by(Error::kCommunicationConstraints));
}

void a_stop_brakes_and_answers_both()
{
    Bench bench;
    bench.start(Generator::kJointPosition);
    bench.swing_for(250);
    bench.robot.stop(8);
    CHECK(bench.robot.mode() == RobotMode::kMove);
    bench.live(200);
    CHECK(bench.robot.mode() == RobotMode::kIdle);
    CHECK(bench.answered(Request::kMove, static_cast<uint8_t>(MoveStatus::kPreempted)));
    CHECK(bench.answered(Request::kStopMove, 0));
    CHECK(std::fabs(bench.arm.dq()[5]) < 1e-3);
    bench.robot.stop(9);
    bench.live(1);
    CHECK(bench.replies.back().id == 9 && bench.replies.back().status == 0);
}

void a_motion_begins_at_rest_right_after_another_was_aborted()
{
    Bench bench;
    bench.start(Generator::kJointPosition);
    bench.swing_for(250);
    bench.robot.reflex(Errors(1));
    bench.robot.recover(1);
    while (bench.robot.mode() != RobotMode::kIdle) {
        CHECK(bench.start(Generator::kJointPosition) == MoveStatus::kNotPossible);
        bench.live(1);
    }
    CHECK(bench.start(Generator::kJointVelocity) == MoveStatus::kMotionStarted);
    const float held = bench.state().q_d[5];
    // Until the first command comes there is nothing to go on from.
    bench.live(20);
    CHECK(bench.state().q_d[5] == held && bench.state().dq_d[5] == 0.0f);
    const CommandMessage still{};
    bench.live(&still);
    CHECK(bench.robot.mode() == RobotMode::kMove);
}

void asynchronous_control_ends_with_zeros()
{
    Bench bench;
    MoveRequest request{};
    request.asynchronous = 1;
    for (int i = 0; i < kJoints; ++i) {
        request.maximum_velocity[i] = 0.5;
    }
    CHECK(bench.robot.move(1, request) == MoveStatus::kMotionStarted);
    CommandMessage target = bench.swing(500);
    bench.live(&target);
    bench.live(1500);
    CHECK(bench.robot.mode() == RobotMode::kMove && std::fabs(bench.arm.q()[5] - target.q_c[5]) < 1e-4);
    CommandMessage end{};
    end.motion_finished = 1;
    bench.live(&end);
    bench.live(5);
    CHECK(bench.answered(Request::kMove, static_cast<uint8_t>(MoveStatus::kSuccess)));
}

void torques_are_limited_in_range_and_rate()
{
    Bench bench;
    CHECK(bench.start(Generator::kNone, Controller::kJointImpedance) == MoveStatus::kInvalidArgument);
    CHECK(bench.start(Generator::kNone, Controller::kExternal) == MoveStatus::kMotionStarted);
    CommandMessage command{};
    for (int i = 0; i < 200; ++i) {
        command.tau_J_d[6] = 0.2 * std::sin(2.0 * kPi * i * kPeriod);
        bench.live(&command);
    }
    CHECK(bench.robot.mode() == RobotMode::kMove && bench.arm.dq()[6] > 0.01);
    command.tau_J_d[6] += 1.5;
    bench.live(&command);
    CHECK(bench.aborted_by(Error::kControllerTorqueDiscontinuity));

    // Less than a joint may bear, for long enough, makes it too fast; more than it may bear is refused at once.
    Bench fast;
    fast.start(Generator::kNone, Controller::kExternal);
    CommandMessage pull{};
    for (int i = 0; i < 260 && fast.robot.mode() == RobotMode::kMove; ++i) {
        pull.tau_J_d[3] = std::min(pull.tau_J_d[3] + 0.9, 54.0), pull.tau_J_d[1] = -pull.tau_J_d[3];
        fast.live(&pull);
    }
    CHECK(fast.aborted_by(Error::kJointVelocity));

    Bench strong;
    strong.start(Generator::kNone, Controller::kExternal);
    CommandMessage turn{};
    for (int i = 0; i < 14; ++i) {
        CHECK(strong.robot.mode() == RobotMode::kMove);
        turn.tau_J_d[6] += 0.9;
        strong.live(&turn);
    }
    CHECK(strong.aborted_by(Error::kTauJRange));
}

void a_push_shows_and_a_strong_one_is_a_collision()
{
    Bench bench;
    CollisionBehavior behavior = bench.robot.settings().collision;
    std::fill_n(behavior.lower_force_nominal, 6, 5.0);
    std::fill_n(behavior.lower_force_acceleration, 6, 5.0);
    std::fill_n(behavior.upper_force_nominal, 6, 15.0);
    std::fill_n(behavior.upper_force_acceleration, 6, 15.0);
    CHECK(bench.robot.settings().take(behavior));
    bench.start(Generator::kJointPosition);
    bench.swing_for(10);
    bench.robot.push({0.0, 0.0, 10.0}, 100);
    bench.swing_for(100);
    CHECK(bench.robot.mode() == RobotMode::kMove);
    // What the arm does to its surroundings counts: it pushes down on what pushes it up. The hand looks down.
    CHECK(std::fabs(bench.state().O_F_ext_hat_K[2] + 10.0f) < 1.0f && bench.state().K_F_ext_hat_K[2] > 9.0f);
    CHECK(bench.state().cartesian_contact[2] == 1.0f && bench.state().cartesian_collision[2] == 0.0f);
    bench.robot.push({0.0, 0.0, 25.0}, 100);
    bench.swing_for(200);
    CHECK(bench.aborted_by(Error::kCartesianReflex) && bench.state().cartesian_collision[2] == 1.0f);
    behavior.upper_force_nominal[0] = -1.0;
    CHECK(!bench.robot.settings().take(behavior));
}

void a_load_that_is_told_is_borne()
{
    Bench bench;
    bench.arm.set_payload(1.0);
    bench.live(500);
    const float sagged = std::fabs(bench.state().q[3] - bench.state().q_d[3]);
    CHECK(bench.state().O_F_ext_hat_K[2] > 8.0f);
    Load load{};
    load.mass = 1.0, load.centre[2] = 0.1034;
    CHECK(bench.robot.settings().take_load(load));
    bench.live(500);
    CHECK(std::fabs(bench.state().O_F_ext_hat_K[2]) < 0.2f);
    CHECK(std::fabs(bench.state().q[3] - bench.state().q_d[3]) < 0.1f * sagged);
    load.centre[1] = 1e6;
    CHECK(!bench.robot.settings().take_load(load));
    load.centre[1] = 0.0, load.mass = 20.0;
    CHECK(!bench.robot.settings().take_load(load));
    Pose tool = kIdentity, taken = kIdentity;
    tool[14] = 1e6;
    CHECK(!Settings::take_pose(tool, taken) && taken == kIdentity);
}

void people_stop_guide_and_switch_off()
{
    Bench bench;
    bench.start(Generator::kJointPosition);
    bench.swing_for(100);
    bench.robot.user_stop(true);
    bench.live(200);
    CHECK(bench.answered(Request::kMove, static_cast<uint8_t>(MoveStatus::kEmergencyAborted)));
    CHECK(bench.robot.mode() == RobotMode::kUserStopped &&
          bench.start(Generator::kJointPosition) == MoveStatus::kNotPossible);
    bench.robot.recover(3);
    bench.live(1);
    CHECK(bench.answered(Request::kAutomaticErrorRecovery, 1));
    bench.robot.user_stop(false);
    CHECK(bench.robot.mode() == RobotMode::kIdle);

    bench.robot.guide(true);
    CHECK(bench.robot.mode() == RobotMode::kGuiding &&
          bench.start(Generator::kJointPosition) == MoveStatus::kNotPossible);
    bench.robot.push({0.0, 15.0, 0.0}, 300);
    const double before = bench.arm.q()[0];
    bench.live(600);
    CHECK(std::fabs(bench.arm.q()[0] - before) > 0.05);
    bench.robot.guide(false);
    bench.live(200);
    const double after = bench.arm.q()[0];
    bench.live(200);
    CHECK(std::fabs(bench.arm.q()[0] - after) < 1e-3);

    bench.robot.emergency_stop();
    bench.robot.push({0.0, 0.0, -200.0}, 100);
    bench.live(100);
    CHECK(bench.robot.mode() == RobotMode::kOther && std::fabs(bench.arm.q()[0] - after) < 1e-3);
    bench.robot.open_brakes();
    CHECK(bench.robot.mode() == RobotMode::kIdle);
}

void numbers_that_are_none_are_refused()
{
    Bench bench;
    bench.start(Generator::kCartesianVelocity);
    CommandMessage command{};
    command.O_dP_EE_c[0] = NAN;
    bench.live(&command);
    CHECK(bench.answered(Request::kMove, static_cast<uint8_t>(MoveStatus::kInputErrorAborted)));
    MoveRequest request{};
    request.generator = 9;
    CHECK(bench.robot.move(1, request) == MoveStatus::kInvalidArgument);
    request = {};
    request.path.rotation = -1.0;
    CHECK(bench.robot.move(1, request) == MoveStatus::kInvalidArgument);
}

}  // namespace

int main()
{
    a_motion_runs_and_ends();
    twenty_lost_packets_end_a_motion_and_nineteen_do_not();
    a_client_that_never_commands_is_waited_for();
    a_stop_brakes_and_answers_both();
    a_motion_begins_at_rest_right_after_another_was_aborted();
    asynchronous_control_ends_with_zeros();
    torques_are_limited_in_range_and_rate();
    a_push_shows_and_a_strong_one_is_a_collision();
    a_load_that_is_told_is_borne();
    people_stop_guide_and_switch_off();
    numbers_that_are_none_are_refused();
    return 0;
}
