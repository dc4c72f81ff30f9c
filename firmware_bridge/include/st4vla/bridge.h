/*
 * Frames out to a runtime, actions in from it; C99 and C++17. The one header that an embedder includes.
 *
 * Times are nanoseconds on this machine's monotonic clock (st4vla_monotonic_ns). No function throws, none blocks longer
 * than its timeout says, and memory that crosses the ABI is the caller's.
 */
#ifndef ST4VLA_BRIDGE_H
#define ST4VLA_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

#include "st4vla/cameras.h"
#include "st4vla/message.h"
#include "st4vla/status.h"
#include "st4vla/wire.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Characters of a server's message that are kept, with the zero that ends it. */
#define ST4VLA_MAX_ERROR_TEXT 512

/* The way to one runtime. Every function may be called from any thread. */
typedef struct st4vla_bridge st4vla_bridge;

/* Called in the bridge's own thread with each chunk that was let in; it should return in microseconds. */
typedef void (*st4vla_chunk_callback)(void *context, const st4vla_chunk *chunk);

typedef struct st4vla_bridge_config {
    uint32_t abi_version;        /* ST4VLA_ABI_VERSION */
    uint32_t jpeg_quality;       /* 0: raw pictures go out raw; 1 to 100: as JPEG of this quality */
    const char *endpoint;        /* of the runtime, as in tcp://192.168.1.2:5555, or local:PATH on its machine */
    const char *secret_key_file; /* NULL, or this client's, as `st4vla keys make` writes it */
    const char *server_key_file; /* NULL, or the runtime's public one; both or none */
    int64_t max_frame_age_ns;    /* a chunk whose frame was captured longer ago is dropped on arrival; 0: none is */
    st4vla_chunk_callback on_chunk; /* NULL, or where chunks are handed over as they come */
    void *context;                  /* what on_chunk is called with */
} st4vla_bridge_config;

/* The configuration of an open connection without keys; only `endpoint` is left to be set. */
static inline st4vla_bridge_config st4vla_bridge_defaults(void)
{
    st4vla_bridge_config config = {ST4VLA_ABI_VERSION, 0, NULL, NULL, NULL, 0, NULL, NULL};
    return config;
}

/* What must be added to this machine's clock to get the runtime's. */
typedef struct st4vla_clock_offset {
    int64_t offset_ns;
    int64_t error_bound_ns; /* the true offset lies within it as long as neither clock steps */
} st4vla_clock_offset;

/* What the runtime said last of something that it could not do. */
typedef struct st4vla_server_error {
    uint64_t count; /* errors that have come so far */
    uint64_t observation_sequence;
    uint32_t code; /* one of enum st4vla_error */
    uint32_t reserved;
    char text[ST4VLA_MAX_ERROR_TEXT]; /* ended by a zero */
} st4vla_server_error;

/* What is counted, in the order of st4vla_counter_name. */
typedef enum st4vla_counter {
    ST4VLA_FRAMES_SENT,
    ST4VLA_FRAMES_SUPERSEDED,         /* replaced by a newer one before the network took them */
    ST4VLA_FRAMES_BUSY,               /* dropped because all message buffers were on their way */
    ST4VLA_BUFFERS_GROWN,             /* allocations for frames; none once all sizes were seen */
    ST4VLA_CHUNKS_RECEIVED,           /* let in */
    ST4VLA_CHUNKS_SUPERSEDED,         /* let in and replaced by a newer one before st4vla_bridge_receive took them */
    ST4VLA_CHUNKS_REFUSED_OLD,        /* not newer than the one before */
    ST4VLA_CHUNKS_REFUSED_LATE,       /* of a frame older than max_frame_age_ns */
    ST4VLA_CHUNKS_REFUSED_IMPOSSIBLE, /* in answer to nothing that was sent, or of times to come */
    ST4VLA_CHUNKS_REFUSED_LARGE,      /* of more than ST4VLA_MAX_ACTIONS numbers */
    ST4VLA_MESSAGES_FOREIGN,
    ST4VLA_MESSAGES_OTHER_WIRE,
    ST4VLA_MESSAGES_TRUNCATED,
    ST4VLA_MESSAGES_BAD_CHECKSUM,
    ST4VLA_MESSAGES_MALFORMED,
    ST4VLA_MESSAGES_UNEXPECTED,       /* of a kind that a server does not send */
    ST4VLA_WELCOMES_RECEIVED,
    ST4VLA_PLANS_RECEIVED,
    ST4VLA_ERRORS_RECEIVED,
    ST4VLA_CLOCK_SAMPLES_REFUSED,     /* times that no pair of clocks can show */
    ST4VLA_CONNECTIONS,               /* after the first one, reconnections */
    ST4VLA_DISCONNECTIONS,
    ST4VLA_HANDSHAKES_FAILED,
    ST4VLA_SERVER_RESTARTS,           /* chunk numbers that began anew */
    ST4VLA_COUNTER_COUNT
} st4vla_counter;

