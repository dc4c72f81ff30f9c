/*
 * Layout of the messages between robot and runtime; C99 and C++17.
 *
 * GENERATED from contracts/st4vla/contracts/wire_table.py; do not edit. To rewrite it:
 *   python -m st4vla.contracts.wire_header firmware_bridge/include/st4vla/wire.h
 *
 * A message is one ZeroMQ frame: a header, then a record of fixed layout, then whatever that record counts.
 * Little-endian throughout, and no record has padding. Copy records out of a frame with memcpy: a frame's first byte
 * need not be aligned for them.
 */
#ifndef ST4VLA_WIRE_H
#define ST4VLA_WIRE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the wire format is little-endian; this machine is not"
#endif

#if defined(__cplusplus)
#define ST4VLA_STATIC_ASSERT(condition, text) static_assert(condition, text)
#elif defined(__GNUC__)
#define ST4VLA_STATIC_ASSERT(condition, text) __extension__ _Static_assert(condition, text)
#else
#define ST4VLA_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif
#define ST4VLA_WIRE_SIZE(type, bytes) ST4VLA_STATIC_ASSERT(sizeof(type) == (bytes), #type " has another size")
#define ST4VLA_WIRE_OFFSET(type, field, byte) \
    ST4VLA_STATIC_ASSERT(offsetof(type, field) == (byte), #type "." #field " lies elsewhere")

#define ST4VLA_MAGIC UINT32_C(0x56345453)   /* 'ST4V' as the first four bytes */
#define ST4VLA_WIRE_VERSION 2               /* header.version */
#define ST4VLA_VIEW_ALIGNMENT 64            /* a picture begins at a multiple of it */
#define ST4VLA_MAX_JOINTS 16                /* entries of a robot state's joint arrays */
#define ST4VLA_MAX_VIEWS 8                  /* views in an observation or a welcome */
#define ST4VLA_MAX_VIEW_NAME_BYTES 16       /* not terminated when all are used */
#define ST4VLA_MAX_INSTRUCTION_BYTES 4096   /* of UTF-8 */
#define ST4VLA_MAX_IMAGE_SIDE 8192          /* pixels */
#define ST4VLA_FLAG_ROBOT_STATE UINT32_C(1) /* observation.flags: a robot_state follows */
#define ST4VLA_FLAG_REPLAN UINT32_C(2)      /* observation.flags: ask System 2 for a new plan */
#define ST4VLA_FLAG_WANTS_PLANS UINT32_C(4) /* observation.flags: send a plan notice for each plan */
#define ST4VLA_FLAG_FRESH UINT32_C(8)       /* observation.flags: hold to nothing of earlier chunks */
#define ST4VLA_NO_GRIPPER (-1)              /* gripper_index where there is none */

/* Values of header.kind. */
typedef enum st4vla_kind {
    ST4VLA_KIND_HELLO = 1,
    ST4VLA_KIND_WELCOME = 2,
    ST4VLA_KIND_OBSERVATION = 3,
    ST4VLA_KIND_ACTION_CHUNK = 4,
    ST4VLA_KIND_PLAN = 5,
    ST4VLA_KIND_ROBOT_STATE = 6,
    ST4VLA_KIND_ERROR = 7,
    ST4VLA_KIND_GOODBYE = 8
} st4vla_kind;

/* Values of error.code. */
typedef enum st4vla_error {
    ST4VLA_ERROR_FOREIGN_MESSAGE = 1,
    ST4VLA_ERROR_WIRE_VERSION = 2,
    ST4VLA_ERROR_TRUNCATED_MESSAGE = 3,
    ST4VLA_ERROR_CHECKSUM = 4,
    ST4VLA_ERROR_MALFORMED_MESSAGE = 5,
    ST4VLA_ERROR_OBSERVATION = 6,
    ST4VLA_ERROR_UNEXPECTED_KIND = 7,
    ST4VLA_ERROR_TOO_MANY_CLIENTS = 8,
    ST4VLA_ERROR_ENGINE = 9,
    ST4VLA_ERROR_UNSAFE_OUTPUT = 10,
    ST4VLA_ERROR_DEADLINE = 11,
    ST4VLA_ERROR_STALE = 12,
    ST4VLA_ERROR_NOT_READY = 13,
    ST4VLA_ERROR_INTERNAL = 14
} st4vla_error;

/* Values of welcome.health. */
typedef enum st4vla_health {
    ST4VLA_HEALTH_STARTING = 1,
    ST4VLA_HEALTH_READY = 2,
    ST4VLA_HEALTH_DEGRADED = 3
} st4vla_health;

/* Values of view.encoding. */
typedef enum st4vla_image {
    ST4VLA_IMAGE_RGB8 = 1,
    ST4VLA_IMAGE_JPEG = 2
} st4vla_image;

/* Values of observation.instruction_encoding. */
typedef enum st4vla_instruction {
    ST4VLA_INSTRUCTION_UTF8 = 1
} st4vla_instruction;

/* Values of action_chunk.representation and welcome.representation. */
typedef enum st4vla_action {
    ST4VLA_ACTION_EE_DELTA = 1,
    ST4VLA_ACTION_JOINT_DELTA = 2,
    ST4VLA_ACTION_JOINT_POSITION = 3
} st4vla_action;

/* Values of plan.reason. */
typedef enum st4vla_plan_reason {
    ST4VLA_PLAN_REASON_FIRST = 1,
    ST4VLA_PLAN_REASON_INSTRUCTION = 2,
    ST4VLA_PLAN_REASON_PERIOD = 3,
    ST4VLA_PLAN_REASON_REQUEST = 4,
    ST4VLA_PLAN_REASON_CHANGE = 5
} st4vla_plan_reason;

/* Values of action_chunk.pace, and of a player. */
typedef enum st4vla_pace {
    ST4VLA_PACE_RUN = 1,
    ST4VLA_PACE_SLOW = 2,
    ST4VLA_PACE_HOLD = 3,
    ST4VLA_PACE_STOP = 4
} st4vla_pace;

/* Begins every message. */
typedef struct st4vla_wire_header {
    uint32_t magic;         /* ST4V */
    uint16_t version;       /* wire version */
    uint16_t kind;          /* one of the kinds */
    uint32_t payload_bytes; /* bytes after the header */
    uint32_t crc32c;        /* CRC-32C of the whole message with this field zero */
    uint64_t sequence;      /* rises by one with each message of a sender */
    int64_t sent_ns;        /* sender's monotonic clock at sending */
} st4vla_wire_header;
ST4VLA_WIRE_SIZE(st4vla_wire_header, 32);
ST4VLA_WIRE_OFFSET(st4vla_wire_header, magic, 0);
ST4VLA_WIRE_OFFSET(st4vla_wire_header, version, 4);
ST4VLA_WIRE_OFFSET(st4vla_wire_header, kind, 6);
ST4VLA_WIRE_OFFSET(st4vla_wire_header, payload_bytes, 8);
ST4VLA_WIRE_OFFSET(st4vla_wire_header, crc32c, 12);
ST4VLA_WIRE_OFFSET(st4vla_wire_header, sequence, 16);
ST4VLA_WIRE_OFFSET(st4vla_wire_header, sent_ns, 24);

/*
 * Then, if its flag is set, a robot_state; then view_count views; then the instruction; then the views' bytes, each
 * at a multiple of 64.
 */
typedef struct st4vla_wire_observation {
    uint64_t seed;                 /* seeds the sampler's noise */
    int64_t deadline_ns;           /* how long after sent_ns an answer is of use; 0: no deadline */
    uint64_t held_chunk_id;        /* the newest chunk that the sender has; 0: none */
    int64_t held_received_ns;      /* sender's monotonic clock when that chunk arrived */
    uint32_t instruction_bytes;    /* length of the instruction */
    uint32_t flags;                /* robot state, replan, wants plans, fresh */
    uint16_t instruction_encoding; /* 1: UTF-8 */
    uint16_t view_count;           /* 1 to 8 */
    uint32_t reserved;             /* 0 */
} st4vla_wire_observation;
ST4VLA_WIRE_SIZE(st4vla_wire_observation, 48);
ST4VLA_WIRE_OFFSET(st4vla_wire_observation, seed, 0);
ST4VLA_WIRE_OFFSET(st4vla_wire_observation, deadline_ns, 8);
ST4VLA_WIRE_OFFSET(st4vla_wire_observation, held_chunk_id, 16);
ST4VLA_WIRE_OFFSET(st4vla_wire_observation, held_received_ns, 24);
ST4VLA_WIRE_OFFSET(st4vla_wire_observation, instruction_bytes, 32);
ST4VLA_WIRE_OFFSET(st4vla_wire_observation, flags, 36);
ST4VLA_WIRE_OFFSET(st4vla_wire_observation, instruction_encoding, 40);
ST4VLA_WIRE_OFFSET(st4vla_wire_observation, view_count, 42);
ST4VLA_WIRE_OFFSET(st4vla_wire_observation, reserved, 44);

/* One camera's picture within an observation. */
typedef struct st4vla_wire_view {
    int64_t capture_ns; /* sender's monotonic clock at capture */
    uint32_t offset;    /* first byte of the picture, counted from the message's first byte */
    uint32_t bytes;     /* length of the picture */
    uint16_t height;    /* pixels */
    uint16_t width;     /* pixels */
    uint16_t encoding;  /* 1: RGB, 8 bits a channel, row-major; 2: JPEG */
    uint16_t reserved;  /* 0 */
    char name[16];      /* ASCII, padded with zeros */
} st4vla_wire_view;
ST4VLA_WIRE_SIZE(st4vla_wire_view, 40);
ST4VLA_WIRE_OFFSET(st4vla_wire_view, capture_ns, 0);
ST4VLA_WIRE_OFFSET(st4vla_wire_view, offset, 8);
ST4VLA_WIRE_OFFSET(st4vla_wire_view, bytes, 12);
ST4VLA_WIRE_OFFSET(st4vla_wire_view, height, 16);
ST4VLA_WIRE_OFFSET(st4vla_wire_view, width, 18);
ST4VLA_WIRE_OFFSET(st4vla_wire_view, encoding, 20);
ST4VLA_WIRE_OFFSET(st4vla_wire_view, reserved, 22);
ST4VLA_WIRE_OFFSET(st4vla_wire_view, name, 24);

/* What the arm measures of itself. */
typedef struct st4vla_wire_robot_state {
    int64_t capture_ns;                /* sender's monotonic clock at measurement */
    uint32_t joint_count;              /* entries in use of the joint arrays */
    uint32_t reserved;                 /* 0 */
    double joint_positions_rad[16];    /* radians */
    double joint_velocities_rad_s[16]; /* radians per second */
    double base_T_ee[16];              /* row-major 4 x 4, metres */
    double gripper_width_m;            /* metres */
} st4vla_wire_robot_state;
ST4VLA_WIRE_SIZE(st4vla_wire_robot_state, 408);
ST4VLA_WIRE_OFFSET(st4vla_wire_robot_state, capture_ns, 0);
ST4VLA_WIRE_OFFSET(st4vla_wire_robot_state, joint_count, 8);
ST4VLA_WIRE_OFFSET(st4vla_wire_robot_state, reserved, 12);
ST4VLA_WIRE_OFFSET(st4vla_wire_robot_state, joint_positions_rad, 16);
ST4VLA_WIRE_OFFSET(st4vla_wire_robot_state, joint_velocities_rad_s, 144);
ST4VLA_WIRE_OFFSET(st4vla_wire_robot_state, base_T_ee, 272);
ST4VLA_WIRE_OFFSET(st4vla_wire_robot_state, gripper_width_m, 400);

/* Then horizon * action_dim float32, row-major. */
typedef struct st4vla_wire_action_chunk {
    uint64_t chunk_id;             /* rises by one with each chunk of the server */
    uint64_t observation_sequence; /* the observation behind the chunk */
    int64_t observation_sent_ns;   /* its sent_ns, echoed */
    int64_t frame_capture_ns;      /* capture time of its oldest view, client's clock */
    int64_t start_ns;              /* when action 0 is due, client's clock; action k is due k * period_ns later */
    uint64_t plan_id;              /* the plan behind the chunk */
    int64_t plan_capture_ns;       /* capture time of that plan's oldest view, client's clock */
    uint64_t seed;                 /* the seed that was used */
    int64_t received_ns;           /* server's clock when the observation arrived */
    int64_t inference_ns;          /* how long System 1 took */
    int64_t frame_age_ns;          /* age of the frame at sending, without the time on the wire */
    int64_t plan_age_ns;           /* age of the plan's frame at sending, without the time on the wire */
    int64_t period_ns;             /* time between two actions */
    uint64_t frames_superseded;    /* frames of this client that a newer one replaced unseen */
    uint16_t horizon;              /* T, actions */
    uint16_t action_dim;           /* A, numbers in an action */
    int16_t gripper_index;         /* the gripper's dimension; -1: none */
    uint16_t representation;       /* 1: end-effector delta; 2: joint delta; 3: joint position */
    uint16_t frozen_steps;         /* leading actions that were held to those of the chunk before */
    uint16_t pace;                 /* 1: run; 2: slow, the actions are scaled already */
    uint32_t reserved;             /* 0 */
} st4vla_wire_action_chunk;
ST4VLA_WIRE_SIZE(st4vla_wire_action_chunk, 128);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, chunk_id, 0);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, observation_sequence, 8);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, observation_sent_ns, 16);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, frame_capture_ns, 24);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, start_ns, 32);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, plan_id, 40);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, plan_capture_ns, 48);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, seed, 56);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, received_ns, 64);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, inference_ns, 72);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, frame_age_ns, 80);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, plan_age_ns, 88);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, period_ns, 96);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, frames_superseded, 104);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, horizon, 112);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, action_dim, 114);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, gripper_index, 116);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, representation, 118);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, frozen_steps, 120);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, pace, 122);
ST4VLA_WIRE_OFFSET(st4vla_wire_action_chunk, reserved, 124);

