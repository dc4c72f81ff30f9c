#include "player/arm.h"

namespace st4vla::player {
namespace {

/// As libfranka tests a pose.
constexpr double kRotationTolerance = 1e-5;
/// An arm that is farther from its setpoint is not following it.
constexpr double kLostLeashes = 4.0;

bool are_finite(const double *numbers, int count) noexcept
{
    return std::all_of(numbers, numbers + count, [](double x) { return std::isfinite(x); });
}

template <int D>
bool is_inside(const Vec<D> &position, const Bounds<D> &bounds) noexcept
{
    for (int i = 0; i < D; ++i) {
        if (!(position[i] >= bounds.low[i] && position[i] <= bounds.high[i])) {
            return false;
        }
    }
    return true;
}

Vec3 vector_of(const double *numbers) noexcept { return {{numbers[0], numbers[1], numbers[2]}}; }

}  // namespace

st4vla_player_status Arm::reset(const Settings &settings, const double *base_T_ee,
                                const double *joint_positions_rad) noexcept
{
    const double *given = settings.joints ? joint_positions_rad : base_T_ee;
    if (given == nullptr) {
        return ST4VLA_PLAYER_BAD_POINTER;
    }
    if (!are_finite(given, settings.joints ? settings.motion : 16)) {
        return ST4VLA_PLAYER_BAD_POSE;
    }
    if (settings.joints) {
        for (int i = 0; i < settings.motion; ++i) {
            if (!is_inside(Vec<1>{{given[i]}}, settings.joint[i])) {
                return ST4VLA_PLAYER_BAD_POSE;
            }
        }
        for (int i = 0; i < settings.motion; ++i) {
            joints_[i].reset({{given[i]}}, settings.joint[i]);
        }
        return ST4VLA_PLAYER_OK;
    }
    const Vec3 position{{given[3], given[7], given[11]}};
    const bool bottom = given[12] == 0.0 && given[13] == 0.0 && given[14] == 0.0 && given[15] == 1.0;
    if (!bottom || !is_rotation(given, 4, kRotationTolerance) || !is_inside(position, settings.translation)) {
        return ST4VLA_PLAYER_BAD_POSE;
    }
    point_.reset(position, settings.translation);
    rotation_.reset(from_matrix(given, 4), settings.rotation, settings.config.turn_rad);
    return ST4VLA_PLAYER_OK;
}

bool Arm::follow(const Settings &settings, const Motion &asked, const double *measured, Tick tick) noexcept
{
    const double leash_m = settings.config.leash_m, leash_rad = settings.config.leash_rad;
    if (!settings.joints) {
        const Vec3 hand = measured != nullptr ? vector_of(measured) : Vec3{};
        const Vec3 goal = point_.goal() + vector_of(asked.speed) * kTick_s;
        const bool moved = point_.follow(goal, leash_m, measured != nullptr ? &hand : nullptr, tick);
        return rotation_.follow(vector_of(asked.speed + 3), leash_rad, tick) || moved;
    }
    bool moved = false;
    for (int i = 0; i < settings.motion; ++i) {
        const double goal = settings.positions ? asked.at[i] : joints_[i].goal()[0] + asked.speed[i] * kTick_s;
        const Vec<1> joint{{measured != nullptr ? measured[i] : 0.0}};
        moved |= joints_[i].follow({{goal}}, leash_rad, measured != nullptr ? &joint : nullptr, tick);
    }
    return moved;
}

void Arm::brake(const Settings &settings, Tick tick) noexcept
{
    if (!settings.joints) {
        point_.brake(tick);
        rotation_.brake(tick);
        return;
    }
    std::for_each(joints_, joints_ + settings.motion, [tick](auto &joint) { joint.brake(tick); });
}

void Arm::go_on(const Settings &settings, const Course &from) noexcept
{
    if (!settings.joints) {
        point_.go_on(from.point);
        rotation_.go_on(from.rotation);
        return;
    }
    for (int i = 0; i < settings.motion; ++i) {
        joints_[i].go_on(from.joints[i]);
    }
}

void Arm::command(const Settings &settings, Sent *sent) const noexcept
{
    if (!settings.joints) {
        put_pose(point_.commanded().position, rotation_.commanded().rotation, sent);
        return;
    }
    for (int i = 0; i < settings.motion; ++i) {
        sent->at[i] = joints_[i].commanded().position[0];
    }
}

void Arm::done(const Settings &settings, Motion *motion) const noexcept
{
    for (int i = 0; !settings.joints && i < 3; ++i) {
        motion->speed[i] = point_.inner_velocity()[i];
        motion->speed[3 + i] = rotation_.inner_velocity()[i];
    }
    for (int i = 0; settings.joints && i < settings.motion; ++i) {
        motion->at[i] = joints_[i].goal()[0];
        motion->speed[i] = joints_[i].inner_velocity()[0];
    }
}

bool Arm::at_rest(const Settings &settings) const noexcept
{
    if (!settings.joints) {
        return point_.at_rest() && rotation_.at_rest();
    }
    return std::all_of(joints_, joints_ + settings.motion, [](const auto &joint) { return joint.at_rest(); });
}

bool Arm::is_lost(const Settings &settings, const double *measured) const noexcept
{
    // Written so that NaN is lost.
    if (!settings.joints) {
        return !(norm(vector_of(measured) - point_.commanded().position) <= kLostLeashes * settings.config.leash_m);
    }
    for (int i = 0; i < settings.motion; ++i) {
        if (!(std::fabs(measured[i] - joints_[i].commanded().position[0]) <= kLostLeashes * settings.config.leash_rad)) {
            return true;
        }
    }
    return false;
}

void Arm::write(const Settings &settings, st4vla_player_setpoint *setpoint) const noexcept
{
    const Quaternion &q = rotation_.commanded().rotation;
    const double wxyz[] = {q.w, q.x, q.y, q.z};
    std::copy(wxyz, wxyz + 4, setpoint->quaternion_wxyz);
    to_matrix(q, setpoint->base_T_ee, 4);
    setpoint->base_T_ee[15] = 1.0;
    for (int i = 0; i < 3; ++i) {
        setpoint->base_T_ee[4 * i + 3] = point_.commanded().position[i];
        setpoint->twist[i] = point_.commanded().velocity[i];
        setpoint->twist[3 + i] = rotation_.commanded().velocity[i];
    }
    for (int i = 0; settings.joints && i < settings.motion; ++i) {
        setpoint->joint_positions_rad[i] = joints_[i].commanded().position[0];
        setpoint->joint_velocities_rad_s[i] = joints_[i].commanded().velocity[0];
    }
}

}  // namespace st4vla::player
