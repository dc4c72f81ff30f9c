#include "player/past.h"

namespace st4vla::player {

void Past::restart(const Settings &settings, const Sent &sent) noexcept
{
    std::fill(sent_, sent_ + kKept, sent);
    best_.begin(settings, sent);
    moved_ = false;
}

bool Past::search(const Settings &settings, const double *told, Course *robot) noexcept
{
    least_ = kSame;
    int late = 0;
    while (late < kLost && sent(late).late != 0) {
        ++late;
    }
    guess(settings, {late, 0, kLost - late}, told);
    for (int heard = 1; late > 0 && heard < kForgotten; ++heard) {
        guess(settings, {late, heard, kLost}, told);
    }
    // The unlikely only where nothing else explains it.
    for (int gap = 1; !(least_ < kSame) && late == 0 && gap <= kShort; ++gap) {
        for (int heard = 1; heard < kForgotten; ++heard) {
            guess(settings, {gap, heard, kShort}, told);
        }
    }
    if (!(least_ < kSame)) {
        return false;
    }
    // What was sent before is kept: with more that the robot did not hear, the same moment explains it, and better.
    *robot = found_[index(-1)] = best_;
    moved_ = true;
    return true;
}

/// Try each number of lost commands, and keep the course that ends nearest to what was told.
void Past::guess(const Settings &settings, const Guess &guess, const double *told) noexcept
{
    for (int lost = 1; lost <= guess.lost; ++lost) {
        Course robot = after(settings, guess.late + guess.heard + lost);
        for (int tick = 0; tick < lost; ++tick) {
            robot.coast(settings);
        }
        for (int age = guess.late + guess.heard; age-- > guess.late;) {
            robot.hear(settings, sent(age));
        }
        for (int tick = 0; tick < guess.late; ++tick) {
            robot.coast(settings);
        }
        const double distance = difference(settings, robot.place(settings), told);
        if (distance < least_) {
            least_ = distance;
            best_ = robot;
        }
    }
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