/* Notice that System 2 has finished a plan. */
typedef struct st4vla_wire_plan {
    uint64_t plan_id;              /* rises by one with each plan of the server */
    uint64_t observation_sequence; /* the observation it was made from */
    int64_t frame_capture_ns;      /* capture time of its oldest view, client's clock */
    int64_t inference_ns;          /* how long System 2 took */
    uint32_t token_count;          /* prompt length, image tokens included */
    uint16_t reason;               /* 1: first; 2: instruction; 3: period; 4: request; 5: change */
    uint16_t reserved;             /* 0 */
} st4vla_wire_plan;
ST4VLA_WIRE_SIZE(st4vla_wire_plan, 40);
ST4VLA_WIRE_OFFSET(st4vla_wire_plan, plan_id, 0);
ST4VLA_WIRE_OFFSET(st4vla_wire_plan, observation_sequence, 8);
ST4VLA_WIRE_OFFSET(st4vla_wire_plan, frame_capture_ns, 16);
ST4VLA_WIRE_OFFSET(st4vla_wire_plan, inference_ns, 24);
ST4VLA_WIRE_OFFSET(st4vla_wire_plan, token_count, 32);
ST4VLA_WIRE_OFFSET(st4vla_wire_plan, reason, 36);
ST4VLA_WIRE_OFFSET(st4vla_wire_plan, reserved, 38);

