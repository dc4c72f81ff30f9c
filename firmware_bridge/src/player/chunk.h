// A chunk of actions as the player keeps it, and what its actions say of an instant.
#ifndef ST4VLA_PLAYER_CHUNK_H
#define ST4VLA_PLAYER_CHUNK_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace st4vla::player {

constexpr int kMaxHorizon = 128, kMaxActionDim = 17;

struct Chunk {
    std::uint64_t chunk_id = 0, observation_sequence = 0;
    std::int64_t frame_capture_ns = 0, plan_capture_ns = 0, start_ns = 0, period_ns = 1;
    int horizon = 0, pace = 0;
    float actions[kMaxHorizon][kMaxActionDim] = {};

    /// Copy what is in use of another chunk.
    void take(const Chunk &other) noexcept
    {
        chunk_id = other.chunk_id;
        observation_sequence = other.observation_sequence;
        frame_capture_ns = other.frame_capture_ns;
        plan_capture_ns = other.plan_capture_ns;
        start_ns = other.start_ns;
        period_ns = other.period_ns;
        horizon = other.horizon;
        pace = other.pace;
        std::memcpy(actions, other.actions, static_cast<std::size_t>(horizon) * sizeof actions[0]);
    }

    double period_s() const noexcept { return static_cast<double>(period_ns) * 1e-9; }

    /// A time in periods since action 0 was due: action k is executed from k to k + 1.
    double phase(std::int64_t time_ns) const noexcept
    {
        return static_cast<double>(time_ns - start_ns) / static_cast<double>(period_ns);
    }
};

/// The speed at one phase of a dimension that holds moves, units per second.
///
/// Each action's move, spread over its period, is the speed in the middle of it, and speeds in between are
/// interpolated, so the sum of moves stays what it was. Before the first and after the last action it is 0; a chunk
/// that `joins` another has had an action before its first, which is taken to be like the first.
inline double speed_of_moves(const Chunk &chunk, int dimension, double phase, bool joins) noexcept
{
    const double centred = joins && phase >= -0.5 ? std::max(phase - 0.5, 0.0) : phase - 0.5;
    const double below = std::floor(centred);
    const auto move = [&](double index) {
        const bool has = index >= 0.0 && index < chunk.horizon;
        return has ? static_cast<double>(chunk.actions[static_cast<int>(index)][dimension]) : 0.0;
    };
    const double share = centred - below;
    return ((1.0 - share) * move(below) + share * move(below + 1.0)) / chunk.period_s();
}

struct Place {
    double position, speed;
};

/// Position and speed at one phase of a dimension that holds positions: action k is reached at the end of its period,
/// and the corners of the path through them are rounded (uniform quadratic B-spline: the average of that path over one
/// period).
inline Place place_of_positions(const Chunk &chunk, int dimension, double phase) noexcept
{
    const double nearest = std::floor(std::min(std::max(phase, -1.0), chunk.horizon + 2.0) + 0.5);
    const double u = std::min(std::max(phase - nearest, -0.5), 0.5);
    const auto at = [&](int knot) {
        return static_cast<double>(chunk.actions[std::min(std::max(knot - 1, 0), chunk.horizon - 1)][dimension]);
    };
    const int knot = static_cast<int>(nearest);
    const double before = at(knot - 1), here = at(knot), after = at(knot + 1);
    return {0.5 * (0.5 - u) * (0.5 - u) * before + (0.75 - u * u) * here + 0.5 * (0.5 + u) * (0.5 + u) * after,
            ((u - 0.5) * before - 2.0 * u * here + (0.5 + u) * after) / chunk.period_s()};
}

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_CHUNK_H
