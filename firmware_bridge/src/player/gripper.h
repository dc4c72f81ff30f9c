// The gripper's command as events: each change once, and none while a command wavers about the middle.
#ifndef ST4VLA_PLAYER_GRIPPER_H
#define ST4VLA_PLAYER_GRIPPER_H

#include <algorithm>
#include <cstdint>

#include "st4vla/player.h"

namespace st4vla::player {

class Gripper {
public:
    void reset(double close_below, double open_above) noexcept
    {
        close_below_ = close_below;
        open_above_ = open_above;
    }

    /// Take the command that is due, 1 open to 0 closed, and return what it changes.
    st4vla_player_gripper command(double opening) noexcept
    {
        opening_ = std::min(std::max(opening, 0.0), 1.0);
        const st4vla_player_gripper wanted = opening_ <= close_below_  ? ST4VLA_PLAYER_GRIPPER_CLOSE
                                             : opening_ >= open_above_ ? ST4VLA_PLAYER_GRIPPER_OPEN
                                                                       : ST4VLA_PLAYER_GRIPPER_NOTHING;
        if (wanted == ST4VLA_PLAYER_GRIPPER_NOTHING || wanted == last_) {
            return ST4VLA_PLAYER_GRIPPER_NOTHING;
        }
        last_ = wanted;
        ++count_;
        return wanted;
    }

    double opening() const noexcept { return opening_; }
    std::uint32_t count() const noexcept { return count_; }

private:
    double close_below_ = 0.0, open_above_ = 1.0, opening_ = -1.0;
    st4vla_player_gripper last_ = ST4VLA_PLAYER_GRIPPER_NOTHING;
    std::uint32_t count_ = 0;
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_GRIPPER_H
