// Chunks of joints: deltas, positions, ranges, and the Research 3's limits of velocity by position.
#include "player/franka_limits.h"
#include "player/rig.h"

namespace {

using namespace st4vla::player;
namespace franka = st4vla::franka;

std::vector<float> ready_with(int joint, float position)
{
    std::vector<float> action(kReady, kReady + 7);
    action[static_cast<std::size_t>(joint)] = position;
    action.push_back(1.0F);
    return action;
}

void deltas_add_up()
{
    st4vla_player_config config = default_config(ST4VLA_ACTION_JOINT_DELTA);
    config.frame = {0, 500 * kMs, 900 * kMs};
    Rig rig(config);
    // Half a period before it is due, an action's speed begins to rise.
    rig.put(1, 3, {0.02F, 0, 0, -0.01F, 0, 0, 0, 1}, 30 * kMs);
    rig.run_ms(300);
    CHECK(rig.setpoint.at_rest == 1);
    CHECK(is_near(rig.setpoint.joint_positions_rad[0], kReady[0] + 0.06, 1e-6));
    CHECK(is_near(rig.setpoint.joint_positions_rad[3], kReady[3] - 0.03, 1e-6));
}

void positions_are_reached_at_the_end_of_their_periods()
{
    st4vla_player_config config = default_config(ST4VLA_ACTION_JOINT_POSITION);
    config.frame = {0, 2000 * kMs, 0};
    Rig rig(config);
    MadeChunk chunk = made_chunk(config, 1, rig.now_ns(), 12, ready_with(0, 0.0F));
    for (int k = 0; k < 12; ++k) {
        chunk.actions[8 * k] = 0.03F * static_cast<float>(k);
    }
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
    rig.run_ms(150);
    // Action 2 ends at 150 ms, its position is 0.06 and the speed 0.6 rad/s, of which the average takes 1.5 ms.
    CHECK(is_near(rig.setpoint.joint_positions_rad[0], 0.06 - 0.6 * 1.5e-3, 1e-5));
    CHECK(is_near(rig.setpoint.joint_velocities_rad_s[0], 0.6, 1e-4));
    rig.run_ms(700);
    CHECK(rig.setpoint.reason == ST4VLA_PLAYER_REASON_USED_UP && rig.setpoint.at_rest == 1);
    CHECK(is_near(rig.setpoint.joint_positions_rad[0], 0.03 * 11, 1e-6));
}

void a_position_far_away_is_approached_within_the_limits()
{
    const st4vla_player_config config = default_config(ST4VLA_ACTION_JOINT_POSITION);
    Rig rig(config);
    double farthest = 0.0;
    for (int i = 0; i < 30; ++i) {
        rig.put(static_cast<std::uint64_t>(i) + 1, 8, ready_with(2, 1.0F));
        rig.run_ms(50);
        farthest = std::fmax(farthest, rig.setpoint.joint_positions_rad[2]);
    }
    CHECK(is_near(rig.setpoint.joint_positions_rad[2], 1.0, 1e-6) && rig.setpoint.at_rest == 1);
    CHECK(farthest <= 1.0 + 1e-6 && rig.check.joints[2].fastest >= 1.0);
    CHECK(rig.check.joints[2].hardest >= 0.7 * config.joints[2].acceleration);
}

/// Whether a joint moves no faster than the maker allows where it is, in both versions of the rule.
void check_rule(const franka::Limits &robot, int joint, double position, double velocity)
{
    const franka::JointLimits &limits = robot.joints[joint];
    const double towards = velocity > 0.0 ? limits.position_max - position : position - limits.position_min;
    const double most = std::fmin(
        limits.velocity,
        std::fmax(0.0, -limits.velocity_offset + std::sqrt(std::fmax(0.0, 2.0 * limits.deceleration * towards))));
    CHECK(towards > 0.0 && std::fabs(velocity) <= most);
}

void ends_of_ranges_are_approached_as_the_maker_allows()
{
    const st4vla_player_config config = default_config(ST4VLA_ACTION_JOINT_DELTA);
    for (const float way : {-1.0F, 1.0F}) {
        Rig rig(config);
        double last[7];
        std::copy(kReady, kReady + 7, last);
        std::uint64_t sequence = 0;
        for (int ms = 0; ms < 4000; ++ms) {
            if (ms % 50 == 0) {
                rig.put(++sequence, 8, {way, way, way, way, way, way, way, 1});
            }
            rig.step();
            for (int i = 0; i < 7; ++i) {
                const double position = rig.setpoint.joint_positions_rad[i], velocity = (position - last[i]) * 1e3;
                check_rule(franka::kResearch3, i, position, velocity);
                check_rule(franka::kEarlyResearch3, i, position, velocity);
                last[i] = position;
            }
        }
        for (int i = 0; i < 7; ++i) {
            const double end = way > 0 ? config.joint_high_rad[i] : config.joint_low_rad[i];
            CHECK(is_near(last[i], end, 1e-6));
            CHECK(rig.check.joints[i].fastest >= 0.5 * config.joints[i].velocity);
        }
    }
}

void a_hold_leaves_joints_where_they_are()
{
    st4vla_player_config config = default_config(ST4VLA_ACTION_JOINT_POSITION);
    config.frame.stop_ns = 0;
    Rig rig(config);
    rig.put(1, 64, ready_with(0, 0.8F));
    rig.run_ms(450);
    const double held = rig.setpoint.joint_positions_rad[0];
    CHECK(rig.setpoint.at_rest == 1 && rig.setpoint.pace == ST4VLA_PACE_HOLD && held < 0.5);
    rig.put(2, 64, ready_with(0, 0.8F));
    rig.run_ms(190);
    CHECK(rig.setpoint.joint_positions_rad[0] > held);
}

void positions_refuse_an_age_at_which_to_slow_down()
{
    st4vla_player_config config = default_config(ST4VLA_ACTION_JOINT_POSITION);
    config.frame.slow_ns = 10 * kMs;
    st4vla_player *player = nullptr;
    CHECK(st4vla_player_create(&config, &player) == ST4VLA_PLAYER_BAD_AGES && player == nullptr);
}

void the_panda_has_limits_of_its_own()
{
    st4vla_player_config config;
    CHECK(st4vla_player_config_default(ST4VLA_PLAYER_FRANKA_PANDA, &config) == ST4VLA_PLAYER_OK);
    CHECK(is_near(config.translation.velocity, 0.9 * 1.7, 1e-12) && is_near(config.joints[1].jerk, 0.9 * 3750, 1e-9));
    CHECK(config.joint_high_rad[3] < -0.0698 && config.joint_high_rad[3] > -0.08);
    config.representation = ST4VLA_ACTION_JOINT_DELTA;
    config.action_dim = 8;
    config.gripper_index = 7;
    Rig rig(config);
    for (std::uint64_t i = 1; i < 60; ++i) {
        rig.put(i, 8, {1, -1, 1, -1, 1, -1, 1, 1});
        rig.run_ms(50);
    }
    CHECK(is_near(rig.setpoint.joint_positions_rad[0], config.joint_high_rad[0], 1e-6));
}

}  // namespace

int main()
{
    deltas_add_up();
    positions_are_reached_at_the_end_of_their_periods();
    a_position_far_away_is_approached_within_the_limits();
    ends_of_ranges_are_approached_as_the_maker_allows();
    a_hold_leaves_joints_where_they_are();
    positions_refuse_an_age_at_which_to_slow_down();
    the_panda_has_limits_of_its_own();
    return 0;
}
