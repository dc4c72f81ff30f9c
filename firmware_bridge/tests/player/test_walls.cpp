// The ends of the workspace, for a robot that misses milliseconds just before them. An argument asks for another number of
// trials; how far a wall was passed is printed.
#include <random>

#include "player/rig.h"
#include "player/robot_model.h"

namespace {

using namespace st4vla::player;

/// What a Franka allows, from what is kept by default.
constexpr double kMaker = 1.0 / 0.9;
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

/// An arm that is led out of its box again and again, one way after the other.
struct Trial {
    explicit Trial(unsigned seed) : random(seed)
    {
        for (int i = 0; i < 3; ++i) {
            walls.emplace_back(kLow[i], kHigh[i], config.translation, config.translation.acceleration / std::sqrt(3.0));
        }
    }

    int between(int least, int most) { return std::uniform_int_distribution<int>(least, most)(random); }

    /// A new chunk now and then.
    void lead(int ms)
    {
        if (ms % 130 == 0) {
            const auto number = [this] { return static_cast<float>(between(-100, 100)) * 4e-4F; };
            const std::vector<float> action{number(), number(), number(), 0, 0, 0, 1};
            CHECK(rig.put(made_chunk(config, ++sequence, rig.now_ns(), 16, action)) == ST4VLA_PLAYER_OK);
        }
    }

    double outside_m() const
    {
        double farthest = 0.0;
        for (int i = 0; i < 3; ++i) {
            const double at = rig.setpoint.base_T_ee[4 * i + 3];
            farthest = std::fmax(farthest, std::fmax(at - kHigh[i], kLow[i] - at));
        }
        return farthest;
    }

    const st4vla_player_config config = small_box();
    Rig rig{config};
    RobotModel robot{kHome};
    std::vector<WallCheck> walls;
    std::mt19937 random;
    std::uint64_t sequence = 0;
    int lost = 0;
};

/// Once nothing is missed any more, the arm comes back into its box, and stays there: the rig checks that it does.
void check_return(Trial &trial)
{
    trial.rig.input.ticks = 1;
    trial.rig.input.has_sent = 0;
    for (int ms = 0; ms < 2 * kBack_ms; ++ms) {
        trial.lead(ms);
        if (ms < kBack_ms) {
            trial.rig.check.unheard();
        }
        trial.rig.step();
    }
}

/// Step many trials, in each of which something is missed; how far any of them passed a wall is printed.
template <typename Step>
void wander(const char *what, int trials, Step step)
{
    double farthest_m = 0.0;
    for (int seed = 0; seed < trials; ++seed) {
        Trial trial(static_cast<unsigned>(seed));
        for (int ms = 0; ms < 1200; ++ms) {
            trial.lead(ms);
            step(trial);
            farthest_m = std::fmax(farthest_m, trial.outside_m());
        }
        CHECK(trial.robot.fastest_change <= trial.config.translation.acceleration * kMaker);
        CHECK(trial.robot.fastest_jerk <= trial.config.translation.jerk * kMaker);
        check_return(trial);
    }
    std::printf("%s: a wall was passed by %.1f mm at most\n", what, farthest_m * 1e3);
    // Otherwise nothing of this was tried.
    CHECK(farthest_m > 1e-4);
}

/// The loop was late: what is passed of the box is checked by the rig.
void a_late_loop_before_a_wall_leaves_the_robot_within_its_makers_limits(int trials)
{
    wander("late loops", trials, [](Trial &trial) {
        Rig &rig = trial.rig;
        rig.input.ticks = trial.between(0, 39) == 0 ? static_cast<std::uint32_t>(trial.between(2, 19)) : 1;
        for (std::uint32_t i = 1; i < rig.input.ticks; ++i) {
            trial.robot.hear_nothing();
        }
        if (rig.input.ticks > 1) {
            rig.check.missed(static_cast<int>(rig.input.ticks));
        }
        rig.step();
        trial.robot.hear(rig.setpoint);
    });
}

/// Commands were lost: the player learns of it from where the robot went.
void commands_lost_before_a_wall_leave_the_robot_within_its_makers_limits(int trials)
{
    wander("lost commands", trials, [](Trial &trial) {
        trial.robot.tell(trial.rig.input);
        trial.rig.check.unheard();
        trial.rig.step();
        trial.lost = trial.lost > 0 ? trial.lost - 1 : trial.between(0, 79) == 0 ? trial.between(1, 18) : 0;
        if (trial.lost > 0) {
            trial.robot.hear_nothing();
            std::for_each(trial.walls.begin(), trial.walls.end(), [](WallCheck &wall) { wall.miss(); });
            return;
        }
        trial.robot.hear(trial.rig.setpoint);
        for (int i = 0; i < 3; ++i) {
            CHECK(trial.walls[static_cast<std::size_t>(i)].take(trial.robot.position()[i], kTold_m));
        }
    });
}

}  // namespace

int main(int argc, char **argv)
{
    const int trials = argc > 1 ? std::atoi(argv[1]) : 200;
    CHECK(trials > 0);
    a_late_loop_before_a_wall_leaves_the_robot_within_its_makers_limits(trials);
    commands_lost_before_a_wall_leave_the_robot_within_its_makers_limits(trials);
    return 0;
}
