/*
 * From cameras to a runtime, and from its chunks to a player, without a hand on it; C99 and C++17.
 *
 * st4vla_stream_start sends each new set of pictures, with what the arm measures, in a thread of its own. Give
 * st4vla_stream_play to the bridge as its on_chunk, and the player as its context, and chunks go to the player as they
 * come.
 */
#ifndef ST4VLA_STREAM_H
#define ST4VLA_STREAM_H

#include "st4vla/bridge.h"
#include "st4vla/control.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct st4vla_stream_config {
    const char *instruction;       /* what to do; UTF-8, ended by a zero */
    uint64_t seed;                 /* of the first frame's noise; each frame has the next one */
    int64_t deadline_ns;           /* how long after a frame was sent a chunk is of use; 0: no deadline */
    uint32_t flags;                /* ST4VLA_FLAG_WANTS_PLANS or 0 */
    uint32_t reserved;             /* 0 */
    const st4vla_control *control; /* NULL, or the loop whose arm's state goes out with the frames */
} st4vla_stream_config;

/* What came of the sets of pictures so far. */
typedef struct st4vla_stream_report {
    uint64_t sent;      /* handed to the bridge */
    uint64_t refused;   /* that the bridge did not take */
    uint64_t silences;  /* times that no camera had anything for a while */
    uint32_t last_status; /* st4vla_status of the last call that failed */
    uint32_t reserved;
} st4vla_stream_report;

typedef struct st4vla_stream st4vla_stream;

/*
 * Begin; *stream is NULL unless the status is ST4VLA_OK. Bridge, cameras and control stay the caller's and must outlive
 * it; nobody else may take from the cameras meanwhile.
 */
ST4VLA_API st4vla_status st4vla_stream_start(st4vla_bridge *bridge, st4vla_cameras *cameras,
                                             const st4vla_stream_config *config, st4vla_stream **stream);

/* Tell it something else to do, from the next frame on. */
ST4VLA_API st4vla_status st4vla_stream_tell(st4vla_stream *stream, const char *instruction);

/* Read what came of it; for any thread. */
ST4VLA_API st4vla_status st4vla_stream_read(const st4vla_stream *stream, st4vla_stream_report *report);

/* End and free it; NULL is no error. */
ST4VLA_API void st4vla_stream_stop(st4vla_stream *stream);

/* An on_chunk: hands a chunk to the st4vla_player that is its context. What the player refuses, it counts. */
ST4VLA_API void st4vla_stream_play(void *player, const st4vla_chunk *chunk);

#ifdef __cplusplus
}
#endif

#endif /* ST4VLA_STREAM_H */
