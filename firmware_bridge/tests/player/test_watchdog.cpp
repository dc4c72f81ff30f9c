// Ages: slow, hold, stop; rest within the bound; and that nothing moves again on its own.
#include "player/rig.h"

namespace {

using namespace st4vla::player;

st4vla_player_config watched_config()
{
    st4vla_player_config config = default_config();
    config.frame = {60 * kMs, 90 * kMs, 140 * kMs};
    return config;
}

void a_chunk_that_ages_is_slowed_down_held_and_stopped()
{
    Rig rig(watched_config());
    rig.put(1, 64, {0.01F, 0, 0, 0, 0, 0, 1});
    rig.run_ms(59);
    CHECK(rig.setpoint.pace == ST4VLA_PACE_RUN && rig.setpoint.frame_age_ns == 59 * kMs);
    rig.step();
    CHECK(rig.setpoint.pace == ST4VLA_PACE_SLOW && rig.setpoint.reason == ST4VLA_PLAYER_REASON_FRAME_AGE);
    rig.run_ms(29);
    CHECK(rig.setpoint.pace == ST4VLA_PACE_SLOW);
    rig.step();
    CHECK(rig.setpoint.pace == ST4VLA_PACE_HOLD);
    // 0.2 m/s at 4.6 m/s^2 or more, and the average's 4 ms.
    rig.run_ms(48);
    CHECK(rig.setpoint.at_rest == 1 && rig.setpoint.pace == ST4VLA_PACE_HOLD);
    rig.run_ms(2);
    CHECK(rig.setpoint.pace == ST4VLA_PACE_STOP);
    // Young chunks do not end what an old one has begun.
    const double rest = rig.x();
    rig.put(2, 64, {0.01F, 0, 0, 0, 0, 0, 1});
    rig.run_ms(50);
    CHECK(rig.x() == rest && rig.setpoint.pace == ST4VLA_PACE_STOP && rig.setpoint.chunk_id == 1001);
    CHECK(rig.setpoint.reason == ST4VLA_PLAYER_REASON_FRAME_AGE);
    CHECK(st4vla_player_resume(rig.player) == ST4VLA_PLAYER_OK);
    rig.run_ms(50);
    CHECK(rig.x() == rest);
    rig.put(3, 64, {0.01F, 0, 0, 0, 0, 0, 1});
    rig.run_ms(50);
    CHECK(rig.x() > rest && rig.setpoint.pace == ST4VLA_PACE_RUN);
}

void another_pace_is_blended_as_another_chunk_is()
{
    st4vla_player_config config = watched_config();
    config.frame = {300 * kMs, 600 * kMs, 0};
    Rig rig(config);
    rig.put(1, 64, {0.015F, 0, 0, 0, 0, 0, 1});
    rig.run_ms(299);
    const double before = rig.setpoint.twist[0];
    CHECK(is_near(before, 0.3, 1e-3));
    rig.run_ms(3);
    CHECK(rig.setpoint.pace == ST4VLA_PACE_SLOW && is_near(rig.setpoint.twist[0], before, 5e-3));
    rig.run_ms(150);
    CHECK(is_near(rig.setpoint.twist[0], 0.15, 1e-3));
}

void a_chunk_in_the_middle_of_a_brake_begins_with_what_is_left()
{
    st4vla_player_config config = watched_config();
    config.frame = {0, 300 * kMs, 0};
    Rig rig(config);
    rig.put(1, 64, {0.02F, 0, 0, 0, 0, 0, 1});
    rig.run_ms(320);
    const double left = rig.setpoint.twist[0];
    CHECK(rig.setpoint.pace == ST4VLA_PACE_HOLD && left > 0.2 && left < 0.3);
    rig.put(2, 64, {0.02F, 0, 0, 0, 0, 0, 1}, -30 * kMs);
    double last = left;
    for (int ms = 0; ms < 100; ++ms) {
        rig.step();
        // The brake's acceleration leaves the average; then it speeds up again, but not as hard as it can.
        CHECK(rig.setpoint.twist[0] > left - 0.03 && rig.setpoint.twist[0] - last < 5e-3);
        last = rig.setpoint.twist[0];
    }
    CHECK(last > 0.38);
}

void a_hold_ends_with_a_newer_chunk()
{
    Rig rig(watched_config());
    rig.put(1, 64, {0.01F, 0, 0, 0, 0, 0, 1});
    rig.run_ms(130);
    const double held = rig.x();
    CHECK(rig.setpoint.at_rest == 1);
    rig.put(2, 64, {0.01F, 0, 0, 0, 0, 0, 1});
    rig.run_ms(50);
    CHECK(rig.setpoint.pace == ST4VLA_PACE_RUN && rig.x() > held);
    // What was missed meanwhile is not made up for.
    CHECK(rig.x() < held + 0.2 * 0.05);
}

void slow_is_half_the_motion_unless_it_came_halved()
{
    for (const int pace : {ST4VLA_PACE_RUN, ST4VLA_PACE_SLOW}) {
        const st4vla_player_config config = watched_config();
        Rig rig(config);
        rig.step();
        MadeChunk chunk = made_chunk(config, 1, rig.now_ns() - 30 * kMs, 64, {0.01F, 0, 0, 0.02F, 0, 0, 1});
        chunk.header.pace = static_cast<std::uint16_t>(pace);
        for (int ms = 0; ms < 300; ++ms) {
            // Each frame is 70 ms old and more when its chunk comes.
            chunk.header.observation_sequence += 1;
            chunk.header.frame_capture_ns = chunk.header.plan_capture_ns = rig.now_ns() - 70 * kMs;
            if (ms % 10 == 0) {
                CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
            }
            rig.step();
            CHECK(rig.setpoint.pace == ST4VLA_PACE_SLOW);
        }
        const double factor = pace == ST4VLA_PACE_RUN ? 0.5 : 1.0;
        CHECK(is_near(rig.setpoint.twist[0], 0.2 * factor, 1e-3));
        CHECK(is_near(rig.setpoint.twist[3], 0.4 * factor, 2e-3));
    }
    // A chunk that came slowed down and is young is told as such.
    const st4vla_player_config config = watched_config();
    Rig rig(config);
    rig.step();
    MadeChunk chunk = made_chunk(config, 1, rig.now_ns(), 8, {0.01F, 0, 0, 0, 0, 0, 1});
    chunk.header.pace = ST4VLA_PACE_SLOW;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
    rig.step();
    CHECK(rig.setpoint.pace == ST4VLA_PACE_SLOW && rig.setpoint.reason == ST4VLA_PLAYER_REASON_SENDER);
}

void the_plan_has_ages_of_its_own()
{
    st4vla_player_config config = default_config();
    config.plan = {0, 500 * kMs, 900 * kMs};
    Rig rig(config);
    rig.step();
    MadeChunk chunk = made_chunk(config, 1, rig.now_ns(), 8, {0.01F, 0, 0, 0, 0, 0, 1});
    chunk.header.plan_capture_ns = rig.now_ns() - 480 * kMs;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
    rig.run_ms(19);
    CHECK(rig.setpoint.pace == ST4VLA_PACE_RUN && rig.setpoint.plan_age_ns == 499 * kMs);
    rig.step();
    CHECK(rig.setpoint.pace == ST4VLA_PACE_HOLD && rig.setpoint.reason == ST4VLA_PLAYER_REASON_PLAN_AGE);
}

/// From full speed in all directions, to rest within the bound, wherever the walls are.
void a_stop_ends_within_its_bound()
{
    st4vla_player_config config = default_config();
    config.frame = {0, 0, 100 * kMs};
    config.translation = {0.6, 4.0, 800.0};
    config.rotation = {2.0, 10.0, 2000.0};
    // The leash would shorten the steps of a test that is about speed.
    config.leash_m = config.leash_rad = 1.0;
    Rig rig(config);
    const std::int64_t bound_ms = st4vla_player_rest_bound_ns(rig.player) / kMs;
    CHECK(bound_ms > 150 && bound_ms < 300);
    rig.put(1, 64, {0.5F, 0.5F, -0.5F, 0.5F, 0.5F, 0.5F, 1});
    rig.run_ms(99);
    CHECK(is_near(rig.check.translation.fastest, 0.34, 0.1) && rig.setpoint.pace == ST4VLA_PACE_RUN);
    std::int64_t taken_ms = 0;
    do {
        rig.step();
        ++taken_ms;
        CHECK(rig.setpoint.pace == ST4VLA_PACE_STOP);
    } while (rig.setpoint.at_rest == 0);
    CHECK(taken_ms <= bound_ms);
    const double rest = rig.x();
    rig.run_ms(100);
    CHECK(rig.x() == rest && rig.setpoint.at_rest == 1);
}

void after_a_stop_only_resume_and_a_chunk_move_it()
{
    Rig rig(watched_config());
    rig.put(1, 64, {0.02F, 0, 0, 0, 0, 0, 1});
    CHECK(st4vla_player_resume(rig.player) == ST4VLA_PLAYER_NOT_STOPPED);
    rig.run_ms(50);
    CHECK(st4vla_player_stop(rig.player) == ST4VLA_PLAYER_OK);
    rig.step();
    CHECK(rig.setpoint.pace == ST4VLA_PACE_STOP && rig.setpoint.reason == ST4VLA_PLAYER_REASON_TOLD);
    CHECK(st4vla_player_resume(rig.player) == ST4VLA_PLAYER_NOT_AT_REST);
    rig.run_ms(200);
    const double rest = rig.x();
    // Neither chunks nor time, nor where the arm is, end a stop.
    for (std::uint64_t sequence = 2; sequence < 50; ++sequence) {
        rig.put(sequence, 64, {0.02F, 0, 0, 0, 0, 0, 0});
        rig.run_ms(10);
        CHECK(rig.x() == rest && rig.setpoint.pace == ST4VLA_PACE_STOP && rig.setpoint.gripper_count <= 1);
    }
    CHECK(st4vla_player_anchor(rig.player, kHome, nullptr) == ST4VLA_PLAYER_OK);
    rig.check.restart();
    rig.put(60, 64, {0.02F, 0, 0, 0, 0, 0, 1});
    rig.run_ms(10);
    CHECK(rig.x() == 0.5 && rig.setpoint.pace == ST4VLA_PACE_STOP);
    // The chunk of before the resume is not executed after it.
    rig.put(61, 64, {0.02F, 0, 0, 0, 0, 0, 1});
    CHECK(st4vla_player_resume(rig.player) == ST4VLA_PLAYER_OK);
    rig.run_ms(50);
    CHECK(rig.x() == 0.5 && rig.setpoint.pace == ST4VLA_PACE_HOLD);
    CHECK(rig.setpoint.reason == ST4VLA_PLAYER_REASON_NO_CHUNK);
    // A sequence begins anew after a resume: the client may have.
    rig.put(1, 64, {0.02F, 0, 0, 0, 0, 0, 1});
    rig.run_ms(50);
    CHECK(rig.x() > 0.501 && rig.setpoint.pace == ST4VLA_PACE_RUN);
    // The old resume does not count for the next stop.
    CHECK(st4vla_player_stop(rig.player) == ST4VLA_PLAYER_OK);
    rig.run_ms(300);
    CHECK(rig.setpoint.pace == ST4VLA_PACE_STOP && rig.setpoint.at_rest == 1);
    st4vla_player_report report;
    CHECK(st4vla_player_read(rig.player, &report) == ST4VLA_PLAYER_OK);
    CHECK(report.stops == 2 && report.pace == ST4VLA_PACE_STOP && report.at_rest == 1);
}

void clocks_that_step_do_no_harm()
{
    Rig rig(watched_config());
    rig.put(1, 64, {0.02F, 0, 0, 0, 0, 0, 1});
    rig.run_ms(40);
    // Back by an hour: the age does not fall, and the clock stands still until it is right again.
    const std::int64_t right_ns = rig.input.now_ns;
    rig.input.now_ns -= 3'600'000 * kMs;
    rig.run_ms(30);
    CHECK(rig.setpoint.frame_age_ns == 40 * kMs);
    rig.input.now_ns = right_ns + 20 * kMs;
    rig.step();
    CHECK(rig.setpoint.pace == ST4VLA_PACE_SLOW);
    // Ahead by an hour: everything is too old.
    rig.input.now_ns += 3'600'000 * kMs;
    rig.step();
    CHECK(rig.setpoint.pace == ST4VLA_PACE_STOP);
    rig.input.now_ns = INT64_MAX - 1000 * kMs;
    rig.run_ms(500);
    CHECK(rig.setpoint.at_rest == 1);
    // An anchor begins the clock anew; the stop stays.
    CHECK(st4vla_player_anchor(rig.player, kHome, nullptr) == ST4VLA_PLAYER_OK);
    rig.check.restart();
    rig.input.now_ns = right_ns + 100 * kMs;
    rig.step();
    CHECK(rig.setpoint.pace == ST4VLA_PACE_STOP && st4vla_player_resume(rig.player) == ST4VLA_PLAYER_OK);
    rig.step();
    rig.put(2, 8, {0.02F, 0, 0, 0, 0, 0, 1});
    rig.run_ms(30);
    CHECK(rig.setpoint.pace == ST4VLA_PACE_RUN && rig.setpoint.frame_age_ns == 30 * kMs && rig.x() > 0.5);
    st4vla_player_report report;
    CHECK(st4vla_player_read(rig.player, &report) == ST4VLA_PLAYER_OK && report.clock_steps_back >= 1);
}

void chunks_from_the_future_are_refused()
{
    const st4vla_player_config config = default_config();
    Rig rig(config);
    rig.step();
    MadeChunk chunk = made_chunk(config, 1, rig.now_ns(), 8, {0.01F, 0, 0, 0, 0, 0, 1});
    chunk.header.frame_capture_ns = rig.now_ns() + 1000 * kMs;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
    rig.step();
    CHECK(rig.setpoint.reason == ST4VLA_PLAYER_REASON_NO_CHUNK);
    chunk.header.frame_capture_ns = rig.now_ns();
    chunk.header.start_ns = rig.now_ns() + 2000 * kMs;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
    rig.step();
    CHECK(rig.setpoint.reason == ST4VLA_PLAYER_REASON_NO_CHUNK);
    chunk.header.start_ns = -1;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_BAD_TIME);
    st4vla_player_report report;
    CHECK(st4vla_player_read(rig.player, &report) == ST4VLA_PLAYER_OK && report.chunks_refused_time == 2);
}

}  // namespace

int main()
{
    a_chunk_that_ages_is_slowed_down_held_and_stopped();
    another_pace_is_blended_as_another_chunk_is();
    a_chunk_in_the_middle_of_a_brake_begins_with_what_is_left();
    a_hold_ends_with_a_newer_chunk();
    slow_is_half_the_motion_unless_it_came_halved();
    the_plan_has_ages_of_its_own();
    a_stop_ends_within_its_bound();
    after_a_stop_only_resume_and_a_chunk_move_it();
    clocks_that_step_do_no_harm();
    chunks_from_the_future_are_refused();
    return 0;
}
