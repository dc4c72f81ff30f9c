// The loop itself, and its C ABI.
#include "st4vla/control.h"

#include <ctime>

#include <algorithm>
#include <atomic>
#include <new>

#include "control/hand.h"
#include "control/published.h"

namespace {

/// A cycle that takes longer leaves a robot's own network and computer too little of its millisecond.
constexpr std::int64_t kSlowCycle_ns = 300'000;

std::int64_t monotonic_ns() noexcept
{
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

struct st4vla_control {
    st4vla_control(st4vla_player *given_player, const st4vla_robot &given_robot) noexcept
        : player(given_player), robot(given_robot), hand(given_robot)
    {
    }

    st4vla_control_status run() noexcept;

    st4vla_player *const player;
    const st4vla_robot robot;
    st4vla::control::Hand hand;
    st4vla::control::Published<st4vla_robot_state> state;
    std::atomic<bool> ending{false}, running{false};
    std::atomic<std::uint64_t> cycles{0}, missed{0}, slow_cycles{0}, runs{0};
    std::atomic<std::int64_t> longest_cycle_ns{0};
    st4vla_player_status player_status = ST4VLA_PLAYER_OK;
    char text[ST4VLA_CONTROL_TEXT_BYTES] = {};
    st4vla_control_row *rows = nullptr;
    std::uint64_t room = 0;

private:
    bool measure(st4vla_robot_state &measured) noexcept;
    bool command(const st4vla_robot_state &measured, std::uint32_t ticks, bool &at_rest) noexcept;
    void write_down(const st4vla_robot_state &measured, const st4vla_player_setpoint &setpoint,
                    std::int64_t time_ns) noexcept;
    st4vla_control_status cycle_until_told() noexcept;
};

/// Read from the robot; false if it has stopped.
bool st4vla_control::measure(st4vla_robot_state &measured) noexcept
{
    measured = {};
    if (robot.read(robot.user, &measured, text) != 0) {
        return false;
    }
    if (measured.capture_ns == 0) {
        measured.capture_ns = monotonic_ns();
    }
    state.put(measured);
    return true;
}

/// Step the player and command its setpoint; false if the robot has stopped.
bool st4vla_control::command(const st4vla_robot_state &measured, std::uint32_t ticks, bool &at_rest) noexcept
{
    const std::int64_t began_ns = monotonic_ns();
    const bool told = ending.load(std::memory_order_relaxed);
    if (told) {
        st4vla_player_stop(player);
    }
    st4vla_player_input input{};
    input.now_ns = began_ns;
    input.ticks = std::min<std::uint32_t>(ticks, ST4VLA_PLAYER_MAX_TICKS);
    input.has_measured = 1;
    input.has_sent = 1;
    std::copy_n(robot.joints != 0 ? measured.commanded_positions_rad : measured.commanded_base_T_ee, 16, input.sent);
    if (robot.joints == 0) {
        for (int axis = 0; axis < 3; ++axis) {
            input.measured[axis] = measured.base_T_ee[4 * axis + 3];
        }
    } else {
        std::copy_n(measured.joint_positions_rad, ST4VLA_MAX_JOINTS, input.measured);
    }
    st4vla_player_setpoint setpoint{};
    st4vla_player_step(player, &input, &setpoint);
    at_rest = told && setpoint.at_rest != 0 && setpoint.pace == ST4VLA_PACE_STOP;
    if (robot.write(robot.user, &setpoint, at_rest ? 1 : 0, text) != 0) {
        return false;
    }
    if (setpoint.gripper != ST4VLA_PLAYER_GRIPPER_NOTHING) {
        hand.wish(static_cast<st4vla_player_gripper>(setpoint.gripper));
    }
    const std::int64_t written_ns = monotonic_ns(), took_ns = written_ns - began_ns;
    write_down(measured, setpoint, written_ns);
    cycles.fetch_add(1, std::memory_order_relaxed);
    slow_cycles.fetch_add(took_ns > kSlowCycle_ns ? 1 : 0, std::memory_order_relaxed);
    longest_cycle_ns.store(std::max(took_ns, longest_cycle_ns.load(std::memory_order_relaxed)),
                           std::memory_order_relaxed);
    return true;
}

void st4vla_control::write_down(const st4vla_robot_state &measured, const st4vla_player_setpoint &setpoint,
                                std::int64_t time_ns) noexcept
{
    const std::uint64_t index = cycles.load(std::memory_order_relaxed);
    if (index >= room) {
        return;
    }
    st4vla_control_row &row = rows[index];
    row.time_ns = static_cast<double>(time_ns);
    row.ticks = measured.ticks;
    for (int axis = 0; axis < 3; ++axis) {
        row.setpoint_m[axis] = setpoint.base_T_ee[4 * axis + 3];
        row.measured_m[axis] = measured.base_T_ee[4 * axis + 3];
    }
    std::copy_n(measured.commanded_base_T_ee, 12, row.commanded_base_T_ee);
    row.pace = setpoint.pace;
    row.chunk_id = static_cast<double>(setpoint.chunk_id);
    row.frame_age_ns = static_cast<double>(setpoint.frame_age_ns);
}

st4vla_control_status st4vla_control::cycle_until_told() noexcept
{
    st4vla_robot_state measured;
    if (!measure(measured)) {
        return ST4VLA_CONTROL_ROBOT;
    }
    player_status = st4vla_player_anchor(player, measured.commanded_base_T_ee, measured.commanded_positions_rad);
    if (player_status != ST4VLA_PLAYER_OK) {
        return ST4VLA_CONTROL_PLAYER;
    }
    bool at_rest = false;
    // The motion begins where the robot stands: the first setpoint is that very pose.
    if (!command(measured, 0, at_rest)) {
        return ST4VLA_CONTROL_ROBOT;
    }
    while (!at_rest) {
        if (!measure(measured)) {
            return ST4VLA_CONTROL_ROBOT;
        }
        missed.fetch_add(measured.ticks > 1 ? measured.ticks - 1 : 0, std::memory_order_relaxed);
        if (!command(measured, measured.ticks, at_rest)) {
            return ST4VLA_CONTROL_ROBOT;
        }
    }
    return ST4VLA_CONTROL_OK;
}

st4vla_control_status st4vla_control::run() noexcept
{
    text[0] = '\0';
    if (!hand.start()) {
        return ST4VLA_CONTROL_SYSTEM;
    }
    running.store(true);
    runs.fetch_add(1, std::memory_order_relaxed);
    const st4vla_control_status status = cycle_until_told();
    // Whatever it was: nothing moves again by itself.
    st4vla_player_stop(player);
    hand.stop();
    ending.store(false);
    running.store(false);
    return status;
}

uint32_t st4vla_control_abi_version(void) { return ST4VLA_CONTROL_ABI_VERSION; }

const char *st4vla_control_message(st4vla_control_status status)
{
    switch (status) {
    case ST4VLA_CONTROL_OK:
        return "the run was told to end, and the arm is at rest";
    case ST4VLA_CONTROL_BAD_ARGUMENT:
        return "a pointer is NULL where something was wanted: a player, a robot with read and write, a place for the result";
    case ST4VLA_CONTROL_ROBOT:
        return "the robot ended the run; st4vla_control_text says why";
    case ST4VLA_CONTROL_PLAYER:
        return "the arm is where the player may not begin; st4vla_control_player_status says why";
    case ST4VLA_CONTROL_SYSTEM:
        return "the operating system gives no thread for the gripper";
    }
    return "no status of the control loop";
}

st4vla_control_status st4vla_control_create(st4vla_player *player, const st4vla_robot *robot, st4vla_control **control)
{
    if (control == nullptr) {
        return ST4VLA_CONTROL_BAD_ARGUMENT;
    }
    *control = nullptr;
    if (player == nullptr || robot == nullptr || robot->read == nullptr || robot->write == nullptr) {
        return ST4VLA_CONTROL_BAD_ARGUMENT;
    }
    *control = new (std::nothrow) st4vla_control(player, *robot);
    return *control == nullptr ? ST4VLA_CONTROL_SYSTEM : ST4VLA_CONTROL_OK;
}

void st4vla_control_destroy(st4vla_control *control) { delete control; }

st4vla_control_status st4vla_control_trace(st4vla_control *control, st4vla_control_row *rows, uint64_t room)
{
    if (control == nullptr || rows == nullptr) {
        return ST4VLA_CONTROL_BAD_ARGUMENT;
    }
    control->rows = rows;
    control->room = room;
    return ST4VLA_CONTROL_OK;
}

st4vla_control_status st4vla_control_run(st4vla_control *control)
{
    return control == nullptr ? ST4VLA_CONTROL_BAD_ARGUMENT : control->run();
}

void st4vla_control_end(st4vla_control *control)
{
    if (control != nullptr) {
        control->ending.store(true);
    }
}

st4vla_control_status st4vla_control_state(const st4vla_control *control, st4vla_robot_state *state)
{
    if (control == nullptr || state == nullptr) {
        return ST4VLA_CONTROL_BAD_ARGUMENT;
    }
    return control->state.get(*state) ? ST4VLA_CONTROL_OK : ST4VLA_CONTROL_ROBOT;
}

st4vla_control_status st4vla_control_read(const st4vla_control *control, st4vla_control_report *report)
{
    if (control == nullptr || report == nullptr) {
        return ST4VLA_CONTROL_BAD_ARGUMENT;
    }
    *report = {};
    report->cycles = control->cycles.load(std::memory_order_relaxed);
    report->missed = control->missed.load(std::memory_order_relaxed);
    report->slow_cycles = control->slow_cycles.load(std::memory_order_relaxed);
    report->longest_cycle_ns = control->longest_cycle_ns.load(std::memory_order_relaxed);
    report->gripper_events = control->hand.events();
    report->gripper_failures = control->hand.failures();
    report->runs = control->runs.load(std::memory_order_relaxed);
    report->running = control->running.load() ? 1 : 0;
    return ST4VLA_CONTROL_OK;
}

const char *st4vla_control_text(const st4vla_control *control)
{
    if (control == nullptr) {
        return "";
    }
    return control->text[0] != '\0' ? control->text : control->hand.text();
}

st4vla_player_status st4vla_control_player_status(const st4vla_control *control)
{
    return control == nullptr ? ST4VLA_PLAYER_BAD_POINTER : control->player_status;
}
