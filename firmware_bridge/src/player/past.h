// What was sent in the last ticks, to find out which of it a robot did not hear.
//
// A command that is lost on its way is not noticed at once: states go on arriving, and where the robot went by itself
// differs by less than single precision shows. What it says it was sent tells, some ticks later: of all that can have
// happened, what leads there. It need not be that the robot has heard nothing since. One that missed some commands, then
// heard one or two, and then none because the loop was late, goes on with a speed and an acceleration that it has made of
// a place to which nobody had sent it. A third command that it hears leaves nothing of that.
#ifndef ST4VLA_PLAYER_PAST_H
#define ST4VLA_PLAYER_PAST_H

#include "player/course.h"

namespace st4vla::player {

class Past {
public:
    /// Forget all: the robot stands where it was sent.
    void restart(const Settings &settings, const Sent &sent) noexcept;

    /// Return what to fill in: what is sent in a tick, or where the arm goes in one for which the loop was late.
    Sent *note(bool late) noexcept
    {
        newest_ = newest_ + 1 == kKept ? 0 : newest_ + 1;
        Sent &sent = sent_[newest_];
        sent.late = late ? 1 : 0;
        sent.moved = moved_ ? 1 : 0;
        moved_ = false;
        return &sent;
    }

    /// Find where a robot is that says it was sent to `told`, a pose or joints. Returns whether that is elsewhere than
    /// where it was sent, and explained by what it did not hear.
    bool explain(const Settings &settings, const double *told, Course *robot) noexcept
    {
        return difference(settings, sent(0), told) > kSame && search(settings, told, robot);
    }

private:
    /// What can have happened, backwards from now: ticks that the robot did not hear of, ticks before them that it heard
    /// of, and at most so many before those that it did not.
    struct Guess {
        int late, heard, lost;
    };

    /// A robot ends a motion after so many commands that it has not heard.
    static constexpr int kLost = 20;
    /// So many that it heard in a row, and what was before no longer matters.
    static constexpr int kForgotten = 3;
    /// Where no late loop says that there was a second gap, one is looked for only if both were as short as that.
    static constexpr int kShort = 4;
    /// Two gaps, what was heard between them, and what tells the speed and the acceleration before.
    static constexpr int kKept = 2 * kLost + 2 * kForgotten;
    /// States are in single precision; what differs by less, metres or radians, is the same.
    static constexpr double kSame = 1.5e-7;

    int index(int age) const noexcept { return (newest_ + kKept - age) % kKept; }
    const Sent &sent(int age) const noexcept { return sent_[index(age)]; }
    bool search(const Settings &settings, const double *told, Course *robot) noexcept;
    void guess(const Settings &settings, const Guess &guess, const double *told) noexcept;
    Course after(const Settings &settings, int age) const noexcept;

    int newest_ = 0;
    bool moved_ = false;  ///< What is noted next is sent to a robot that was found elsewhere.
    double least_ = 0.0;  ///< How far from what was told the best guess is.
    Sent sent_[kKept];
    Course best_;
    Course found_[kKept];  ///< Where it was found before each tick that has `moved` set.
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_PAST_H
