#include "player/course.h"

namespace st4vla::player {
namespace {

Vec3 position_of(const Sent &sent) noexcept { return {{sent.at[0], sent.at[1], sent.at[2]}}; }
Quaternion rotation_of(const Sent &sent) noexcept { return {sent.at[3], sent.at[4], sent.at[5], sent.at[6]}; }

}  // namespace

double difference(const Settings &settings, const Sent &sent, const double *told) noexcept
{
    double largest = 0.0;
    if (settings.joints) {
        for (int i = 0; i < settings.motion; ++i) {
            largest = std::max(largest, std::fabs(sent.at[i] - told[i]));
        }
        return largest;
    }
    double rotation[9];
    to_matrix(rotation_of(sent), rotation, 3);
    for (int i = 0; i < 3; ++i) {
        largest = std::max(largest, std::fabs(sent.at[i] - told[4 * i + 3]));
        for (int j = 0; j < 3; ++j) {
            largest = std::max(largest, std::fabs(rotation[3 * i + j] - told[4 * i + j]));
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
