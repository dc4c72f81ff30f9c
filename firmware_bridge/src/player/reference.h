// What a chunk asks for at each tick, continuous from one chunk to the next.
//
// Whenever what is asked for changes at once (a newer chunk, another pace, a hold that ends), the difference to what
// was asked for just before is kept and fades out like a critically damped oscillator. It is within 2 % of nothing
// after `blend_ns`, and has a memory: chunks that follow one another more quickly than that do not begin it anew.
#ifndef ST4VLA_PLAYER_REFERENCE_H
#define ST4VLA_PLAYER_REFERENCE_H

#include "player/chunk.h"
#include "player/settings.h"

namespace st4vla::player {

/// Share of its motion that is left of a move that is executed slowly; as in st4vla.runtime.safety.
constexpr double kSlowFactor = 0.5;

class Reference {
public:
    /// How a chunk begins.
    struct Start {
        std::int64_t time_ns;  ///< The tick that is its first. It is compared at the one before, which `from` is of.
        double factor;         ///< Share of its moves that is executed.
        bool joins;            ///< Others were executed just before; else its first action rises from rest.
    };

    /// Ask for what a chunk says from now on. `from` is what was asked for just before.
    void splice(const Settings &settings, const Chunk &chunk, const Start &start, const Motion &from) noexcept;

    /// Begin from a motion that nobody asked for, such as a brake's.
    void forget() noexcept { left_ = {}; }

    /// Fill in what is asked for at a tick; called once for each.
    void at(const Settings &settings, const Chunk &chunk, std::int64_t time_ns, Motion *asked) noexcept;

    /// Whether the last tick asked for more than the limits of speed.
    bool limited() const noexcept { return limited_; }

private:
    void plain(const Settings &settings, const Chunk &chunk, std::int64_t time_ns, Motion *asked) noexcept;

    /// The difference that fades, in what the chunks hold (positions or speeds), and its change a second.
    struct {
        double value[kMaxMotion], rate[kMaxMotion];
    } left_{};
    double factor_ = 1.0;
    bool joins_ = false, limited_ = false;
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_REFERENCE_H