/* What a server wants and gives; then view_count welcome_views. */
typedef struct st4vla_wire_welcome {
    int64_t period_ns;         /* time between two actions of a chunk */
    int64_t frame_slow_ns;     /* age of a frame from which a player slows down; 0: none */
    int64_t frame_hold_ns;     /* from which it holds */
    int64_t frame_stop_ns;     /* from which it stops */
    int64_t plan_slow_ns;      /* the same for the age of a plan's frame */
    int64_t plan_hold_ns;      /* from which it holds */
    int64_t plan_stop_ns;      /* from which it stops */
    uint16_t horizon;          /* T, actions in a chunk */
    uint16_t action_dim;       /* A, numbers in an action */
    int16_t gripper_index;     /* the gripper's dimension; -1: none */
    uint16_t representation;   /* 1: end-effector delta; 2: joint delta; 3: joint position */
    uint16_t view_count;       /* 1 to 8 */
    uint16_t health;           /* 1: starting; 2: ready; 3: degraded */
    uint32_t reserved;         /* 0 */
    uint8_t bundle_digest[32]; /* SHA-256 of the bundle's manifest */
    char bundle_name[64];      /* UTF-8, padded with zeros */
} st4vla_wire_welcome;
ST4VLA_WIRE_SIZE(st4vla_wire_welcome, 168);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, period_ns, 0);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, frame_slow_ns, 8);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, frame_hold_ns, 16);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, frame_stop_ns, 24);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, plan_slow_ns, 32);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, plan_hold_ns, 40);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, plan_stop_ns, 48);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, horizon, 56);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, action_dim, 58);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, gripper_index, 60);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, representation, 62);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, view_count, 64);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, health, 66);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, reserved, 68);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, bundle_digest, 72);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome, bundle_name, 104);

