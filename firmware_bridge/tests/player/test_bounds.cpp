// Huge steps, walls, leashes and lost hands; every step of a Rig is checked against the limits by itself.
#include <limits>

#include "player/rig.h"

namespace {

using namespace st4vla::player;

/// Keep chunks of one action coming, as young as can be.
void drive(Rig &rig, int ms, const std::vector<float> &action)
{
    static std::uint64_t sequence = 0;
    for (int i = 0; i < ms; ++i) {
        if (i % 50 == 0) {
            rig.put(++sequence, 8, action);
        }
        rig.step();
    }
}

void huge_steps_are_limited_and_used_to_the_limit()
{
    const st4vla_player_config config = default_config();
    Rig rig(config);
    drive(rig, 400, {0, 1e30F, 0, 0, 0, -3e38F, 1});
    CHECK(rig.setpoint.limited == 1);
    drive(rig, 400, {0, -3e38F, 0, 0, 0, 3e38F, 1});
    // Nearly all that the limits allow was used, so they were tested.
    CHECK(rig.check.translation.fastest >= 0.6 * config.translation.velocity);
    CHECK(rig.check.translation.hardest >= 0.98 * config.translation.acceleration);
    CHECK(rig.check.translation.sharpest >= 0.45 * config.translation.jerk);
    CHECK(rig.check.rotation.fastest >= 0.98 * config.rotation.velocity);
    CHECK(rig.check.rotation.hardest >= 0.98 * config.rotation.acceleration);
    CHECK(rig.check.rotation.sharpest >= 0.45 * config.rotation.jerk);
}

void what_a_huge_step_asked_for_too_much_is_not_owed()
{
    Rig rig(default_config());
    drive(rig, 60, {0, 1e30F, 0, 0, 0, 0, 1});
    drive(rig, 600, {0, -0.01F, 0, 0, 0, 0, 1});
    CHECK(is_near(rig.setpoint.twist[1], -0.2, 1e-3));
}

void tighter_limits_hold_and_wider_averages_too()
{
    st4vla_player_config config = default_config();
    config.translation = {0.4, 2.0, 60.0};
    config.rotation = {1.0, 5.0, 200.0};
    Rig rig(config);
    for (int turn = 0; turn < 6; ++turn) {
        drive(rig, 150, {turn % 2 == 0 ? 1.0F : -1.0F, 0.5F, 0, 0, turn % 3 == 0 ? 1.0F : -1.0F, 0, 1});
    }
    CHECK(rig.check.translation.fastest >= 0.2 && rig.check.rotation.fastest >= 0.4);
}

void the_workspace_is_not_left_but_used_to_its_ends()
{
    st4vla_player_config config = default_config();
    const double low[] = {0.4, -0.2, 0.25}, high[] = {0.6, 0.2, 0.5};
    std::copy(low, low + 3, config.workspace_low_m);
    std::copy(high, high + 3, config.workspace_high_m);
    Rig rig(config);
    drive(rig, 1000, {0.04F, -0.03F, -0.02F, 0, 0, 0, 1});
    CHECK(is_near(rig.x(), 0.6, 1e-6) && is_near(rig.setpoint.base_T_ee[7], -0.2, 1e-6));
    CHECK(is_near(rig.setpoint.base_T_ee[11], 0.25, 1e-6) && rig.setpoint.limited == 1);
    // Along a wall it still moves, and what was pushed into it is not owed.
    drive(rig, 350, {0, 0.01F, 0, 0, 0, 0, 1});
    CHECK(rig.setpoint.base_T_ee[7] > -0.17 && rig.setpoint.limited == 0);
    drive(rig, 150, {-0.01F, 0, 0, 0, 0, 0, 1});
    CHECK(rig.x() < 0.595);
}

void a_blocked_hand_holds_its_goal_back()
{
    const st4vla_player_config config = default_config();
    Rig rig(config);
    rig.input.has_measured = 1;
    rig.input.measured[0] = 0.5;
    rig.input.measured[2] = 0.3;
    drive(rig, 1000, {0.01F, 0, 0, 0, 0, 0, 1});
    CHECK(is_near(rig.x(), 0.5 + config.leash_m, 1e-6));
    CHECK(rig.setpoint.pace == ST4VLA_PACE_RUN && rig.setpoint.limited == 1);
}

void a_lost_hand_is_a_stop()
{
    for (const double where : {0.5 + 0.25, std::nan(""), std::numeric_limits<double>::infinity()}) {
        Rig rig(default_config());
        rig.input.has_measured = 1;
        rig.input.measured[0] = where;
        rig.input.measured[2] = 0.3;
        drive(rig, 10, {0.01F, 0, 0, 0, 0, 0, 1});
        CHECK(rig.setpoint.pace == ST4VLA_PACE_STOP && rig.setpoint.reason == ST4VLA_PLAYER_REASON_LOST);
        CHECK(rig.x() == 0.5);
    }
}

void a_hand_outside_the_workspace_is_not_anchored()
{
    Rig rig(default_config());
    double pose[16];
    std::copy(kHome, kHome + 16, pose);
    pose[11] = -0.01;
    CHECK(st4vla_player_anchor(rig.player, pose, nullptr) == ST4VLA_PLAYER_BAD_POSE);
    pose[11] = std::nan("");
    CHECK(st4vla_player_anchor(rig.player, pose, nullptr) == ST4VLA_PLAYER_BAD_POSE);
    pose[11] = 0.3;
    pose[0] = 1.1;
    CHECK(st4vla_player_anchor(rig.player, pose, nullptr) == ST4VLA_PLAYER_BAD_POSE);
    CHECK(st4vla_player_anchor(rig.player, nullptr, kReady) == ST4VLA_PLAYER_BAD_POINTER);
}

void chunks_that_are_no_chunks_are_refused()
{
    const st4vla_player_config config = default_config();
    Rig rig(config);
    rig.step();
    const MadeChunk good = made_chunk(config, 1, rig.now_ns(), 8, {0.01F, 0, 0, 0, 0, 0, 1});
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        MadeChunk chunk = good;
        chunk.actions[17] = bad;
        CHECK(rig.put(chunk) == ST4VLA_PLAYER_NOT_FINITE);
    }
    MadeChunk chunk = good;
    chunk.header.horizon = 9;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_BAD_CHUNK);
    chunk.header.horizon = 0;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_BAD_CHUNK);
    chunk = good;
    chunk.header.representation = ST4VLA_ACTION_JOINT_DELTA;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_BAD_CHUNK);
    chunk = good;
    chunk.header.pace = ST4VLA_PACE_HOLD;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_BAD_CHUNK);
    chunk = good;
    chunk.header.period_ns = 0;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_BAD_TIME);
    chunk.header.period_ns = INT64_MAX;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_BAD_TIME);
    rig.step();
    CHECK(rig.setpoint.reason == ST4VLA_PLAYER_REASON_NO_CHUNK && rig.x() == 0.5);
    CHECK(rig.put(good) == ST4VLA_PLAYER_OK);
}

}  // namespace

int main()
{
    huge_steps_are_limited_and_used_to_the_limit();
    what_a_huge_step_asked_for_too_much_is_not_owed();
    tighter_limits_hold_and_wider_averages_too();
    the_workspace_is_not_left_but_used_to_its_ends();
    a_blocked_hand_holds_its_goal_back();
    a_lost_hand_is_a_stop();
    a_hand_outside_the_workspace_is_not_anchored();
    chunks_that_are_no_chunks_are_refused();
    return 0;
}
