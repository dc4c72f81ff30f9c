/*
 * Messages to bytes and back: pure functions over the caller's memory; C99 and C++17.
 *
 * The layout is wire.h's. Decoding believes nothing: every count, offset and length is checked before it is used, and
 * whatever does not fit is refused. Pictures and texts of a decoded message are pointers into the frame that was given.
 */
#ifndef ST4VLA_MESSAGE_H
#define ST4VLA_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "st4vla/status.h"
#include "st4vla/wire.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers in a chunk, horizon times action_dim, at most. */
#define ST4VLA_MAX_ACTIONS 4096

/* One camera's picture. */
typedef struct st4vla_view {
    int64_t capture_ns;  /* sender's monotonic clock at capture */
    const uint8_t *data; /* RGB: height * width * 3 bytes, row-major. JPEG: the file's bytes */
    size_t bytes;
    uint16_t height;   /* pixels */
    uint16_t width;    /* pixels */
    uint16_t encoding; /* ST4VLA_IMAGE_RGB8 or ST4VLA_IMAGE_JPEG */
    char name[ST4VLA_MAX_VIEW_NAME_BYTES + 1]; /* 1 to 16 characters of ASCII, ended by a zero */
} st4vla_view;

/* What a robot sees and is told; one request for actions. */
typedef struct st4vla_observation {
    uint64_t sequence;        /* rises by one with each message of a sender */
    int64_t sent_ns;          /* sender's monotonic clock at sending */
    uint64_t seed;            /* seeds the sampler's noise */
    int64_t deadline_ns;      /* how long after sent_ns an answer is of use; 0: no deadline */
    uint64_t held_chunk_id;   /* the newest chunk that the sender has; 0: none */
    int64_t held_received_ns; /* sender's monotonic clock when that chunk arrived */
    const char *instruction;  /* UTF-8, not ended by a zero */
    uint32_t instruction_bytes;
    uint32_t flags;                     /* ST4VLA_FLAG_...; without ROBOT_STATE, robot_state is not looked at */
    st4vla_wire_robot_state robot_state;
    uint32_t view_count; /* 1 to ST4VLA_MAX_VIEWS */
    uint32_t reserved;   /* 0 */
    st4vla_view views[ST4VLA_MAX_VIEWS];
} st4vla_observation;

/* Actions for the robot; the body's note of each field is in wire.h. */
typedef struct st4vla_chunk {
    uint64_t sequence;   /* message counter of the server */
    int64_t sent_ns;     /* server's clock at sending */
    int64_t received_ns; /* this machine's monotonic clock when it arrived; 0 after decoding alone */
    st4vla_wire_action_chunk body;
    float actions[ST4VLA_MAX_ACTIONS]; /* horizon * action_dim of them, row-major, all finite */
} st4vla_chunk;

/* What a server tells a client that said hello. */
typedef struct st4vla_welcome {
    uint64_t sequence;
    int64_t sent_ns;
    st4vla_wire_welcome body; /* bundle_name is not ended by a zero when it has 64 bytes */
    st4vla_wire_welcome_view views[ST4VLA_MAX_VIEWS];
} st4vla_welcome;

/* Notice that System 2 has finished a plan. */
typedef struct st4vla_plan {
    uint64_t sequence;
    int64_t sent_ns;
    st4vla_wire_plan body;
} st4vla_plan;

/* Why a message was refused, or why no chunk can be had. */
typedef struct st4vla_error_reply {
    uint64_t sequence;
    int64_t sent_ns;
    uint64_t observation_sequence; /* the message it answers; 0: it could not be read */
    const char *text;              /* UTF-8, not ended by a zero */
    uint32_t text_bytes;
    uint16_t code; /* one of enum st4vla_error */
    uint16_t reserved;
} st4vla_error_reply;

/*
 * CRC-32C as st4vla_crc32c of crc32c.h, by the processor's own instructions where it has them. `crc` is that of the
 * bytes before, 0 where there are none.
 */
ST4VLA_API uint32_t st4vla_fast_crc32c(uint32_t crc, const void *data, size_t size);

/* Check magic, version, length and checksum of a frame, and give its header; the kind is one of st4vla_kind. */
ST4VLA_API st4vla_status st4vla_decode_header(const void *frame, size_t size, st4vla_wire_header *header);

/*
 * Check a frame and give what it carries. ST4VLA_UNEXPECTED_KIND: it carries something else. On any other status than
 * ST4VLA_OK what was written is of no use.
 */
ST4VLA_API st4vla_status st4vla_decode_observation(const void *frame, size_t size, st4vla_observation *observation);
/* ST4VLA_TOO_SMALL: more than ST4VLA_MAX_ACTIONS numbers. */
ST4VLA_API st4vla_status st4vla_decode_chunk(const void *frame, size_t size, st4vla_chunk *chunk);
ST4VLA_API st4vla_status st4vla_decode_welcome(const void *frame, size_t size, st4vla_welcome *welcome);
ST4VLA_API st4vla_status st4vla_decode_plan(const void *frame, size_t size, st4vla_plan *plan);
ST4VLA_API st4vla_status st4vla_decode_error(const void *frame, size_t size, st4vla_error_reply *reply);

/*
 * Write the one frame that carries a message, checksum and all, and its length to *size. ST4VLA_TOO_SMALL: *size is
 * what it takes; `frame` may then be NULL and `capacity` 0. ST4VLA_BAD_ARGUMENT: the wire cannot carry a value.
 */
ST4VLA_API st4vla_status st4vla_encode_hello(uint64_t sequence, int64_t sent_ns, void *frame, size_t capacity,
                                             size_t *size);
ST4VLA_API st4vla_status st4vla_encode_goodbye(uint64_t sequence, int64_t sent_ns, void *frame, size_t capacity,
                                               size_t *size);
ST4VLA_API st4vla_status st4vla_encode_observation(const st4vla_observation *observation, void *frame,
                                                   size_t capacity, size_t *size);
/* `actions`: horizon * action_dim finite numbers, row-major; those of `chunk` are not looked at. */
ST4VLA_API st4vla_status st4vla_encode_chunk(const st4vla_chunk *chunk, const float *actions, void *frame,
                                             size_t capacity, size_t *size);

#ifdef __cplusplus
}
#endif

#endif /* ST4VLA_MESSAGE_H */
