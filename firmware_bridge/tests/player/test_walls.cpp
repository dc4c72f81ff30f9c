// The ends of the workspace and of the joints' ranges, for a robot that misses milliseconds just before them.
#include <random>

#include "player/rig.h"
#include "player/robot_model.h"

namespace {

using namespace st4vla::player;

/// What a Franka allows, from what is kept by default.
constexpr double kMaker = 1.0 / 0.9;
constexpr int kTrials = 200;
constexpr int kBack_ms = 400;
/// What is told in single precision is known to this.
constexpr double kTold_m = 1e-6;
constexpr double kLow[3] = {0.44, -0.08, 0.24}, kHigh[3] = {0.56, 0.08, 0.36};

st4vla_player_config small_box()
{
    st4vla_player_config config = default_config();
    std::copy(kLow, kLow + 3, config.workspace_low_m);
    std::copy(kHigh, kHigh + 3, config.workspace_high_m);
    return config;
}

/// Chunks that lead out of the box, one way after the other.
class Wanderer {
public:
    explicit Wanderer(unsigned seed) : random_(seed) {}

    int between(int least, int most) { return std::uniform_int_distribution<int>(least, most)(random_); }

    MadeChunk chunk(const st4vla_player_config &config, std::int64_t now_ns)
    {
        const auto number = [this] { return static_cast<float>(between(-100, 100)) * 4e-4F; };
        ++sequence_;
        return made_chunk(config, sequence_, now_ns, 16, {number(), number(), number(), 0, 0, 0, 1});
    }

private:
    std::mt19937 random_;
    std::uint64_t sequence_ = 0;
};

double outside_m(const st4vla_player_setpoint &setpoint)
{
    double farthest = 0.0;
    for (int i = 0; i < 3; ++i) {
        const double at = setpoint.base_T_ee[4 * i + 3];
        farthest = std::fmax(farthest, std::fmax(at - kHigh[i], kLow[i] - at));
    }
    return farthest;
}

void check(const RobotModel &robot, const st4vla_player_config &config)
{
    CHECK(robot.fastest_change <= config.translation.acceleration * kMaker);
    CHECK(robot.fastest_jerk <= config.translation.jerk * kMaker);
}

/// Once nothing is missed any more, the arm comes back into its box, and stays there: the rig checks that it does.
void check_return(Rig &rig, const st4vla_player_config &config, Wanderer &wanderer)
{
    rig.input.ticks = 1;
    rig.input.has_sent = 0;
    for (int ms = 0; ms < 2 * kBack_ms; ++ms) {
        if (ms % 130 == 0) {
            CHECK(rig.put(wanderer.chunk(config, rig.now_ns())) == ST4VLA_PLAYER_OK);
        }
        if (ms < kBack_ms) {
            rig.check.unheard();
        }
        rig.step();
    }
}

/// The loop was late: what is passed of the box is checked by the rig.
void a_late_loop_before_a_wall_leaves_the_robot_within_its_makers_limits()
{
    const st4vla_player_config config = small_box();
    double farthest_m = 0.0;
    for (unsigned trial = 0; trial < kTrials; ++trial) {
        Rig rig(config);
        RobotModel robot(kHome);
        Wanderer wanderer(trial);
        for (int step = 0; step < 1200; ++step) {
            if (step % 130 == 0) {
                CHECK(rig.put(wanderer.chunk(config, rig.now_ns())) == ST4VLA_PLAYER_OK);
            }
            rig.input.ticks = wanderer.between(0, 39) == 0 ? static_cast<std::uint32_t>(wanderer.between(2, 19)) : 1;
            for (std::uint32_t i = 1; i < rig.input.ticks; ++i) {
                robot.hear_nothing();
            }
            if (rig.input.ticks > 1) {
                rig.check.missed(static_cast<int>(rig.input.ticks));
            }
            rig.step();
            robot.hear(rig.setpoint);
            farthest_m = std::fmax(farthest_m, outside_m(rig.setpoint));
        }
        check(robot, config);
        check_return(rig, config, wanderer);
    }
    // Otherwise nothing of this was tried.
    CHECK(farthest_m > 1e-4);
}

/// Commands were lost: the player learns of it from where the robot went.
void commands_lost_before_a_wall_leave_the_robot_within_its_makers_limits()
{
    const st4vla_player_config config = small_box();
    double farthest_m = 0.0;
    for (unsigned trial = 0; trial < kTrials; ++trial) {
        Rig rig(config);
        RobotModel robot(kHome);
        Wanderer wanderer(trial);
        std::vector<WallCheck> walls;
        for (int i = 0; i < 3; ++i) {
            walls.emplace_back(kLow[i], kHigh[i], config.translation, config.translation.acceleration / std::sqrt(3.0));
        }
        int lost = 0;
        for (int ms = 0; ms < 1200; ++ms) {
            if (ms % 130 == 0) {
                CHECK(rig.put(wanderer.chunk(config, rig.now_ns())) == ST4VLA_PLAYER_OK);
            }
            robot.tell(rig.input);
            rig.check.unheard();
            rig.step();
            lost = lost > 0 ? lost - 1 : wanderer.between(0, 79) == 0 ? wanderer.between(1, 18) : 0;
            if (lost > 0) {
                robot.hear_nothing();
                std::for_each(walls.begin(), walls.end(), [](WallCheck &wall) { wall.miss(); });
            } else {
                robot.hear(rig.setpoint);
                for (std::size_t i = 0; i < walls.size(); ++i) {
                    CHECK(walls[i].take(robot.position()[static_cast<int>(i)], kTold_m));
                }
            }
            farthest_m = std::fmax(farthest_m, outside_m(rig.setpoint));
        }
        check(robot, config);
        check_return(rig, config, wanderer);
    }
    CHECK(farthest_m > 1e-4);
}

}  // namespace

int main()
{
    a_late_loop_before_a_wall_leaves_the_robot_within_its_makers_limits();
    commands_lost_before_a_wall_leave_the_robot_within_its_makers_limits();
    return 0;
}
