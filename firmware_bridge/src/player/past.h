// Where the arm was in the last ticks, to find out which of them a robot did not hear of.
//
// A command that is lost on its way is not noticed at once: states go on arriving, and where the robot went by itself
// differs by less than single precision shows. What it says it was sent tells, some ticks later, since when it has heard
// nothing: of all moments from which it could have gone on by itself, the one that leads there.
#ifndef ST4VLA_PLAYER_PAST_H
#define ST4VLA_PLAYER_PAST_H

#include "player/arm.h"

namespace st4vla::player {

class Past {
public:
    void forget() noexcept { count_ = 0; }

    /// Take down where the arm is before a tick.
    void note(const Settings &settings, const Arm &arm) noexcept
    {
        newest_ = (newest_ + 1) % kTicks;
        arms_[newest_].take(settings, arm);
        count_ = count_ < kTicks ? count_ + 1 : kTicks;
    }

    /// If `sent`, a pose or joints, is not where the arm was sent, put the arm where a robot went that heard nothing since
    /// the moment that explains it. Its goal stays. Returns whether it was moved; what no moment explains moves nothing.
    bool correct(const Settings &settings, const double *sent, Arm &arm) noexcept
    {
        if (!(arm.distance(settings, sent) > kSame)) {
            return false;
        }
        double least = kSame;
        bool found = false;
        for (int back = 0; back < count_; ++back) {
            alone_.take(settings, arms_[(newest_ + kTicks - back) % kTicks]);
            for (int tick = 0; tick <= back; ++tick) {
                alone_.coast(settings);
            }
            const double distance = alone_.distance(settings, sent);
            if (distance < least) {
                least = distance;
                alone_.aim_as(settings, arm);
                best_.take(settings, alone_);
                found = true;
            }
        }
        if (found) {
            // What came before is kept: with more that the robot did not hear, the same moment explains it, and better.
            arm.take(settings, best_);
        }
        return found;
    }

private:
    /// A robot ends a motion after so many commands that it has not heard.
    static constexpr int kTicks = 20;
    /// States are in single precision; what differs by less, metres or radians, is the same.
    static constexpr double kSame = 1.5e-7;

    Arm arms_[kTicks], alone_, best_;
    int newest_ = 0, count_ = 0;
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_PAST_H
