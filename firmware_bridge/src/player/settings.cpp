#include "player/settings.h"

#include "player/average.h"
#include "player/chunk.h"
#include "player/franka_limits.h"

namespace st4vla::player {
namespace {

/// Share of the published limits that is used unless a config says otherwise.
constexpr double kShare = 0.9;
/// Share of the published deceleration with which a joint brakes before an end of its range. The published rule for the
/// velocity near that end lets go of an offset; a brake this much softer stays below it if it ends early enough.
constexpr double kBrakingShare = 0.45;
/// The published ranges are open: their ends are not allowed.
constexpr double kInside_rad = 1e-3;

/// (1 + x) exp(-x) is below 2 % here.
constexpr double kFaded = 6.0;

constexpr std::int64_t kMs = 1'000'000;
/// Longest time in a config: beyond it, sums of times could overflow.
constexpr std::int64_t kLongest_ns = std::int64_t{1} << 61;
/// The farthest that one orientation can be turned from another.
constexpr double kHalfTurn_rad = 3.14159265358979323846;

st4vla_player_limits scaled(double velocity, double acceleration, double jerk, double share) noexcept
{
    return {share * velocity, share * acceleration, share * jerk};
}

/// How far from the published end of a joint's range its brake must end.
///
/// Allowed is v <= -o + sqrt(2 D d), with the offset o, the deceleration D and the distance d to the end. It is 0 at
/// d = o^2 / 2 D already. A brake with deceleration b that ends m before that point keeps below if
/// 2 b x + 2 o sqrt(2 b x) - 2 D x <= 2 D m for each distance x to where it ends; the left side is largest at
/// sqrt(2 b x) = o / (D / b - 1).
double inset(const franka::JointLimits &joint, double braking) noexcept
{
    if (joint.velocity_offset == 0.0) {
        return kInside_rad;
    }
    const double zero = joint.velocity_offset * joint.velocity_offset / (2.0 * joint.deceleration);
    return zero + zero / (joint.deceleration / braking - 1.0) + kInside_rad;
}

void take_joints(const franka::Limits &robot, const franka::Limits &narrower, st4vla_player_config *config) noexcept
{
    config->joint_count = franka::kJoints;
    for (int i = 0; i < franka::kJoints; ++i) {
        const franka::JointLimits &joint = robot.joints[i], &other = narrower.joints[i];
        config->joints[i] = scaled(joint.velocity, joint.acceleration, joint.jerk, kShare);
        const double hardest = kShare * joint.acceleration;
        const double softer = kBrakingShare * joint.deceleration;
        const double braking = softer > 0.0 ? std::min(softer, hardest) : hardest;
        config->joint_braking_rad_s2[i] = braking;
        config->joint_low_rad[i] =
            std::max(joint.position_min + inset(joint, braking), other.position_min + inset(other, braking));
        config->joint_high_rad[i] =
            std::min(joint.position_max - inset(joint, braking), other.position_max - inset(other, braking));
    }
}

bool is_positive(double value) noexcept { return value > 0.0 && std::isfinite(value); }

bool are_ages(const st4vla_player_ages &ages) noexcept
{
    std::int64_t last_ns = 0;
    for (const std::int64_t age_ns : {ages.slow_ns, ages.hold_ns, ages.stop_ns}) {
        if (age_ns < 0 || age_ns > kLongest_ns || (age_ns != 0 && age_ns < last_ns)) {
            return false;
        }
        last_ns = std::max(last_ns, age_ns);
    }
    return true;
}

/// Turn limits into bounds per tick; `braking` is each coordinate's deceleration before its walls.
template <int D>
bool bounds_of(const st4vla_player_limits &limits, double braking, Bounds<D> *bounds) noexcept
{
    const double hardest = limits.acceleration / std::sqrt(static_cast<double>(D));
    if (!is_positive(limits.velocity) || !is_positive(limits.acceleration) || !is_positive(limits.jerk) ||
        !is_positive(braking) || braking > hardest * (1.0 + 1e-9)) {
        return false;
    }
    // Exact multiples must not become one more by rounding.
    const double samples = std::ceil(2.0 * limits.acceleration / (limits.jerk * kTick_s) - 1e-9);
    if (samples > kMaxAverage) {
        return false;
    }
    bounds->speed = limits.velocity;
    bounds->cut = limits.acceleration * kTick_s;
    bounds->wall_cut = std::min(braking, hardest) * kTick_s;
    bounds->average = std::max(static_cast<int>(samples), 1);
    return true;
}

template <int D>
std::int64_t rest_ns(const Bounds<D> &bounds) noexcept
{
    // Several coordinates share an acceleration; when walls are near, each may get no more than its part.
    const double slowest_cut = bounds.walls && D > 1 ? bounds.wall_cut : bounds.cut;
    const double ticks = std::ceil(bounds.speed / slowest_cut) + bounds.average;
    return ticks < 1e9 ? static_cast<std::int64_t>(ticks) * ST4VLA_PLAYER_TICK_NS : kLongest_ns;
}

bool is_range(double low, double high) noexcept { return std::isfinite(low) && std::isfinite(high) && low < high; }

st4vla_player_status check_actions(const st4vla_player_config &config, Settings *settings) noexcept
{
    const bool gripper = config.gripper_index != ST4VLA_NO_GRIPPER;
    settings->joints = config.representation != ST4VLA_ACTION_EE_DELTA;
    settings->positions = config.representation == ST4VLA_ACTION_JOINT_POSITION;
    settings->motion = config.action_dim - (gripper ? 1 : 0);
    if (config.representation < ST4VLA_ACTION_EE_DELTA || config.representation > ST4VLA_ACTION_JOINT_POSITION ||
        config.action_dim > kMaxActionDim || config.gripper_index < ST4VLA_NO_GRIPPER ||
        config.gripper_index >= static_cast<int>(config.action_dim) || config.joint_count > ST4VLA_MAX_JOINTS ||
        settings->motion < 1 || settings->motion != (settings->joints ? static_cast<int>(config.joint_count) : 6)) {
        return ST4VLA_PLAYER_BAD_ACTIONS;
    }
    for (int i = 0; i < settings->motion; ++i) {
        settings->dimension[i] = i + (gripper && i >= config.gripper_index ? 1 : 0);
    }
    const double low = config.gripper_close_below, high = config.gripper_open_above;
    return 0.0 <= low && low < high && high <= 1.0 ? ST4VLA_PLAYER_OK : ST4VLA_PLAYER_BAD_LIMITS;
}

bool take_bounds(const st4vla_player_config &config, Settings *settings) noexcept
{
    Bounds<3> &box = settings->translation;
    box.walls = !settings->joints;
    if (settings->joints) {
        for (int i = 0; i < settings->motion; ++i) {
            Bounds<1> &joint = settings->joint[i];
            joint.walls = true;
            joint.low[0] = config.joint_low_rad[i];
            joint.high[0] = config.joint_high_rad[i];
            if (!bounds_of(config.joints[i], config.joint_braking_rad_s2[i], &joint) ||
                !is_range(joint.low[0], joint.high[0])) {
                return false;
            }
            settings->rest_bound_ns = std::max(settings->rest_bound_ns, rest_ns(joint));
        }
        return true;
    }
    const double share = 1.0 / std::sqrt(3.0);
    if (!bounds_of(config.translation, config.translation.acceleration * share, &box) ||
        !bounds_of(config.rotation, config.rotation.acceleration * share, &settings->rotation)) {
        return false;
    }
    for (int i = 0; i < 3; ++i) {
        box.low[i] = config.workspace_low_m[i];
        box.high[i] = config.workspace_high_m[i];
        if (!is_range(box.low[i], box.high[i])) {
            return false;
        }
    }
    settings->rest_bound_ns = std::max(rest_ns(box), rest_ns(settings->rotation));
    return true;
}

}  // namespace

st4vla_player_status default_config(st4vla_player_robot robot, st4vla_player_config *config) noexcept
{
    *config = {};
    if (robot != ST4VLA_PLAYER_FRANKA_RESEARCH_3 && robot != ST4VLA_PLAYER_FRANKA_PANDA) {
        return ST4VLA_PLAYER_BAD_LIMITS;
    }
    const bool panda = robot == ST4VLA_PLAYER_FRANKA_PANDA;
    const franka::Limits &limits = panda ? franka::kPanda : franka::kResearch3;
    config->representation = ST4VLA_ACTION_EE_DELTA;
    config->action_dim = 7;
    config->gripper_index = 6;
    config->frame = {0, 200 * kMs, 400 * kMs};
    config->blend_ns = 100 * kMs;
    const franka::CartesianLimits &move = limits.translation, &turn = limits.rotation;
    config->translation = scaled(move.velocity, move.acceleration, move.jerk, kShare);
    config->rotation =
        scaled(turn.velocity, turn.acceleration, turn.jerk, kShare * franka::kPoseRotationShare);
    take_joints(limits, panda ? franka::kPanda : franka::kEarlyResearch3, config);
    for (int i = 0; i < 3; ++i) {
        config->workspace_low_m[i] = i == 2 ? 0.0 : -franka::kReach_m;
        config->workspace_high_m[i] = franka::kReach_m + (i == 2 ? franka::kShoulderHeight_m : 0.0);
    }
    config->leash_m = 0.06;
    config->leash_rad = 0.3;
    config->turn_rad = kHalfTurn_rad;
    config->gripper_close_below = 0.4;
    config->gripper_open_above = 0.6;
    return ST4VLA_PLAYER_OK;
}

st4vla_player_status take_welcome(const st4vla_wire_welcome &welcome, st4vla_player_config *config) noexcept
{
    config->representation = welcome.representation;
    config->action_dim = welcome.action_dim;
    config->gripper_index = welcome.gripper_index;
    if (welcome.frame_slow_ns != 0 || welcome.frame_hold_ns != 0 || welcome.frame_stop_ns != 0) {
        config->frame = {welcome.frame_slow_ns, welcome.frame_hold_ns, welcome.frame_stop_ns};
    }
    if (welcome.plan_slow_ns != 0 || welcome.plan_hold_ns != 0 || welcome.plan_stop_ns != 0) {
        config->plan = {welcome.plan_slow_ns, welcome.plan_hold_ns, welcome.plan_stop_ns};
    }
    Settings settings{};
    return checked(*config, &settings);
}

st4vla_player_status checked(const st4vla_player_config &config, Settings *settings) noexcept
{
    *settings = {};
    settings->config = config;
    const st4vla_player_status actions = check_actions(config, settings);
    if (actions != ST4VLA_PLAYER_OK) {
        return actions;
    }
    // Without an age at which to hold or stop there is no watchdog; positions cannot be scaled to slow an arm down.
    const bool watched = config.frame.hold_ns != 0 || config.frame.stop_ns != 0;
    const bool slows = config.frame.slow_ns != 0 || config.plan.slow_ns != 0;
    if (!are_ages(config.frame) || !are_ages(config.plan) || !watched || (slows && settings->positions)) {
        return ST4VLA_PLAYER_BAD_AGES;
    }
    // A goal more than half a turn away would have no direction.
    if (!is_positive(config.turn_rad) || config.turn_rad > kHalfTurn_rad || !is_positive(config.leash_m) || !is_positive(config.leash_rad) || config.leash_rad > 1.5 ||
        config.blend_ns < 0 || config.blend_ns > kLongest_ns || !take_bounds(config, settings)) {
        return ST4VLA_PLAYER_BAD_LIMITS;
    }
    if (config.blend_ns > 0) {
        settings->fading = kFaded / (static_cast<double>(config.blend_ns) * 1e-9);
        settings->fade = std::exp(-settings->fading * kTick_s);
    }
    return ST4VLA_PLAYER_OK;
}

}  // namespace st4vla::player
