// What was sent in the last ticks, to find out which of it a robot did not hear.
//
// A command that is lost on its way is not noticed at once: states go on arriving, and where the robot went by itself
// differs by less than single precision shows. What it says it was sent tells, some ticks later, since when it has heard
// nothing: of all moments from which it could have gone on by itself, the one that leads there.
//
// Where no moment leads there, it has heard something in between: one that missed some commands, then heard one or two, and
// then none because the loop was late, goes on with a speed and an acceleration that it has made of a place to which nobody
// had sent it. Then what it told in the last ticks must do. In single precision that is good to 0.1 mm/s and 0.2 m/s^2,
// which the robot takes for a jerk of some 200 m/s^3: a twentieth of what it allows.
#ifndef ST4VLA_PLAYER_PAST_H
#define ST4VLA_PLAYER_PAST_H

#include "player/course.h"

namespace st4vla::player {

class Past {
public:
    /// Forget all: the robot stands where it was sent.
    void restart(const Settings &settings, const Sent &sent) noexcept;

    /// Return what to fill in: what is sent in a tick, or where the arm goes in one for which the loop was late.
    Sent *note() noexcept
    {
        ++ticks_;
        newest_ = newest_ + 1 == kKept ? 0 : newest_ + 1;
        Sent &sent = sent_[newest_];
        sent.moved = moved_ ? 1 : 0;
        moved_ = false;
        return &sent;
    }

    /// Find where a robot is that says it was sent to `told`, a pose or joints; called once a tick. Returns whether that is
    /// elsewhere than where it was sent, and can be.
    bool explain(const Settings &settings, const double *told, Course *robot) noexcept
    {
        newest_told_ = (newest_told_ + 1) % kTold;
        told_[newest_told_].tick = ticks_;
        std::copy_n(told, settings.joints ? settings.motion : 12, told_[newest_told_].at);
        return difference(settings, sent(0), told) > kSame && find(settings, told, robot);
    }

private:
    /// What the robot told, after so many ticks.
    struct Told {
        std::int64_t tick;
        double at[16];
    };

    /// A robot ends a motion after so many commands that it has not heard.
    static constexpr int kLost = 20;
    /// With what tells the speed and the acceleration before them.
    static constexpr int kKept = kLost + 3;
    /// Of as many told places speed and acceleration can be told, even if one of them is of after a late loop.
    static constexpr int kTold = 4;
    /// States are in single precision; what differs by less, metres or radians, is the same.
    static constexpr double kSame = 1.5e-7;
    /// What leads to a place leads there as nearly as it was told.
    static constexpr double kExplained = 7e-8;

    int index(int age) const noexcept { return (newest_ + kKept - age) % kKept; }
    const Sent &sent(int age) const noexcept { return sent_[index(age)]; }
    const Told &told(int age) const noexcept { return told_[(newest_told_ + kTold - age) % kTold]; }
    bool find(const Settings &settings, const double *told, Course *robot) noexcept;
    bool search(const Settings &settings, const double *told) noexcept;
    bool estimate(const Settings &settings) noexcept;
    Course after(const Settings &settings, int age) const noexcept;

    int newest_ = 0, newest_told_ = 0;
    bool moved_ = false;  ///< What is noted next is sent to a robot that was found elsewhere.
    std::int64_t ticks_ = 0;
    Told told_[kTold] = {};
    Sent sent_[kKept];
    Course best_;
    Course found_[kKept];  ///< Where it was found before each tick that has `moved` set.
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_PAST_H
