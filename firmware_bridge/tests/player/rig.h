// A player with a clock, a robot that follows it perfectly, and short ways to make chunks.
#ifndef ST4VLA_TESTS_PLAYER_RIG_H
#define ST4VLA_TESTS_PLAYER_RIG_H

#include <cstdint>
#include <vector>

#include "check.h"
#include "player/bound_check.h"

namespace st4vla::player {

constexpr std::int64_t kMs = 1'000'000, kPeriod_ns = 50 * kMs;
/// Where a hand begins: the middle of the tabletop, gripper straight down.
constexpr double kHome[16] = {1, 0, 0, 0.5, 0, -1, 0, 0, 0, 0, -1, 0.3, 0, 0, 0, 1};
constexpr double kReady[7] = {0.0, -0.7, 0.0, -2.3, 0.0, 1.6, 0.7};

inline st4vla_player_config default_config(st4vla_action representation = ST4VLA_ACTION_EE_DELTA)
{
    st4vla_player_config config;
    CHECK(st4vla_player_config_default(ST4VLA_PLAYER_FRANKA_RESEARCH_3, &config) == ST4VLA_PLAYER_OK);
    if (representation != ST4VLA_ACTION_EE_DELTA) {
        config.representation = representation;
        config.action_dim = 8;
        config.gripper_index = 7;
    }
    return config;
}

struct MadeChunk {
    st4vla_wire_action_chunk header{};
    std::vector<float> actions;
};

/// A chunk of `horizon` times the same action.
inline MadeChunk made_chunk(const st4vla_player_config &config, std::uint64_t sequence, std::int64_t start_ns,
                            int horizon, const std::vector<float> &action)
{
    MadeChunk chunk;
    chunk.header.chunk_id = 1000 + sequence;
    chunk.header.observation_sequence = sequence;
    chunk.header.frame_capture_ns = chunk.header.plan_capture_ns = chunk.header.start_ns = start_ns;
    chunk.header.period_ns = kPeriod_ns;
    chunk.header.horizon = static_cast<std::uint16_t>(horizon);
    chunk.header.action_dim = config.action_dim;
    chunk.header.gripper_index = config.gripper_index;
    chunk.header.representation = config.representation;
    chunk.header.pace = ST4VLA_PACE_RUN;
    CHECK(action.size() == config.action_dim);
    for (int i = 0; i < horizon; ++i) {
        chunk.actions.insert(chunk.actions.end(), action.begin(), action.end());
    }
    return chunk;
}

class Rig {
public:
    explicit Rig(const st4vla_player_config &config) : check(config), config_(config)
    {
        CHECK(st4vla_player_create(&config, &player) == ST4VLA_PLAYER_OK);
        CHECK(st4vla_player_anchor(player, kHome, kReady) == ST4VLA_PLAYER_OK);
        input.now_ns = 1'000'000 * kMs;
        input.ticks = 1;
    }
    ~Rig() { st4vla_player_destroy(player); }
    Rig(const Rig &) = delete;
    Rig &operator=(const Rig &) = delete;

    st4vla_player_status put(const MadeChunk &chunk)
    {
        return st4vla_player_put(player, &chunk.header, chunk.actions.data(), chunk.actions.size() * sizeof(float));
    }

    /// Put `horizon` times the same action, from a frame of now, the first of them due after `ahead_ns`.
    void put(std::uint64_t sequence, int horizon, const std::vector<float> &action, std::int64_t ahead_ns = 0)
    {
        MadeChunk chunk = made_chunk(config_, sequence, input.now_ns, horizon, action);
        chunk.header.start_ns += ahead_ns;
        CHECK(put(chunk) == ST4VLA_PLAYER_OK);
    }

    void step()
    {
        input.now_ns += input.ticks * kMs;
        CHECK(st4vla_player_step(player, &input, &setpoint) == ST4VLA_PLAYER_OK);
        check.take(setpoint);
    }

    void run_ms(int count)
    {
        for (int i = 0; i < count; ++i) {
            step();
        }
    }

    double x() const { return setpoint.base_T_ee[3]; }
    std::int64_t now_ns() const { return input.now_ns; }

    st4vla_player *player = nullptr;
    st4vla_player_input input{};
    st4vla_player_setpoint setpoint{};
    BoundCheck check;

private:
    st4vla_player_config config_;
};

inline bool is_near(double a, double b, double within) { return std::fabs(a - b) <= within; }

}  // namespace st4vla::player

#endif  // ST4VLA_TESTS_PLAYER_RIG_H
