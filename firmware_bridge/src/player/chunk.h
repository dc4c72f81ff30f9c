// A chunk of actions as the player keeps it, and what its actions say of an instant.
#ifndef ST4VLA_PLAYER_CHUNK_H
#define ST4VLA_PLAYER_CHUNK_H

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace st4vla::player {

constexpr int kMaxHorizon = 128, kMaxActionDim = 17;

struct Chunk {
    std::uint64_t chunk_id = 0, observation_sequence = 0;
    std::int64_t frame_capture_ns = 0, plan_capture_ns = 0, start_ns = 0, period_ns = 1;
    int horizon = 0, pace = 0;
    float actions[kMaxHorizon][kMaxActionDim] = {};

    double period_s() const noexcept { return static_cast<double>(period_ns) * 1e-9; }

    /// A time in periods since action 0 was due: action k is executed from k to k + 1.
    double phase(std::int64_t time_ns) const noexcept
    {
        return static_cast<double>(time_ns - start_ns) / static_cast<double>(period_ns);
    }
};

/// Three neighbouring actions, and what each counts for in the position and in the speed at an instant.
struct Weights {
    const float *action[3];
    double position[3], speed[3];

    double position_of(int dimension) const noexcept { return sum(position, dimension); }
    double speed_of(int dimension) const noexcept { return sum(speed, dimension); }

private:
    double sum(const double *weights, int dimension) const noexcept
    {
        return weights[0] * static_cast<double>(action[0][dimension]) +
               weights[1] * static_cast<double>(action[1][dimension]) +
               weights[2] * static_cast<double>(action[2][dimension]);
    }
};

/// What moves say of one phase: units per second.
///
/// Each action's move, spread over its period, is the speed in the middle of it, and speeds in between are
/// interpolated, so the sum of moves stays what it was. Before the first and after the last action it is 0; a chunk
/// that `joins` another has had an action before its first, which is taken to be like the first.
inline Weights weights_of_moves(const Chunk &chunk, double phase, bool joins) noexcept
{
    const double limited = std::min(std::max(phase, -2.0), chunk.horizon + 2.0);
    const double centred = joins && phase >= -0.5 ? std::max(limited - 0.5, 0.0) : limited - 0.5;
    // Positive before the cut, which then rounds down.
    const int below = static_cast<int>(centred + 4.0) - 4;
    const double share = centred - below, rate = 1.0 / chunk.period_s();
    Weights weights{};
    for (int i = 0; i < 2; ++i) {
        const int k = below + i, last = chunk.horizon - 1;
        weights.action[i] = chunk.actions[std::max(std::min(k, last), 0)];
        weights.speed[i] = k >= 0 && k <= last ? rate * (i == 0 ? 1.0 - share : share) : 0.0;
    }
    weights.action[2] = weights.action[1];
    return weights;
}

/// What positions say of one phase: action k is reached at the end of its period, and the corners of the path through
/// them are rounded (uniform quadratic B-spline: the average of that path over one period).
inline Weights weights_of_positions(const Chunk &chunk, double phase) noexcept
{
    const double limited = std::min(std::max(phase, -1.0), chunk.horizon + 2.0);
    const int knot = static_cast<int>(limited + 1.5) - 1;
    const double u = std::min(std::max(phase - knot, -0.5), 0.5), rate = 1.0 / chunk.period_s();
    const auto action = [&](int k) { return chunk.actions[std::max(std::min(k, chunk.horizon - 1), 0)]; };
    return {{action(knot - 2), action(knot - 1), action(knot)},
            {0.5 * (0.5 - u) * (0.5 - u), 0.75 - u * u, 0.5 * (0.5 + u) * (0.5 + u)},
            {(u - 0.5) * rate, -2.0 * u * rate, (0.5 + u) * rate}};
}

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_CHUNK_H
