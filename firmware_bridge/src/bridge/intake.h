// Which chunks are let in.
#ifndef ST4VLA_BRIDGE_INTAKE_H
#define ST4VLA_BRIDGE_INTAKE_H

#include <cstdint>

#include "st4vla/bridge.h"

namespace st4vla {

/// Lets in chunks that are newer than the ones before, answer what was sent, and are young enough.
class Intake {
public:
    /// `max_frame_age_ns`: of an older frame nothing is let in; 0: no bound.
    explicit Intake(int64_t max_frame_age_ns) noexcept : max_frame_age_ns_(max_frame_age_ns) {}

    /// Return the counter that this chunk is one for: ST4VLA_CHUNKS_RECEIVED if it is let in, else why not.
    ///
    /// `now_ns` is when it arrived, `sent` the sequence of the newest message that was sent.
    st4vla_counter judge(const st4vla_chunk &chunk, int64_t now_ns, uint64_t sent) noexcept;

    /// Whether the chunk that was let in last was the first one of a server that has begun anew.
    bool restarted() const noexcept { return restarted_; }

private:
    int64_t max_frame_age_ns_;
    uint64_t chunk_id_ = 0;
    uint64_t observation_ = 0;
    bool restarted_ = false;
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_INTAKE_H
