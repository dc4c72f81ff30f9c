// Drives a player by a string of bytes: chunks of anything, at any time. For random tests and the fuzzer alike.
#ifndef ST4VLA_TESTS_PLAYER_MISCHIEF_H
#define ST4VLA_TESTS_PLAYER_MISCHIEF_H

#include <cstring>

#include "player/rig.h"

namespace st4vla::player {

/// Reads numbers from bytes; past their end there are zeros.
class Bytes {
public:
    Bytes(const std::uint8_t *data, std::size_t size) : data_(data), size_(size) {}

    bool empty() const { return at_ >= size_; }

    template <typename T>
    T next()
    {
        T value{};
        const std::size_t left = size_ - at_, bytes = left < sizeof value ? left : sizeof value;
        std::memcpy(&value, data_ + at_, bytes);
        at_ += bytes;
        return value;
    }

private:
    const std::uint8_t *data_;
    std::size_t size_, at_ = 0;
};

/// A config that is one of a few kinds: wide and tight limits, end effector and joints.
inline st4vla_player_config mischievous_config(Bytes &bytes)
{
    const auto kind = bytes.next<std::uint8_t>();
    const st4vla_action representations[] = {ST4VLA_ACTION_EE_DELTA, ST4VLA_ACTION_JOINT_DELTA,
                                             ST4VLA_ACTION_JOINT_POSITION};
    st4vla_player_config config = default_config(representations[kind % 3]);
    if ((kind & 4) != 0) {
        config.translation = {0.5, 3.0, 100.0};
        config.rotation = {1.5, 6.0, 300.0};
        for (auto &joint : config.joints) {
            joint.jerk /= 20.0;
        }
    }
    if ((kind & 8) != 0) {
        const double low[] = {0.45, -0.1, 0.28}, high[] = {0.55, 0.03, 0.32};
        std::copy(low, low + 3, config.workspace_low_m);
        std::copy(high, high + 3, config.workspace_high_m);
    }
    if ((kind & 16) != 0) {
        config.leash_m = config.leash_rad = 1.5;
    }
    if ((kind & 32) != 0) {
        config.blend_ns = 0;
    }
    if ((kind & 64) != 0 && config.representation != ST4VLA_ACTION_JOINT_POSITION) {
        config.frame = {30 * kMs, 60 * kMs, 0};
    }
    return config;
}

/// A number of an action: mostly such as a policy gives, sometimes anything that 32 bits can be.
inline float mischievous_number(Bytes &bytes)
{
    const auto kind = bytes.next<std::uint8_t>();
    if (kind < 8) {
        return bytes.next<float>();
    }
    const float size = kind < 64 ? 10.0F : kind < 128 ? 0.3F : 0.05F;
    return size * static_cast<float>(bytes.next<std::int8_t>()) / 127.0F;
}

inline MadeChunk mischievous_chunk(Bytes &bytes, const st4vla_player_config &config, std::uint64_t sequence,
                                   std::int64_t now_ns)
{
    const int horizon = 1 + bytes.next<std::uint8_t>() % 16;
    MadeChunk chunk = made_chunk(config, sequence, now_ns, horizon, std::vector<float>(config.action_dim, 0.0F));
    for (float &number : chunk.actions) {
        number = mischievous_number(bytes);
    }
    st4vla_wire_action_chunk &header = chunk.header;
    const auto odd = bytes.next<std::uint8_t>();
    header.start_ns = now_ns + bytes.next<std::int16_t>() * (kMs / 50);
    header.frame_capture_ns = now_ns - bytes.next<std::uint8_t>() * kMs / 2;
    header.period_ns = (1 + bytes.next<std::uint8_t>() % 100) * kMs;
    if (odd == 1) {
        header.start_ns = bytes.next<std::int64_t>();
    } else if (odd == 2) {
        header.frame_capture_ns = bytes.next<std::int64_t>();
    } else if (odd == 3) {
        header.period_ns = bytes.next<std::int64_t>();
    } else if (odd == 4) {
        header.observation_sequence = bytes.next<std::uint64_t>();
    } else if (odd == 5) {
        header.pace = bytes.next<std::uint16_t>();
    } else if (odd == 6) {
        header.horizon = bytes.next<std::uint16_t>();
    } else if (odd == 7) {
        header.plan_capture_ns = bytes.next<std::int64_t>();
    }
    return chunk;
}

/// Play until the bytes are used up; each setpoint is checked by the rig.
inline void play_mischief(const std::uint8_t *data, std::size_t size)
{
    Bytes bytes(data, size);
    const st4vla_player_config config = mischievous_config(bytes);
    Rig rig(config);
    std::uint64_t sequence = 0;
    while (!bytes.empty()) {
        const auto deed = bytes.next<std::uint8_t>();
        if (deed < 120) {
            rig.put(mischievous_chunk(bytes, config, ++sequence, rig.now_ns()));
        } else if (deed < 124) {
            rig.input.now_ns += bytes.next<std::int32_t>();
        } else if (deed == 124) {
            rig.input.now_ns = bytes.next<std::int64_t>() / 2;
        } else if (deed == 125) {
            st4vla_player_stop(rig.player);
        } else if (deed < 140) {
            st4vla_player_resume(rig.player);
        } else if (deed < 150) {
            // A hand that is somewhere near, or nowhere at all.
            rig.input.has_measured = bytes.next<std::uint8_t>() & 1U;
            for (int i = 0; i < 7; ++i) {
                rig.input.measured[i] = config.representation == ST4VLA_ACTION_EE_DELTA
                                            ? rig.setpoint.base_T_ee[4 * (i % 3) + 3] + mischievous_number(bytes)
                                            : rig.setpoint.joint_positions_rad[i] + mischievous_number(bytes);
            }
        } else if (deed == 150) {
            rig.input.ticks = bytes.next<std::uint8_t>() % ST4VLA_PLAYER_MAX_TICKS;
            rig.check.missed(static_cast<int>(rig.input.ticks));
            rig.step();
            rig.input.ticks = 1;
        }
        rig.run_ms(1 + bytes.next<std::uint8_t>() % 64);
    }
    // Whatever there was: told to stop, it is at rest within the bound.
    CHECK(st4vla_player_stop(rig.player) == ST4VLA_PLAYER_OK);
    rig.run_ms(static_cast<int>(st4vla_player_rest_bound_ns(rig.player) / kMs));
    CHECK(rig.setpoint.at_rest == 1 && rig.setpoint.pace == ST4VLA_PACE_STOP);
}

}  // namespace st4vla::player

#endif  // ST4VLA_TESTS_PLAYER_MISCHIEF_H
