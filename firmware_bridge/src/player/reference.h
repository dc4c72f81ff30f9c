// What a chunk asks for at each instant, continuous in value and speed from one chunk to the next.
//
// Whenever what is asked for changes at once (a newer chunk, another pace, a hold that ends), the difference to what was
// asked for just before is kept and faded out over `blend_ns`, so that value and speed begin where they were.
#ifndef ST4VLA_PLAYER_REFERENCE_H
#define ST4VLA_PLAYER_REFERENCE_H

#include "player/chunk.h"
#include "player/settings.h"

namespace st4vla::player {

/// Share of its motion that is left of a move that is executed slowly; as in st4vla.runtime.safety.
constexpr double kSlowFactor = 0.5;

class Reference {
public:
    /// One number for each that moves the arm: six of the end effector, or the joints.
    struct Motion {
        double at[kMaxMotion];  ///< Positions asked for; only where chunks hold positions.
        double speed[kMaxMotion];
    };

    /// Ask for what a chunk says from `time_ns` on. `from` is what was asked for, or done, just before.
    void splice(const Settings &settings, const Chunk &chunk, double factor, std::int64_t time_ns,
                const Motion &from) noexcept;

    /// Return what is asked for at a time.
    Motion at(const Settings &settings, const Chunk &chunk, std::int64_t time_ns) noexcept;

    /// Whether the last call of `at` asked for more than the limits of speed.
    bool limited() const noexcept { return limited_; }

private:
    Motion plain(const Settings &settings, const Chunk &chunk, std::int64_t time_ns) noexcept;

    Motion left_{};
    double factor_ = 1.0;
    std::int64_t since_ns_ = 0;
    bool limited_ = false;
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_REFERENCE_H
