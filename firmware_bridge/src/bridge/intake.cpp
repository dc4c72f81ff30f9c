#include "intake.h"

namespace st4vla {

st4vla_counter Intake::judge(const st4vla_chunk &chunk, int64_t now_ns, uint64_t sent) noexcept
{
    const st4vla_wire_action_chunk &body = chunk.body;
    if (body.observation_sequence > sent || body.observation_sent_ns > now_ns || body.frame_capture_ns > now_ns) {
        return ST4VLA_CHUNKS_REFUSED_IMPOSSIBLE;
    }
    // The numbers of chunks begin anew with the server, those of observations are ours: they decide, and among chunks
    // of one observation their own.
    if (body.observation_sequence < observation_ ||
        (body.observation_sequence == observation_ && body.chunk_id <= chunk_id_)) {
        return ST4VLA_CHUNKS_REFUSED_OLD;
    }
    // Unsigned, for a server may write any number.
    const uint64_t age_ns = static_cast<uint64_t>(now_ns) - static_cast<uint64_t>(body.frame_capture_ns);
    if (max_frame_age_ns_ != 0 && age_ns > static_cast<uint64_t>(max_frame_age_ns_)) {
        return ST4VLA_CHUNKS_REFUSED_LATE;
    }
    restarted_ = body.chunk_id <= chunk_id_;
    chunk_id_ = body.chunk_id;
    observation_ = body.observation_sequence;
    return ST4VLA_CHUNKS_RECEIVED;
}

}  // namespace st4vla
