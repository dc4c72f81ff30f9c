#include "player/course.h"

namespace st4vla::player {
namespace {

Vec3 position_of(const Sent &sent) noexcept { return {{sent.at[0], sent.at[1], sent.at[2]}}; }
Quaternion rotation_of(const Sent &sent) noexcept { return {sent.at[3], sent.at[4], sent.at[5], sent.at[6]}; }

/// A robot ends a motion after so many commands that it has not heard.
constexpr int kMostMissed = 20;
/// Limits are passed a little by what is estimated, and by what is gained while nothing is heard.
constexpr double kRoom = 1.5;

/// Whether something can be so far from where it was sent, and so fast. Written so that NaN cannot.
template <int D>
bool is_possible(const Going<D> &going, const Vec<D> &sent, const Bounds<D> &bounds) noexcept
{
    const double farthest = kRoom * bounds.cut * kTick_s * kMostMissed * (kMostMissed + 1);
    return norm(going.position - sent) <= farthest && norm(going.change) <= kRoom * bounds.cut &&
           norm(going.velocity) <= bounds.speed + kRoom * bounds.cut * kMostMissed;
}

}  // namespace

Sent sent_of(const Settings &settings, const double *told) noexcept
{
    Sent sent;
    if (settings.joints) {
        std::copy_n(told, settings.motion, sent.at);
    } else {
        put_pose({{told[3], told[7], told[11]}}, from_matrix(told, 4), &sent);
    }
    return sent;
}

double difference(const Settings &settings, const Sent &sent, const double *told) noexcept
{
    double largest = 0.0;
    const auto compare = [&largest](double mine, double other) {
        largest = std::max(largest, std::fabs(mine - other) / std::max(std::fabs(other), 1.0));
    };
    if (settings.joints) {
        for (int i = 0; i < settings.motion; ++i) {
            compare(sent.at[i], told[i]);
        }
        return largest;
    }
    double rotation[9];
    to_matrix(rotation_of(sent), rotation, 3);
    for (int i = 0; i < 3; ++i) {
        compare(sent.at[i], told[4 * i + 3]);
        for (int j = 0; j < 3; ++j) {
            compare(rotation[3 * i + j], told[4 * i + j]);
        }
    }
    return largest;
}

void Course::begin(const Settings &settings, const Sent &sent) noexcept
{
    if (!settings.joints) {
        point = {position_of(sent), {}, {}};
        rotation = {rotation_of(sent), {}, {}};
        return;
    }
    for (int i = 0; i < settings.motion; ++i) {
        joints[i] = {{{sent.at[i]}}, {}, {}};
    }
}

void Course::hear(const Settings &settings, const Sent &sent) noexcept
{
    if (!settings.joints) {
        point.hear(position_of(sent));
        rotation.hear(rotation_of(sent));
        return;
    }
    for (int i = 0; i < settings.motion; ++i) {
        joints[i].hear({{sent.at[i]}});
    }
}

void Course::coast(const Settings &settings) noexcept
{
    if (!settings.joints) {
        point.coast();
        rotation.coast();
        return;
    }
    std::for_each(joints, joints + settings.motion, [](auto &joint) { joint.coast(); });
}

void Course::arrive(const Settings &settings, const Sent &place, int ticks) noexcept
{
    if (!settings.joints) {
        point.arrive(position_of(place), ticks);
        rotation.arrive(rotation_of(place), ticks);
        return;
    }
    for (int i = 0; i < settings.motion; ++i) {
        joints[i].arrive({{place.at[i]}}, ticks);
    }
}

bool Course::is_possible(const Settings &settings, const Sent &sent) const noexcept
{
    if (!settings.joints) {
        const Vec3 turned = to_vector(rotation.rotation * conjugate(rotation_of(sent)));
        return player::is_possible(point, position_of(sent), settings.translation) &&
               player::is_possible<3>({turned, rotation.velocity, rotation.change}, {}, settings.rotation);
    }
    for (int i = 0; i < settings.motion; ++i) {
        if (!player::is_possible<1>(joints[i], {{sent.at[i]}}, settings.joint[i])) {
            return false;
        }
    }
    return true;
}

Sent Course::place(const Settings &settings) const noexcept
{
    Sent sent;
    if (settings.joints) {
        std::transform(joints, joints + settings.motion, sent.at, [](const auto &joint) { return joint.position[0]; });
        return sent;
    }
    put_pose(point.position, rotation.rotation, &sent);
    return sent;
}

}  // namespace st4vla::player
