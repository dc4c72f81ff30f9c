#include "player/past.h"

namespace st4vla::player {

void Past::restart(const Settings &settings, const Sent &sent) noexcept
{
    std::fill(sent_, sent_ + kKept, sent);
    best_.begin(settings, sent);
    moved_ = false;
    std::fill(told_, told_ + kTold, Told{});
}

bool Past::find(const Settings &settings, const double *told, Course *robot) noexcept
{
    if (!search(settings, told) && !estimate(settings)) {
        return false;
    }
    // What was sent before is kept: with more that the robot did not hear, the same moment explains it, and better.
    *robot = found_[index(-1)] = best_;
    moved_ = true;
    return true;
}

/// Find since when the robot has heard nothing.
bool Past::search(const Settings &settings, const double *told) noexcept
{
    double least = kExplained;
    for (int missed = 1; missed <= kLost; ++missed) {
        Course robot = after(settings, missed);
        for (int tick = 0; tick < missed; ++tick) {
            robot.coast(settings);
        }
        const double distance = difference(settings, robot.place(settings), told);
        if (distance < least) {
            least = distance;
            best_ = robot;
        }
    }
    return least < kExplained;
}

/// Take the robot at its word: where it was in the last ticks tells how it moves.
bool Past::estimate(const Settings &settings) noexcept
{
    const auto ticks_since = [this](int age) { return told(age).tick - told(age + 1).tick; };
    // Three in a row; what the robot did while the loop was late is known.
    const int skipped = ticks_since(0) > 1 && ticks_since(0) <= kLost ? 1 : 0;
    if (ticks_since(skipped) != 1 || ticks_since(skipped + 1) != 1) {
        return false;
    }
    best_.begin(settings, sent_of(settings, told(skipped + 2).at));
    best_.hear(settings, sent_of(settings, told(skipped + 1).at));
    best_.hear(settings, sent_of(settings, told(skipped).at));
    if (skipped != 0) {
        const int ticks = static_cast<int>(ticks_since(0));
        for (int tick = 0; tick < ticks; ++tick) {
            best_.coast(settings);
        }
        best_.arrive(settings, sent_of(settings, told(0).at), ticks);
    }
    return best_.is_possible(settings, sent(0));
}

/// The course of a robot that has just heard what was sent so many ticks ago, and all that was sent before.
Course Past::after(const Settings &settings, int age) const noexcept
{
    // Speed and acceleration are told by two commands more.
    int from = age;
    while (from < age + 2 && sent(from).moved == 0) {
        ++from;
    }
    Course robot;
    if (sent(from).moved != 0) {
        robot = found_[index(from)];
        robot.hear(settings, sent(from));
    } else {
        robot.begin(settings, sent(from));
    }
    while (from-- > age) {
        robot.hear(settings, sent(from));
    }
    return robot;
}

}  // namespace st4vla::player