/* This machine's monotonic clock (CLOCK_MONOTONIC). */
ST4VLA_API int64_t st4vla_monotonic_ns(void);

/*
 * Begin to connect, and to take in what comes; *bridge is NULL unless the status is ST4VLA_OK. A runtime that is not
 * there yet, or goes away, is called again and again.
 */
ST4VLA_API st4vla_status st4vla_bridge_open(const st4vla_bridge_config *config, st4vla_bridge **bridge);

/* Say goodbye and free everything, within about 100 ms; NULL is no error. No other call may be under way. */
ST4VLA_API void st4vla_bridge_close(st4vla_bridge *bridge);

/*
 * Wait until the runtime has said what it serves, and give that. After the timeout the status says what is known of
 * why: ST4VLA_NO_SERVER, ST4VLA_KEYS_WANTED, ST4VLA_NOT_LET_IN or ST4VLA_SILENT.
 */
ST4VLA_API st4vla_status st4vla_bridge_hello(st4vla_bridge *bridge, int timeout_ms, st4vla_welcome *welcome);

/*
 * Send what the robot sees, without blocking, and give the number that its chunk will name. Pictures are copied once,
 * into the message; sequence, sent_ns and what is held are filled in. A frame that the network cannot take yet is kept
 * and replaced by the next one. ST4VLA_BUSY: dropped.
 */
ST4VLA_API st4vla_status st4vla_bridge_send(st4vla_bridge *bridge, const st4vla_observation *observation,
                                            uint64_t *sequence);

/*
 * Give the newest chunk that was not given yet, waiting for one up to `timeout_ms` (0: not at all). Of *chunk, only as
 * many actions are written as there are. ST4VLA_TIMEOUT: none came.
 */
ST4VLA_API st4vla_status st4vla_bridge_receive(st4vla_bridge *bridge, int timeout_ms, st4vla_chunk *chunk);

/* Give the best estimate of the clock offset so far. ST4VLA_TIMEOUT: no chunk has come yet. */
ST4VLA_API st4vla_status st4vla_bridge_clock(const st4vla_bridge *bridge, st4vla_clock_offset *offset);

/* Give the newest error of the runtime. ST4VLA_TIMEOUT: none has come. */
ST4VLA_API st4vla_status st4vla_bridge_last_error(const st4vla_bridge *bridge, st4vla_server_error *error);

/* Give the newest notice of a plan; they come for observations with ST4VLA_FLAG_WANTS_PLANS. ST4VLA_TIMEOUT: none. */
ST4VLA_API st4vla_status st4vla_bridge_last_plan(const st4vla_bridge *bridge, st4vla_plan *plan);

/* What a counter counts, as in "chunks_refused_old"; NULL for a number past the last. */
ST4VLA_API const char *st4vla_counter_name(uint32_t counter);

/* Read a counter; 0 for NULL and for a number past the last. */
ST4VLA_API uint64_t st4vla_bridge_count(const st4vla_bridge *bridge, uint32_t counter);

#ifdef __cplusplus
}
#endif

/* The rest of the library: the player, the loop that moves an arm by it, and all of it joined. */
#include "st4vla/control.h"
#include "st4vla/player.h"
#include "st4vla/stream.h"

#endif /* ST4VLA_BRIDGE_H */
