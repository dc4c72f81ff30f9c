// The control loop, with a robot that is made up: what it commands, and how it ends.
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "st4vla/control.h"

namespace {

constexpr double kHome[16] = {1, 0, 0, 0.5, 0, -1, 0, 0, 0, 0, -1, 0.3, 0, 0, 0, 1};

std::int64_t now_ns()
{
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

/// Obeys at once, each millisecond; fails at one read or write, or asks for an end at another.
struct Robot {
    st4vla_control *control = nullptr;
    st4vla_player *player = nullptr;
    double pose[16];
    std::int64_t due_ns = 0;
    long reads = 0, end_after = -1, chunk_at = -1, fail_read_at = -1, fail_write_at = -1;
    std::uint32_t ticks = 1;
    std::vector<double> x;
    int lasts = 0;
    std::atomic<int> opened{0}, closed{0};
    pthread_t control_thread{}, gripper_thread{};
    bool gripper_fails = false;

    Robot() { std::memcpy(pose, kHome, sizeof pose); }
};

/// A chunk that moves the hand forwards at 0.1 m/s for 1.6 s, and closes the gripper.
void put_chunk(st4vla_player *player)
{
    st4vla_wire_action_chunk chunk{};
    float actions[16][7] = {};
    for (auto &action : actions) {
        action[0] = 0.01F;
    }
    chunk.chunk_id = chunk.observation_sequence = chunk.plan_id = 1;
    chunk.frame_capture_ns = chunk.plan_capture_ns = chunk.start_ns = now_ns();
    chunk.period_ns = 100'000'000;
    chunk.horizon = 16;
    chunk.action_dim = 7;
    chunk.gripper_index = 6;
    chunk.representation = ST4VLA_ACTION_EE_DELTA;
    chunk.pace = ST4VLA_PACE_RUN;
    CHECK(st4vla_player_put(player, &chunk, actions, sizeof actions) == ST4VLA_PLAYER_OK);
}

int read(void *user, st4vla_robot_state *state, char *text)
{
    auto &robot = *static_cast<Robot *>(user);
    ++robot.reads;
    robot.due_ns = robot.due_ns == 0 ? now_ns() : robot.due_ns + ST4VLA_PLAYER_TICK_NS;
    const timespec due{static_cast<time_t>(robot.due_ns / 1'000'000'000), static_cast<long>(robot.due_ns % 1'000'000'000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, nullptr);
    robot.control_thread = pthread_self();
    if (robot.reads == robot.chunk_at) {
        put_chunk(robot.player);
    }
    if (robot.reads == robot.end_after) {
        st4vla_control_end(robot.control);
    }
    if (robot.reads == robot.fail_read_at) {
        std::strcpy(text, "somebody pressed the stop");
        return 1;
    }
    state->ticks = robot.ticks;
    state->joint_count = 7;
    std::memcpy(state->base_T_ee, robot.pose, sizeof robot.pose);
    std::memcpy(state->commanded_base_T_ee, robot.pose, sizeof robot.pose);
    return 0;
}

int write(void *user, const st4vla_player_setpoint *setpoint, int last, char *text)
{
    auto &robot = *static_cast<Robot *>(user);
    if (robot.reads == robot.fail_write_at) {
        std::strcpy(text, "a reflex");
        return 1;
    }
    std::memcpy(robot.pose, setpoint->base_T_ee, sizeof robot.pose);
    robot.x.push_back(setpoint->base_T_ee[3]);
    robot.lasts += last;
    return 0;
}

int grip(void *user, st4vla_player_gripper event, char *text)
{
    auto &robot = *static_cast<Robot *>(user);
    robot.gripper_thread = pthread_self();
    if (robot.gripper_fails) {
        std::strcpy(text, "nothing to grasp");
        return 1;
    }
    ++(event == ST4VLA_PLAYER_GRIPPER_OPEN ? robot.opened : robot.closed);
    return 0;
}

/// A player, a robot and a loop.
struct Rig {
    Robot robot;
    st4vla_player *player = nullptr;
    st4vla_control *control = nullptr;

    Rig()
    {
        st4vla_player_config config;
        CHECK(st4vla_player_config_default(ST4VLA_PLAYER_FRANKA_RESEARCH_3, &config) == ST4VLA_PLAYER_OK);
        // One chunk is all that comes.
        config.frame = config.plan = {0, 10'000'000'000, 20'000'000'000};
        CHECK(st4vla_player_create(&config, &player) == ST4VLA_PLAYER_OK);
        st4vla_robot functions{};
        functions.user = &robot;
        functions.read = read;
        functions.write = write;
        functions.gripper = grip;
        CHECK(st4vla_control_create(player, &functions, &control) == ST4VLA_CONTROL_OK);
        robot.control = control;
        robot.player = player;
    }

    ~Rig()
    {
        st4vla_control_destroy(control);
        st4vla_player_destroy(player);
    }

    st4vla_control_report report() const
    {
        st4vla_control_report report;
        CHECK(st4vla_control_read(control, &report) == ST4VLA_CONTROL_OK);
        return report;
    }

    bool player_is_stopped() const
    {
        st4vla_player_setpoint setpoint;
        st4vla_player_input input{};
        input.now_ns = now_ns();
        input.ticks = 1;
        CHECK(st4vla_player_step(player, &input, &setpoint) == ST4VLA_PLAYER_OK);
        return setpoint.pace == ST4VLA_PACE_STOP;
    }
};

void a_run_that_is_told_to_end_begins_and_ends_at_rest()
{
    Rig rig;
    rig.robot.end_after = 50;
    CHECK(st4vla_control_run(rig.control) == ST4VLA_CONTROL_OK);
    CHECK(rig.robot.lasts == 1 && rig.robot.x.size() >= 50);
    for (const double x : rig.robot.x) {
        CHECK(x == kHome[3]);
    }
    CHECK(rig.player_is_stopped());
    const auto report = rig.report();
    CHECK(report.cycles == rig.robot.x.size() && report.missed == 0 && report.runs == 1 && report.running == 0);
}

void a_run_that_was_ended_before_it_began_commands_once()
{
    Rig rig;
    st4vla_control_end(rig.control);
    CHECK(st4vla_control_run(rig.control) == ST4VLA_CONTROL_OK);
    CHECK(rig.robot.lasts == 1 && rig.robot.x.size() == 1);
}

void a_chunk_moves_the_arm_and_an_end_in_mid_motion_brings_it_to_rest()
{
    Rig rig;
    rig.robot.chunk_at = 5;
    rig.robot.end_after = 400;
    CHECK(st4vla_control_run(rig.control) == ST4VLA_CONTROL_OK);
    const auto &x = rig.robot.x;
    CHECK(x[399] > x[0] + 0.01);
    CHECK(x[399] > x[0] + 0.01);
    // The brake takes some commands, and the last one differs from the one before by nothing.
    CHECK(x.size() > 410 && x.back() == x[x.size() - 2] && x.back() > x[400]);
    CHECK(rig.robot.closed == 1 && rig.robot.opened == 0 && rig.report().gripper_events == 1);
    CHECK(!pthread_equal(rig.robot.control_thread, rig.robot.gripper_thread));
}

void a_robot_that_stops_ends_the_run_and_says_why()
{
    Rig rig;
    rig.robot.chunk_at = 5;
    rig.robot.fail_read_at = 200;
    CHECK(st4vla_control_run(rig.control) == ST4VLA_CONTROL_ROBOT);
    CHECK(std::strcmp(st4vla_control_text(rig.control), "somebody pressed the stop") == 0);
    CHECK(rig.robot.lasts == 0);

    // The next run begins where the arm stands, and does not move until somebody resumes.
    const std::size_t before = rig.robot.x.size();
    rig.robot.fail_read_at = -1;
    rig.robot.end_after = rig.robot.reads + 200;
    rig.robot.chunk_at = rig.robot.reads + 5;
    CHECK(st4vla_control_run(rig.control) == ST4VLA_CONTROL_OK);
    for (std::size_t i = before; i < rig.robot.x.size(); ++i) {
        CHECK(rig.robot.x[i] == rig.robot.x[before]);
    }
    CHECK(st4vla_control_text(rig.control)[0] == '\0' && rig.report().runs == 2);
}

void a_command_that_is_refused_ends_the_run()
{
    Rig rig;
    rig.robot.fail_write_at = 3;
    CHECK(st4vla_control_run(rig.control) == ST4VLA_CONTROL_ROBOT);
    CHECK(std::strcmp(st4vla_control_text(rig.control), "a reflex") == 0 && rig.report().cycles == 2);
}

void an_arm_outside_of_the_workspace_is_not_moved()
{
    Rig rig;
    rig.robot.pose[3] = 5.0;
    CHECK(st4vla_control_run(rig.control) == ST4VLA_CONTROL_PLAYER);
    CHECK(st4vla_control_player_status(rig.control) == ST4VLA_PLAYER_BAD_POSE && rig.robot.x.empty());
}

void milliseconds_without_a_command_are_counted()
{
    Rig rig;
    rig.robot.ticks = 3;
    rig.robot.end_after = 11;
    CHECK(st4vla_control_run(rig.control) == ST4VLA_CONTROL_OK);
    CHECK(rig.report().missed == 2 * (rig.report().cycles - 1));
}

void a_gripper_that_fails_leaves_the_arm_alone()
{
    Rig rig;
    rig.robot.gripper_fails = true;
    rig.robot.chunk_at = 5;
    rig.robot.end_after = 100;
    CHECK(st4vla_control_run(rig.control) == ST4VLA_CONTROL_OK);
    CHECK(rig.report().gripper_failures == 1 && std::strcmp(st4vla_control_text(rig.control), "nothing to grasp") == 0);
}

void a_process_that_moves_a_gripper_is_told_by_lines()
{
    int commands[2], answers[2];
    CHECK(pipe(commands) == 0 && pipe(answers) == 0);
    st4vla_gripper_process process{commands[1], answers[0]};
    const auto moves = [&](st4vla_player_gripper event, char *text) {
        text[0] = '\0';
        return st4vla_gripper_process_move(&process, event, text) == 0;
    };
    char text[ST4VLA_CONTROL_TEXT_BYTES], heard[16] = "";
    const auto answer = [&](const std::string &line) {
        CHECK(::write(answers[1], line.data(), line.size()) == static_cast<ssize_t>(line.size()));
    };
    answer("done\nnothing there\n" + std::string(1000, 'x') + "\n");
    CHECK(moves(ST4VLA_PLAYER_GRIPPER_OPEN, text) && text[0] == '\0');
    CHECK(!moves(ST4VLA_PLAYER_GRIPPER_CLOSE, text) && std::strcmp(text, "nothing there") == 0);
    CHECK(::read(commands[0], heard, sizeof heard) == 11 && std::strncmp(heard, "open\nclose\n", 11) == 0);
    CHECK(!moves(ST4VLA_PLAYER_GRIPPER_OPEN, text) && std::strlen(text) == ST4VLA_CONTROL_TEXT_BYTES - 1);
    // It ends before it answers, and then before it hears.
    close(answers[1]);
    CHECK(!moves(ST4VLA_PLAYER_GRIPPER_OPEN, text) && std::strstr(text, "has ended") != nullptr);
    close(commands[0]);
    CHECK(!moves(ST4VLA_PLAYER_GRIPPER_OPEN, text) && std::strstr(text, "has ended") != nullptr);
    close(commands[1]);
    close(answers[0]);
}

void what_the_arm_measured_is_told()
{
    Rig rig;
    st4vla_robot_state state;
    CHECK(st4vla_control_state(rig.control, &state) == ST4VLA_CONTROL_ROBOT);
    rig.robot.end_after = 5;
    CHECK(st4vla_control_run(rig.control) == ST4VLA_CONTROL_OK);
    CHECK(st4vla_control_state(rig.control, &state) == ST4VLA_CONTROL_OK);
    CHECK(state.joint_count == 7 && state.base_T_ee[3] == kHome[3] && state.capture_ns > 0);
}

void what_is_missing_is_refused()
{
    st4vla_control *control = nullptr;
    st4vla_robot robot{};
    CHECK(st4vla_control_create(nullptr, &robot, &control) == ST4VLA_CONTROL_BAD_ARGUMENT && control == nullptr);
    CHECK(st4vla_control_create(nullptr, &robot, nullptr) == ST4VLA_CONTROL_BAD_ARGUMENT);
    CHECK(st4vla_control_run(nullptr) == ST4VLA_CONTROL_BAD_ARGUMENT);
    CHECK(st4vla_control_abi_version() == ST4VLA_CONTROL_ABI_VERSION);
    for (int status = 0; status <= ST4VLA_CONTROL_SYSTEM; ++status) {
        CHECK(st4vla_control_message(static_cast<st4vla_control_status>(status))[0] != '\0');
    }
    st4vla_control_destroy(nullptr);
    st4vla_control_end(nullptr);
}

}  // namespace

int main()
{
    a_run_that_is_told_to_end_begins_and_ends_at_rest();
    a_run_that_was_ended_before_it_began_commands_once();
    a_chunk_moves_the_arm_and_an_end_in_mid_motion_brings_it_to_rest();
    a_robot_that_stops_ends_the_run_and_says_why();
    a_command_that_is_refused_ends_the_run();
    an_arm_outside_of_the_workspace_is_not_moved();
    milliseconds_without_a_command_are_counted();
    a_gripper_that_fails_leaves_the_arm_alone();
    a_process_that_moves_a_gripper_is_told_by_lines();
    what_the_arm_measured_is_told();
    what_is_missing_is_refused();
    return 0;
}