/* A view that the server wants. */
typedef struct st4vla_wire_welcome_view {
    uint16_t height;   /* pixels */
    uint16_t width;    /* pixels */
    uint32_t reserved; /* 0 */
    char name[16];     /* ASCII, padded with zeros */
} st4vla_wire_welcome_view;
ST4VLA_WIRE_SIZE(st4vla_wire_welcome_view, 24);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome_view, height, 0);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome_view, width, 2);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome_view, reserved, 4);
ST4VLA_WIRE_OFFSET(st4vla_wire_welcome_view, name, 8);

/* Why a message was refused; then message_bytes of UTF-8. */
typedef struct st4vla_wire_error {
    uint64_t observation_sequence; /* the message it answers; 0: it could not be read */
    uint32_t message_bytes;        /* length of the text */
    uint16_t code;                 /* one of the error codes */
    uint16_t reserved;             /* 0 */
} st4vla_wire_error;
ST4VLA_WIRE_SIZE(st4vla_wire_error, 16);
ST4VLA_WIRE_OFFSET(st4vla_wire_error, observation_sequence, 0);
ST4VLA_WIRE_OFFSET(st4vla_wire_error, message_bytes, 8);
ST4VLA_WIRE_OFFSET(st4vla_wire_error, code, 12);
ST4VLA_WIRE_OFFSET(st4vla_wire_error, reserved, 14);

#endif /* ST4VLA_WIRE_H */
