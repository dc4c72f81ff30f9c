// Commands that a robot does not get: it goes on by itself, and the next one must be where it went.
#include "player/rig.h"
#include "player/robot_model.h"

namespace {

using namespace st4vla::player;

/// How much a robot's own finite differences may show beyond a bound: of a pose told in single precision.
constexpr double kToldJerk = 20.0;

void check(const RobotModel &robot, const st4vla_player_config &config, double told)
{
    CHECK(robot.fastest_change > 1.0 && robot.fastest_turn_change > 1.0);
    CHECK(robot.fastest_change <= config.translation.acceleration * 1.000001 + told * 1e-3);
    CHECK(robot.fastest_jerk <= config.translation.jerk * 1.000001 + told + 1e-3);
    CHECK(robot.fastest_turn_change <= config.rotation.acceleration * 1.000001 + told * 1e-3);
    CHECK(robot.fastest_turn_jerk <= config.rotation.jerk * 1.000001 + told + 1e-2);
}

MadeChunk lively(const st4vla_player_config &config, std::uint64_t sequence, std::int64_t now_ns)
{
    const float way = sequence % 2 == 0 ? -0.02F : 0.02F;
    return made_chunk(config, sequence, now_ns, 16, {way, 0.01F, way, way, 0.02F, 0.04F, 1});
}

MadeChunk gentle(const st4vla_player_config &config, std::uint64_t sequence, std::int64_t now_ns)
{
    const float way = sequence % 2 == 0 ? -0.002F : 0.002F;
    return made_chunk(config, sequence, now_ns, 16, {way, 0.001F, way, 2 * way, 0.002F, 0.004F, 1});
}

/// The control loop itself was late: it is told how many milliseconds have passed.
void after_missed_milliseconds_the_next_setpoint_is_where_the_robot_went()
{
    const st4vla_player_config config = default_config();
    for (std::uint32_t missed = 1; missed < ST4VLA_PLAYER_MAX_TICKS; ++missed) {
        Rig rig(config);
        RobotModel robot(kHome);
        for (int ms = 0; ms < 1500; ms += static_cast<int>(rig.input.ticks)) {
            if (ms / 130 > (ms - static_cast<int>(rig.input.ticks)) / 130) {
                CHECK(rig.put(lively(config, static_cast<std::uint64_t>(ms / 130) + 1, rig.now_ns())) == ST4VLA_PLAYER_OK);
            }
            rig.input.ticks = ms % 60 >= 59 - static_cast<int>(missed) ? missed + 1 : 1;
            for (std::uint32_t i = 1; i < rig.input.ticks; ++i) {
                robot.hear_nothing();
            }
            rig.check.missed(static_cast<int>(rig.input.ticks));
            rig.step();
            robot.hear(rig.setpoint);
        }
        check(robot, config, 0.0);
    }
}

/// Commands were lost on their way: each millisecond is stepped, and the robot tells where it was sent.
void commands_that_the_robot_did_not_hear_are_noticed_by_where_it_went()
{
    const st4vla_player_config config = default_config();
    std::uint64_t corrections = 0;
    for (int lost = 1; lost < static_cast<int>(ST4VLA_PLAYER_MAX_TICKS); ++lost) {
        Rig rig(config);
        RobotModel robot(kHome);
        for (int ms = 0; ms < 1500; ++ms) {
            if (ms % 130 == 0) {
                CHECK(rig.put(lively(config, static_cast<std::uint64_t>(ms / 130) + 1, rig.now_ns())) == ST4VLA_PLAYER_OK);
            }
            rig.check.missed(lost);
            rig.step();
            if (ms % 60 < lost) {
                robot.hear_nothing();
            } else {
                robot.hear(rig.setpoint);
            }
            robot.tell(rig.input);
        }
        check(robot, config, kToldJerk);
        st4vla_player_report report;
        CHECK(st4vla_player_read(rig.player, &report) == ST4VLA_PLAYER_OK);
        corrections += report.corrections;
    }
    CHECK(corrections > 100);
}

/// Commands were lost, too few to be noticed; the robot heard some more, and then the loop itself was late: it went on with
/// a speed and an acceleration that it had made of a place where nobody had sent it.
void a_loop_that_is_late_soon_after_lost_commands_goes_on_where_the_robot_went()
{
    const st4vla_player_config config = default_config();
    for (int lost = 1; lost <= 3; ++lost) {
        for (int heard = 1; heard <= 4; ++heard) {
            for (std::uint32_t late = 2; late < ST4VLA_PLAYER_MAX_TICKS; ++late) {
                Rig rig(config);
                RobotModel robot(kHome);
                robot.tell(rig.input);
                std::uint64_t sequence = 0;
                for (int tick = 0; tick < 1000; ++tick) {
                    const int phase = tick % 41;
                    if (tick % 90 == 0) {
                        CHECK(rig.put(gentle(config, ++sequence, rig.now_ns())) == ST4VLA_PLAYER_OK);
                    }
                    rig.input.ticks = phase == lost + heard ? late : 1;
                    for (std::uint32_t i = 1; i < rig.input.ticks; ++i) {
                        robot.hear_nothing();
                        robot.tell(rig.input);
                    }
                    rig.check.restart();
                    rig.step();
                    if (phase < lost) {
                        robot.hear_nothing();
                    } else {
                        robot.hear(rig.setpoint);
                    }
                    robot.tell(rig.input);
                }
                check(robot, config, kToldJerk);
            }
        }
    }
}

/// Nothing that was sent explains where the robot is: what it told in the last ticks must do.
void gaps_that_follow_one_another_leave_the_robot_within_its_makers_limits()
{
    const st4vla_player_config config = default_config();
    constexpr double kMaker = 1.0 / 0.9;
    for (int lost = 1; lost <= 3; ++lost) {
        for (int heard = 1; heard <= 3; ++heard) {
            Rig rig(config);
            RobotModel robot(kHome);
            robot.tell(rig.input);
            std::uint64_t sequence = 0;
            for (int tick = 0; tick < 2000; ++tick) {
                if (tick % 90 == 0) {
                    CHECK(rig.put(gentle(config, ++sequence, rig.now_ns())) == ST4VLA_PLAYER_OK);
                }
                rig.check.restart();
                rig.step();
                const int phase = tick % 71;
                if (phase < 5 * (lost + heard) && phase % (lost + heard) < lost) {
                    robot.hear_nothing();
                } else {
                    robot.hear(rig.setpoint);
                }
                robot.tell(rig.input);
            }
            CHECK(robot.fastest_change <= config.translation.acceleration * kMaker);
            CHECK(robot.fastest_jerk <= config.translation.jerk * kMaker);
            CHECK(robot.fastest_turn_change <= config.rotation.acceleration * kMaker);
            CHECK(robot.fastest_turn_jerk <= config.rotation.jerk * kMaker);
        }
    }
}

void a_robot_that_hears_everything_is_not_corrected()
{
    const st4vla_player_config config = default_config();
    Rig rig(config);
    RobotModel robot(kHome);
    for (int ms = 0; ms < 1000; ++ms) {
        if (ms % 130 == 0) {
            CHECK(rig.put(lively(config, static_cast<std::uint64_t>(ms / 130) + 1, rig.now_ns())) == ST4VLA_PLAYER_OK);
        }
        rig.step();
        robot.hear(rig.setpoint);
        robot.tell(rig.input);
    }
    check(robot, config, 0.0);
    st4vla_player_report report;
    CHECK(st4vla_player_read(rig.player, &report) == ST4VLA_PLAYER_OK && report.corrections == 0);
}

void what_no_lost_command_explains_moves_nothing()
{
    const st4vla_player_config config = default_config();
    Rig steady(config), told(config);
    for (Rig *rig : {&steady, &told}) {
        rig->put(1, 16, {0.02F, 0, 0, 0, 0.02F, 0, 1});
    }
    told.input.has_sent = 1;
    for (int ms = 0; ms < 300; ++ms) {
        const double numbers[] = {0.0, 1e9, -0.3, std::nan(""), HUGE_VAL};
        std::fill(told.input.sent, told.input.sent + 16, numbers[ms % 5]);
        steady.step();
        told.step();
        CHECK(told.x() == steady.x());
    }
}

}  // namespace

int main()
{
    after_missed_milliseconds_the_next_setpoint_is_where_the_robot_went();
    commands_that_the_robot_did_not_hear_are_noticed_by_where_it_went();
    a_loop_that_is_late_soon_after_lost_commands_goes_on_where_the_robot_went();
    gaps_that_follow_one_another_leave_the_robot_within_its_makers_limits();
    a_robot_that_hears_everything_is_not_corrected();
    what_no_lost_command_explains_moves_nothing();
    return 0;
}
