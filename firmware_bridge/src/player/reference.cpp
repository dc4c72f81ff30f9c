#include "player/reference.h"

namespace st4vla::player {
namespace {

/// Differences below it are over, in m, rad or per second; otherwise the arm would never be quite at rest.
constexpr double kNothing = 1e-6;

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

void Reference::splice(const Settings &settings, const Chunk &chunk, const Start &start, const Motion &from) noexcept
{
    factor_ = start.factor;
    joins_ = start.joins;
    Motion to{};
    plain(settings, chunk, start.time_ns - ST4VLA_PLAYER_TICK_NS, &to);
    for (int i = 0; i < settings.motion; ++i) {
        if (settings.positions) {
            left_.value[i] = from.at[i] - to.at[i];
            left_.rate[i] = from.speed[i] - to.speed[i];
        } else {
            // The rate is kept: what was fading goes on as it did.
            left_.value[i] = from.speed[i] - to.speed[i];
        }
    }
}

void Reference::at(const Settings &settings, const Chunk &chunk, std::int64_t time_ns, Motion *asked) noexcept
{
    plain(settings, chunk, time_ns, asked);
    for (int i = 0; i < settings.motion; ++i) {
        double &value = left_.value[i], &rate = left_.rate[i];
        // x'' = -2 f x' - f^2 x, solved for a tick.
        const double push = (rate + settings.fading * value) * kTick_s;
        value = settings.fade * (value + push);
        rate = settings.fade * (rate - settings.fading * push);
        if (std::fabs(value) <= kNothing && std::fabs(rate) <= kNothing * settings.fading) {
            value = rate = 0.0;
        }
        if (settings.positions) {
            asked->at[i] += value;
            asked->speed[i] += rate;
        } else {
            asked->speed[i] += value;
        }
    }
}

/// What the chunk itself says: moves no faster than the limits, and slowed down if they must be.
void Reference::plain(const Settings &settings, const Chunk &chunk, std::int64_t time_ns, Motion *asked) noexcept
{
    limited_ = false;
    double *const speed = asked->speed;
    if (settings.positions) {
        const Weights weights = weights_of_positions(chunk, chunk.phase(time_ns));
        for (int i = 0; i < settings.motion; ++i) {
            asked->at[i] = weights.position_of(settings.dimension[i]);
            speed[i] = weights.speed_of(settings.dimension[i]);
        }
        return;
    }
    // A speed stands for the whole tick that ends at this time, so it is that of the tick's middle.
    const Weights weights = weights_of_moves(chunk, chunk.phase(time_ns - ST4VLA_PLAYER_TICK_NS / 2), joins_);
    for (int i = 0; i < settings.motion; ++i) {
        speed[i] = weights.speed_of(settings.dimension[i]);
        if (settings.joints) {
            limited_ |= shorten(speed + i, 1, settings.joint[i].speed);
        }
    }
    if (!settings.joints) {
        limited_ |= shorten(speed, 3, settings.translation.speed);
        limited_ |= shorten(speed + 3, 3, settings.rotation.speed);
    }
    std::for_each(speed, speed + settings.motion, [this](double &each) { each *= factor_; });
}

}  // namespace st4vla::player
