// An observation to its frame, for pictures that lie in the frame already.
#ifndef ST4VLA_WIRE_ENCODE_H
#define ST4VLA_WIRE_ENCODE_H

#include <cstddef>

#include "st4vla/message.h"

namespace st4vla {

/// Bytes of an observation before its first picture, without what aligns that.
std::size_t head_bytes(const st4vla_observation &observation) noexcept;

/// First byte at or after `at` where a picture may begin.
constexpr std::size_t aligned(std::size_t at) noexcept
{
    return (at + ST4VLA_VIEW_ALIGNMENT - 1) / ST4VLA_VIEW_ALIGNMENT * ST4VLA_VIEW_ALIGNMENT;
}

/// Whether the wire can carry it; if not, the detail says why.
st4vla_status check_observation(const st4vla_observation &observation) noexcept;

/// Write a frame of `size` bytes. A picture that lies where it belongs is left there; the others are copied.
void write_observation(const st4vla_observation &observation, void *frame, std::size_t size) noexcept;

/// Bytes of the frame that carries an observation.
std::size_t frame_bytes(const st4vla_observation &observation) noexcept;

}  // namespace st4vla

#endif  // ST4VLA_WIRE_ENCODE_H
