#include "player/reference.h"

namespace st4vla::player {
namespace {

/// Shorten `count` numbers that are one vector to `longest`; return whether they were longer.
bool shorten(double *numbers, int count, double longest) noexcept
{
    double square = 0.0;
    for (int i = 0; i < count; ++i) {
        square += numbers[i] * numbers[i];
    }
    if (square <= longest * longest) {
        return false;
    }
    const double share = longest / std::sqrt(square);
    for (int i = 0; i < count; ++i) {
        numbers[i] *= share;
    }
    return true;
}

}  // namespace

void Reference::splice(const Settings &settings, const Chunk &chunk, double factor, std::int64_t time_ns,
                       const Motion &from) noexcept
{
    factor_ = factor;
    since_ns_ = time_ns;
    const Motion to = plain(settings, chunk, time_ns);
    for (int i = 0; i < settings.motion; ++i) {
        left_.at[i] = from.at[i] - to.at[i];
        left_.speed[i] = from.speed[i] - to.speed[i];
    }
}

Reference::Motion Reference::at(const Settings &settings, const Chunk &chunk, std::int64_t time_ns) noexcept
{
    Motion asked = plain(settings, chunk, time_ns);
    const std::int64_t blend_ns = settings.config.blend_ns, since_ns = time_ns - since_ns_;
    if (since_ns >= blend_ns) {
        return asked;
    }
    // Smoothstep: it begins and ends without a slope, so speeds join as values do.
    const double share = std::max(static_cast<double>(since_ns) / static_cast<double>(blend_ns), 0.0);
    const double fade = 1.0 - share * share * (3.0 - 2.0 * share);
    const double slope = -6.0 * share * (1.0 - share) / (static_cast<double>(blend_ns) * 1e-9);
    const double since_s = std::max(static_cast<double>(since_ns), 0.0) * 1e-9;
    for (int i = 0; i < settings.motion; ++i) {
        const double drifted = left_.at[i] + left_.speed[i] * since_s;
        asked.at[i] += drifted * fade;
        asked.speed[i] += left_.speed[i] * fade + (settings.positions ? drifted * slope : 0.0);
    }
    return asked;
}

/// What the chunk itself says: moves no faster than the limits, and slowed down if they must be.
Reference::Motion Reference::plain(const Settings &settings, const Chunk &chunk, std::int64_t time_ns) noexcept
{
    Motion asked{};
    // A speed stands for the whole tick that ends at this time, so it is that of the tick's middle.
    const double phase = chunk.phase(settings.positions ? time_ns : time_ns - ST4VLA_PLAYER_TICK_NS / 2);
    limited_ = false;
    for (int i = 0; i < settings.motion; ++i) {
        if (settings.positions) {
            const Place place = place_of_positions(chunk, settings.dimension[i], phase);
            asked.at[i] = place.position;
            asked.speed[i] = place.speed;
        } else {
            asked.speed[i] = speed_of_moves(chunk, settings.dimension[i], phase);
        }
    }
    if (settings.positions) {
        return asked;
    }
    if (!settings.joints) {
        limited_ |= shorten(asked.speed, 3, settings.translation.speed);
        limited_ |= shorten(asked.speed + 3, 3, settings.rotation.speed);
    }
    for (int i = 0; i < settings.motion; ++i) {
        if (settings.joints) {
            limited_ |= shorten(asked.speed + i, 1, settings.joint[i].speed);
        }
        asked.speed[i] *= factor_;
    }
    return asked;
}

}  // namespace st4vla::player
