#include "player/inbox.h"

#include <cstring>

namespace st4vla::player {
namespace {

constexpr std::int64_t kLongestPeriod_ns = 10'000'000'000;
/// A capture may be stamped by another thread a little later than the control thread looked at the clock.
constexpr std::int64_t kSkew_ns = 10'000'000;
/// A chunk that begins farther ahead was not made from a frame of now.
constexpr std::int64_t kFarthestStart_ns = 1'000'000'000;

bool is_time(std::int64_t time_ns) noexcept { return time_ns >= 0 && time_ns <= kLatest_ns; }

}  // namespace

st4vla_player_status Inbox::put(const st4vla_player_config &config, const st4vla_wire_action_chunk &chunk,
                                const void *actions, std::size_t bytes) noexcept
{
    const std::size_t row = config.action_dim * sizeof(float);
    if (chunk.representation != config.representation || chunk.action_dim != config.action_dim ||
        chunk.gripper_index != config.gripper_index || chunk.horizon < 1 || chunk.horizon > kMaxHorizon ||
        bytes != chunk.horizon * row || (chunk.pace != ST4VLA_PACE_RUN && chunk.pace != ST4VLA_PACE_SLOW)) {
        return ST4VLA_PLAYER_BAD_CHUNK;
    }
    if (!is_time(chunk.frame_capture_ns) || !is_time(chunk.plan_capture_ns) || !is_time(chunk.start_ns) ||
        chunk.period_ns < ST4VLA_PLAYER_TICK_NS || chunk.period_ns > kLongestPeriod_ns) {
        return ST4VLA_PLAYER_BAD_TIME;
    }
    Chunk &back = slot_.back();
    back.chunk_id = chunk.chunk_id;
    back.observation_sequence = chunk.observation_sequence;
    back.frame_capture_ns = chunk.frame_capture_ns;
    back.plan_capture_ns = chunk.plan_capture_ns;
    back.start_ns = chunk.start_ns;
    back.period_ns = chunk.period_ns;
    back.horizon = chunk.horizon;
    back.pace = chunk.pace;
    const auto *from = static_cast<const unsigned char *>(actions);
    for (int i = 0; i < back.horizon; ++i, from += row) {
        float *action = back.actions[i];
        std::memcpy(action, from, row);
        if (!std::all_of(action, action + config.action_dim, [](float x) { return std::isfinite(x); })) {
            return ST4VLA_PLAYER_NOT_FINITE;
        }
    }
    slot_.publish();
    return ST4VLA_PLAYER_OK;
}

Inbox::Taken Inbox::take(std::int64_t now_ns, bool playing) noexcept
{
    if (!slot_.take()) {
        return Taken::kNothing;
    }
    const Chunk &newest = slot_.front();
    if (playing && newest.observation_sequence <= chunk().observation_sequence) {
        return Taken::kOld;
    }
    if (newest.frame_capture_ns > now_ns + kSkew_ns || newest.plan_capture_ns > now_ns + kSkew_ns ||
        newest.start_ns > now_ns + kFarthestStart_ns) {
        return Taken::kFromTheFuture;
    }
    slot_.keep();
    return Taken::kNewer;
}

}  // namespace st4vla::player
