// When actions are executed, and how one chunk takes the place of another.
#include "player/rig.h"

namespace {

using namespace st4vla::player;

/// The delay of the average that bounds the jerk: 4 samples, so 1.5 ms.
constexpr double kDelay_s = 1.5e-3;

void a_chunk_moves_the_hand_by_its_deltas_in_its_time()
{
    const st4vla_player_config config = default_config();
    Rig rig(config);
    rig.step();
    MadeChunk chunk = made_chunk(config, 1, rig.now_ns() + 30 * kMs, 4, {0.01F, 0, 0, 0, 0, 0, 1});
    chunk.header.frame_capture_ns = chunk.header.plan_capture_ns = rig.now_ns() - 20 * kMs;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
    rig.run_ms(130);
    // Two of four actions are over: the speed is even by then, and half of the way is done.
    CHECK(is_near(rig.x(), 0.52 - 0.2 * kDelay_s, 1e-5));
    CHECK(is_near(rig.setpoint.twist[0], 0.2, 1e-6));
    CHECK(rig.setpoint.pace == ST4VLA_PACE_RUN && rig.setpoint.reason == ST4VLA_PLAYER_REASON_NONE);
    CHECK(rig.setpoint.chunk_id == 1001 && rig.setpoint.action_index == 2);
    CHECK(rig.setpoint.frame_age_ns == 150 * kMs);
    chunk.header.observation_sequence += 1;
    chunk.header.frame_capture_ns = rig.now_ns();
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
    rig.run_ms(90);
    CHECK(rig.setpoint.action_index == 3 && rig.setpoint.at_rest == 0);
    rig.run_ms(60);
    // Used up, and before the age at which it would be held: at rest at the sum of the deltas.
    CHECK(rig.setpoint.pace == ST4VLA_PACE_HOLD && rig.setpoint.reason == ST4VLA_PLAYER_REASON_USED_UP);
    CHECK(rig.setpoint.at_rest == 1 && rig.setpoint.limited == 0);
    CHECK(is_near(rig.x(), 0.54, 1e-5));
}

void a_late_chunk_is_entered_at_its_time_index()
{
    const st4vla_player_config config = default_config();
    Rig rig(config);
    rig.step();
    // Due 120 ms ago: the first two actions and 0.4 of the third are not executed.
    MadeChunk chunk = made_chunk(config, 1, rig.now_ns() - 120 * kMs, 4, {0.01F, 0, 0, 0, 0, 0, 1});
    chunk.header.frame_capture_ns = rig.now_ns();
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
    rig.step();
    CHECK(rig.setpoint.action_index == 2);
    rig.run_ms(210);
    CHECK(rig.setpoint.at_rest == 1);
    // Fading in from rest takes what a third of `blend_ns` would have moved.
    CHECK(is_near(rig.x(), 0.516 - 0.2 * 0.1 / 3, 5e-4));
}

void an_early_chunk_waits()
{
    const st4vla_player_config config = default_config();
    Rig rig(config);
    rig.step();
    MadeChunk chunk = made_chunk(config, 1, rig.now_ns() + 100 * kMs, 1, {0.01F, 0, 0, 0, 0, 0, 0});
    chunk.header.frame_capture_ns = chunk.header.plan_capture_ns = rig.now_ns();
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
    rig.run_ms(70);
    CHECK(rig.x() == 0.5 && rig.setpoint.reason == ST4VLA_PLAYER_REASON_NOT_DUE);
    CHECK(rig.setpoint.pace == ST4VLA_PACE_HOLD && rig.setpoint.gripper_count == 0);
    rig.run_ms(125);
    CHECK(is_near(rig.x(), 0.51, 1e-6) && rig.setpoint.gripper_count == 1);
}

void chunks_on_one_grid_join_without_a_trace()
{
    // Eight actions a chunk, a new chunk every 100 ms that agrees with the one before: the path of one long chunk.
    const st4vla_player_config config = default_config();
    Rig rig(config);
    // They come at every phase, half a period before their first action and later.
    rig.put(1, 8, {0.01F, 0, 0, 0, 0, 0, 1}, 30 * kMs);
    const std::int64_t first_ns = rig.now_ns() + 30 * kMs;
    for (int ms = 1; ms <= 1000; ++ms) {
        rig.step();
        if (ms % 83 == 0) {
            const std::int64_t since_ns = rig.now_ns() + kPeriod_ns / 2 - first_ns;
            rig.put(1 + static_cast<std::uint64_t>(ms), 8, {0.01F, 0, 0, 0, 0, 0, 1},
                    kPeriod_ns / 2 - since_ns % kPeriod_ns);
        }
        if (ms > 60) {
            CHECK(is_near(rig.setpoint.twist[0], 0.2, 1e-6));
        }
    }
    CHECK(is_near(rig.x(), 0.5 + 0.2 * (0.97 - kDelay_s), 1e-5));
}

void a_weaving_path_is_followed_closely_from_chunks_that_come_late()
{
    // 0.3 m/s there and back, once a second; each 50 ms a chunk of a new frame, which arrives 60 ms after it.
    constexpr double kPi = 3.14159265358979323846, kFastest_m_s = 0.3;
    const auto path_m = [](double time_s) { return kFastest_m_s / (2.0 * kPi) * std::sin(2.0 * kPi * time_s); };
    const st4vla_player_config config = default_config();
    Rig rig(config);
    const std::int64_t began_ns = rig.now_ns();
    const auto since_s = [began_ns](std::int64_t time_ns) { return static_cast<double>(time_ns - began_ns) * 1e-9; };
    double offset_m = 0.0, farthest_m = 0.0;
    for (int ms = 0; ms < 4000; ++ms) {
        if (ms % 50 == 10) {
            const std::int64_t captured_ns = rig.now_ns() - 60 * kMs;
            const auto sequence = static_cast<std::uint64_t>(ms);
            MadeChunk chunk = made_chunk(config, sequence, captured_ns, 16, {0, 0, 0, 0, 0, 0, 1});
            for (int k = 0; k < 16; ++k) {
                const double due_s = since_s(captured_ns + k * kPeriod_ns);
                chunk.actions[7 * static_cast<std::size_t>(k) + 1] =
                    static_cast<float>(path_m(due_s + 0.05) - path_m(due_s));
            }
            CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
        }
        rig.step();
        // What fading in took at the start stays; from then on it is the path.
        const double error_m = rig.setpoint.base_T_ee[7] - path_m(since_s(rig.now_ns()));
        if (ms == 500) {
            offset_m = error_m;
            rig.check.translation.hardest = 0.0;
        } else if (ms > 500) {
            farthest_m = std::fmax(farthest_m, std::fabs(error_m - offset_m));
        }
    }
    // The delay of 1.5 ms alone is 0.9 mm there and back; the path's own acceleration is 1.9 m/s^2.
    CHECK(farthest_m < 1.5e-3 && rig.check.translation.fastest > 0.29 && rig.check.translation.hardest < 2.1);
}

void a_chunk_that_disagrees_is_blended_in_position_velocity_and_acceleration()
{
    Rig rig(default_config());
    rig.put(1, 16, {0.01F, 0, 0, 0.02F, 0, 0, 1});
    rig.run_ms(120);
    const double before = rig.setpoint.twist[0], place = rig.x();
    rig.put(2, 16, {-0.005F, 0.005F, 0, -0.02F, 0, 0, 1});
    rig.step();
    // What fades begins flat: a millisecond after the splice hardly anything is different.
    CHECK(is_near(rig.setpoint.twist[0], before, 3e-3));
    CHECK(is_near(rig.x() - place, before * 1e-3, 2e-6));
    const double hardest = rig.check.translation.hardest;
    rig.run_ms(150);
    CHECK(is_near(rig.setpoint.twist[0], -0.1, 1e-3) && is_near(rig.setpoint.twist[1], 0.1, 1e-3));
    // 0.3 m/s there and 0.1 m/s across, fading at 6 / 100 ms: it changes by at most 6 / e times that in 100 ms.
    CHECK(rig.check.translation.hardest <= std::fmax(hardest, 6.0 / std::exp(1.0) * std::hypot(0.3, 0.1) / 0.1) * 1.01);
}

void the_newest_chunk_wins_and_an_older_one_does_not()
{
    Rig rig(default_config());
    rig.put(5, 8, {0.01F, 0, 0, 0, 0, 0, 1});
    rig.put(6, 8, {0.02F, 0, 0, 0, 0, 0, 1});
    rig.step();
    CHECK(rig.setpoint.chunk_id == 1006);
    rig.put(4, 8, {-0.02F, 0, 0, 0, 0, 0, 1});
    rig.step();
    CHECK(rig.setpoint.chunk_id == 1006);
    st4vla_player_report report;
    CHECK(st4vla_player_read(rig.player, &report) == ST4VLA_PLAYER_OK);
    CHECK(report.chunks_played == 1 && report.chunks_refused_old == 1 && report.steps == 2);
}

void a_loop_that_wakes_up_early_and_late_moves_evenly()
{
    Rig rig(default_config(ST4VLA_ACTION_JOINT_POSITION));
    MadeChunk chunk = made_chunk(default_config(ST4VLA_ACTION_JOINT_POSITION), 1, rig.now_ns(), 20,
                                 {0, -0.7F, 0, -2.3F, 0, 1.6F, 0.7F, 1});
    for (int k = 0; k < 20; ++k) {
        chunk.actions[8 * k] = 0.02F * static_cast<float>(k);
    }
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
    double slowest = 9.0, fastest = 0.0;
    for (int ms = 0; ms < 800; ++ms) {
        const std::int64_t late_ns = (ms * 7919 % 401 - 200) * 1000;  // up to 0.2 ms, either way
        rig.input.now_ns += late_ns;
        if (ms % 100 == 99) {
            chunk.header.observation_sequence += 1;
            chunk.header.frame_capture_ns = chunk.header.plan_capture_ns = rig.now_ns();
            CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
        }
        rig.step();
        rig.input.now_ns -= late_ns;
        if (ms > 300) {
            slowest = std::fmin(slowest, rig.setpoint.joint_velocities_rad_s[0]);
            fastest = std::fmax(fastest, rig.setpoint.joint_velocities_rad_s[0]);
        }
    }
    CHECK(slowest > 0.4 * 0.99 && fastest < 0.4 * 1.01);
}

void a_clock_that_runs_otherwise_than_ticks_is_followed()
{
    // A robot whose millisecond is 1.003 ms of the clock that stamps the frames.
    Rig rig(default_config(ST4VLA_ACTION_JOINT_POSITION));
    MadeChunk chunk = made_chunk(default_config(ST4VLA_ACTION_JOINT_POSITION), 1, rig.now_ns(), 80,
                                 {0, -0.7F, 0, -2.3F, 0, 1.6F, 0.7F, 1});
    for (int k = 0; k < 80; ++k) {
        chunk.actions[8 * k] = 0.01F * static_cast<float>(k);
    }
    for (int ms = 0; ms < 3000; ++ms) {
        if (ms % 100 == 0) {
            chunk.header.observation_sequence += 1;
            chunk.header.frame_capture_ns = chunk.header.plan_capture_ns = rig.now_ns();
            CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
        }
        rig.input.now_ns += 3000;
        rig.step();
    }
    // 0.2 rad/s from the end of the first action on; 9 ms would be 1.8 mrad.
    const double since_s = static_cast<double>(rig.now_ns() - chunk.header.start_ns) * 1e-9;
    CHECK(is_near(rig.setpoint.joint_positions_rad[0], 0.2 * (since_s - 0.05 - kDelay_s), 1e-4));
}

void ticks_that_the_robot_missed_are_made_up_for()
{
    Rig steady(default_config()), lossy(default_config());
    steady.put(1, 16, {0.01F, 0, 0, 0, 0.02F, 0, 1});
    lossy.put(1, 16, {0.01F, 0, 0, 0, 0.02F, 0, 1});
    steady.run_ms(1200);
    for (int ms = 0; ms < 150; ms += 5) {
        lossy.input.ticks = 4;
        lossy.check.missed(4);
        lossy.step();
        lossy.input.ticks = 1;
        lossy.step();
    }
    // Once all is executed, and with nothing missed any more, it is where it was to be.
    lossy.run_ms(1050);
    CHECK(is_near(lossy.x(), steady.x(), 1e-5));
    CHECK(is_near(lossy.setpoint.quaternion_wxyz[0], steady.setpoint.quaternion_wxyz[0], 1e-5));
    const double place = lossy.x();
    lossy.input.ticks = 0;
    lossy.step();
    CHECK(lossy.x() == place);
    lossy.input.ticks = ST4VLA_PLAYER_MAX_TICKS + 1;
    CHECK(st4vla_player_step(lossy.player, &lossy.input, &lossy.setpoint) == ST4VLA_PLAYER_BAD_TICKS);
    CHECK(lossy.x() == place);
}

}  // namespace

int main()
{
    a_chunk_moves_the_hand_by_its_deltas_in_its_time();
    a_late_chunk_is_entered_at_its_time_index();
    an_early_chunk_waits();
    chunks_on_one_grid_join_without_a_trace();
    a_weaving_path_is_followed_closely_from_chunks_that_come_late();
    a_chunk_that_disagrees_is_blended_in_position_velocity_and_acceleration();
    the_newest_chunk_wins_and_an_older_one_does_not();
    a_loop_that_wakes_up_early_and_late_moves_evenly();
    a_clock_that_runs_otherwise_than_ticks_is_followed();
    ticks_that_the_robot_missed_are_made_up_for();
    return 0;
}
