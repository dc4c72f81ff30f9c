// Where chunks arrive: one thread checks and puts them, the control thread takes the newest.
#ifndef ST4VLA_PLAYER_INBOX_H
#define ST4VLA_PLAYER_INBOX_H

#include "player/chunk.h"
#include "player/settings.h"
#include "player/slot.h"

namespace st4vla::player {

/// Times beyond it are nobody's clock (36 years); differences of two below it cannot overflow.
constexpr std::int64_t kLatest_ns = std::int64_t{1} << 60;

class Inbox {
public:
    enum class Taken { kNothing, kNewer, kOld, kFromTheFuture };

    /// Check a chunk against the config, and keep it in the place of the one before.
    st4vla_player_status put(const st4vla_player_config &config, const st4vla_wire_action_chunk &chunk,
                             const void *actions, std::size_t bytes) noexcept;

    /// Take the newest chunk, if there is one that may follow the one that is played; `playing` says whether one is.
    Taken take(std::int64_t now_ns, bool playing) noexcept;

    /// The one that is played, which stays where it was put: most of its actions are never looked at.
    const Chunk &chunk() const noexcept { return slot_.kept(); }

    /// Let go of what nobody took.
    void forget() noexcept { slot_.take(); }

private:
    Slot<Chunk, true> slot_;
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_INBOX_H
