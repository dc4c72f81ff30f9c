/*
 * The 1 kHz player: from chunks of actions at a policy's rate to a setpoint each millisecond; C99 and C++17.
 *
 * One thread puts chunks, one control thread steps; no call but create waits, locks or allocates. Whatever is put, and
 * whenever: setpoints keep within the configured bounds of position, velocity, acceleration and jerk, measured as
 * differences of successive setpoints over 1 ms. Lengths are metres, angles radians, times nanoseconds of the clock
 * that stamps the frames; poses are of the end effector in the robot's base frame.
 */
#ifndef ST4VLA_PLAYER_H
#define ST4VLA_PLAYER_H

#include "st4vla/wire.h"

#if defined(__GNUC__)
#define ST4VLA_PLAYER_API __attribute__((visibility("default")))
#else
#define ST4VLA_PLAYER_API
#endif

#ifdef __cplusplus
#define ST4VLA_PLAYER_NOEXCEPT noexcept
extern "C" {
#else
#define ST4VLA_PLAYER_NOEXCEPT
#endif

/* Raised whenever a struct or a function below changes. */
#define ST4VLA_PLAYER_ABI_VERSION 1u
#define ST4VLA_PLAYER_TICK_NS 1000000   /* time between two setpoints */
#define ST4VLA_PLAYER_MAX_TICKS 20u     /* ticks of one step, at most */
#define ST4VLA_PLAYER_MAX_HORIZON 128   /* actions in a chunk, at most */
#define ST4VLA_PLAYER_MAX_ACTION_DIM 17 /* numbers in an action, at most */

typedef enum st4vla_player_status {
    ST4VLA_PLAYER_OK = 0,
    ST4VLA_PLAYER_BAD_POINTER = 1,   /* NULL where something was wanted */
    ST4VLA_PLAYER_BAD_ACTIONS = 2,   /* representation, numbers in an action or gripper's dimension do not fit */
    ST4VLA_PLAYER_BAD_LIMITS = 3,    /* a velocity, acceleration, jerk, leash or range that is not one */
    ST4VLA_PLAYER_BAD_AGES = 4,      /* ages that do not rise, or no age at which to hold or stop */
    ST4VLA_PLAYER_NO_MEMORY = 5,     /* at create */
    ST4VLA_PLAYER_BAD_POSE = 6,      /* not a pose, or outside the workspace or the joints' ranges */
    ST4VLA_PLAYER_NOT_ANCHORED = 7,  /* nobody has said yet where the arm is */
    ST4VLA_PLAYER_BAD_TICKS = 8,     /* more than ST4VLA_PLAYER_MAX_TICKS */
    ST4VLA_PLAYER_BAD_CHUNK = 9,     /* another shape or representation than the player's */
    ST4VLA_PLAYER_NOT_FINITE = 10,   /* an action holds NaN or infinity */
    ST4VLA_PLAYER_BAD_TIME = 11,     /* a time that cannot be, or a period below a tick or above 10 s */
    ST4VLA_PLAYER_NOT_STOPPED = 12,  /* nothing to resume from */
    ST4VLA_PLAYER_NOT_AT_REST = 13   /* still slowing down */
} st4vla_player_status;

typedef enum st4vla_player_robot {
    ST4VLA_PLAYER_FRANKA_RESEARCH_3 = 1,
    ST4VLA_PLAYER_FRANKA_PANDA = 2
} st4vla_player_robot;

/* Why the pace is what it is. */
typedef enum st4vla_player_reason {
    ST4VLA_PLAYER_REASON_NONE = 0,      /* it runs */
    ST4VLA_PLAYER_REASON_NO_CHUNK = 1,  /* none came yet, or since it was resumed or anchored */
    ST4VLA_PLAYER_REASON_NOT_DUE = 2,   /* the first action is due later */
    ST4VLA_PLAYER_REASON_USED_UP = 3,   /* all actions were executed */
    ST4VLA_PLAYER_REASON_FRAME_AGE = 4, /* the frame behind the actions is too old */
    ST4VLA_PLAYER_REASON_PLAN_AGE = 5,  /* the frame behind their plan is */
    ST4VLA_PLAYER_REASON_SENDER = 6,    /* they came slowed down */
    ST4VLA_PLAYER_REASON_TOLD = 7,      /* st4vla_player_stop was called */
    ST4VLA_PLAYER_REASON_LOST = 8       /* the arm is measured more than four leashes from where it was sent */
} st4vla_player_reason;

/* What happened to the gripper in a step; each is told once. */
typedef enum st4vla_player_gripper {
    ST4VLA_PLAYER_GRIPPER_NOTHING = 0,
    ST4VLA_PLAYER_GRIPPER_OPEN = 1,
    ST4VLA_PLAYER_GRIPPER_CLOSE = 2
} st4vla_player_gripper;

/* Of the length of a vector, for translation and rotation; of each joint by itself. SI units. */
typedef struct st4vla_player_limits {
    double velocity;
    double acceleration;
    double jerk;
} st4vla_player_limits;

/* Ages from which it slows down, holds and stops; 0: none. */
typedef struct st4vla_player_ages {
    int64_t slow_ns;
    int64_t hold_ns;
    int64_t stop_ns;
} st4vla_player_ages;

typedef struct st4vla_player_config {
    uint16_t representation; /* st4vla_action */
    uint16_t action_dim;     /* numbers in an action */
    int16_t gripper_index;   /* the gripper's dimension; ST4VLA_NO_GRIPPER: none */
    uint16_t joint_count;    /* of the arm; for chunks of joints it is action_dim without the gripper */
    st4vla_player_ages frame;
    st4vla_player_ages plan;
    int64_t blend_ns; /* time over which the next chunk replaces the one before */
    st4vla_player_limits translation;
    st4vla_player_limits rotation;
    st4vla_player_limits joints[ST4VLA_MAX_JOINTS];
    double workspace_low_m[3]; /* for the setpoint; passed only where a robot went by itself, see docs/player.md */
    double workspace_high_m[3];
    double joint_low_rad[ST4VLA_MAX_JOINTS];
    double joint_high_rad[ST4VLA_MAX_JOINTS];
    double joint_braking_rad_s2[ST4VLA_MAX_JOINTS]; /* deceleration before the ends of its range */
    double leash_m;   /* how far the goal may run ahead of the hand, both of the setpoint's and of the measured one */
    double turn_rad;  /* how far the goal's orientation may be turned from where the motion began; pi: as far as asked */
    double leash_rad; /* the same for joints; for orientation of the setpoint's only */
    double gripper_close_below; /* openings that count as closed: 0 to this */
    double gripper_open_above;  /* openings that count as open: this to 1 */
} st4vla_player_config;

typedef struct st4vla_player_input {
    int64_t now_ns;
    /*
     * Milliseconds since the last step: 1, or more if the robot missed commands; 0: stand still. A robot that hears nothing
     * goes on with the acceleration of its last command, as a Franka does, and the setpoint goes on from there: its
     * velocity may pass its bound by what was gained so, acceleration and jerk do not.
     */
    uint32_t ticks;
    uint32_t has_measured; /* 1: `measured` says where the arm is */
    double measured[ST4VLA_MAX_JOINTS]; /* the hand's position (3 numbers), or the joints */
    uint32_t has_sent; /* 1: `sent` says where the robot was sent last, by a setpoint or, where it heard none, by itself */
    uint32_t reserved; /* 0 */
    double sent[16];   /* row-major 4 x 4, or the joints */
} st4vla_player_input;

typedef struct st4vla_player_setpoint {
    double base_T_ee[16];      /* row-major 4 x 4; identity for joints */
    double quaternion_wxyz[4]; /* its rotation */
    double twist[6];           /* m/s, then rad/s, in the base frame */
    double joint_positions_rad[ST4VLA_MAX_JOINTS];
    double joint_velocities_rad_s[ST4VLA_MAX_JOINTS];
    double gripper_opening; /* last commanded, 1 open to 0 closed; -1: none yet */
    int64_t frame_age_ns;   /* of the frame behind the actions; -1: no chunk */
    int64_t plan_age_ns;    /* of the frame behind their plan */
    uint64_t chunk_id;      /* 0: no chunk */
    int32_t action_index;   /* which of its actions is under way; -1: none */
    uint32_t gripper_count; /* gripper events so far */
    uint16_t pace;          /* st4vla_pace */
    uint16_t reason;        /* st4vla_player_reason */
    uint16_t gripper;       /* st4vla_player_gripper */
    uint8_t at_rest;        /* 1: this setpoint and the next ones are the same, until a chunk moves them */
    uint8_t limited;        /* 1: what was asked for was more than the bounds allow */
} st4vla_player_setpoint;

/* For other threads than the control thread. */
typedef struct st4vla_player_report {
    uint64_t steps;
    uint64_t chunks_played;
    uint64_t chunks_refused_old;  /* made from an older observation than the one being played */
    uint64_t chunks_refused_time; /* from the future */
    uint64_t clock_steps_back;    /* steps whose time was before that of the step before */
    uint64_t stops;               /* by age, or told */
    uint64_t corrections;         /* times that the robot had not heard of setpoints, and went on from elsewhere */
    uint64_t chunk_id;
    uint16_t pace;
    uint16_t reason;
    uint8_t at_rest;
    uint8_t reserved[3];
} st4vla_player_report;

typedef struct st4vla_player st4vla_player;

/* The version that the library was built with; compare it with ST4VLA_PLAYER_ABI_VERSION before the first call. */
ST4VLA_PLAYER_API uint32_t st4vla_player_abi_version(void) ST4VLA_PLAYER_NOEXCEPT;

/* What a status means, in English; never NULL. */
ST4VLA_PLAYER_API const char *st4vla_player_message(st4vla_player_status status) ST4VLA_PLAYER_NOEXCEPT;

/*
 * Fill in a config: end-effector deltas with a gripper, blended over 100 ms, nine tenths of what the robot's maker
 * allows, the arm's reach for a workspace, hold at 200 ms and stop at 400 ms of the frame's age. An unknown robot is
 * ST4VLA_PLAYER_BAD_LIMITS.
 */
ST4VLA_PLAYER_API st4vla_player_status st4vla_player_config_default(st4vla_player_robot robot,
                                                                    st4vla_player_config *config)
    ST4VLA_PLAYER_NOEXCEPT;

/* Take over what a server's welcome says: the actions, and the bounds of each age of which it has any. */
ST4VLA_PLAYER_API st4vla_player_status st4vla_player_config_welcome(st4vla_player_config *config,
                                                                    const st4vla_wire_welcome *welcome)
    ST4VLA_PLAYER_NOEXCEPT;

/* Make a player; the only call that allocates. *player is NULL unless the status is ST4VLA_PLAYER_OK. */
ST4VLA_PLAYER_API st4vla_player_status st4vla_player_create(const st4vla_player_config *config,
                                                            st4vla_player **player) ST4VLA_PLAYER_NOEXCEPT;

/* Free a player; NULL is no error. */
ST4VLA_PLAYER_API void st4vla_player_destroy(st4vla_player *player) ST4VLA_PLAYER_NOEXCEPT;

/*
 * Say where the arm is, at rest: before the first step, and after a robot has stopped by itself. Called by the control
 * thread. The setpoint jumps there, chunks and times of before are forgotten, and a player that was stopped stays so.
 * `base_T_ee` is row-major 4 x 4, `joint_positions_rad` has joint_count numbers; the one that the representation does
 * not need may be NULL.
 */
ST4VLA_PLAYER_API st4vla_player_status st4vla_player_anchor(st4vla_player *player, const double *base_T_ee,
                                                            const double *joint_positions_rad) ST4VLA_PLAYER_NOEXCEPT;

/*
 * Hand over a chunk as it came, `bytes` of float32 actions included; they need not be aligned. Called by one thread.
 * Only the newest is kept. A chunk that is refused leaves the one before.
 */
ST4VLA_PLAYER_API st4vla_player_status st4vla_player_put(st4vla_player *player, const st4vla_wire_action_chunk *chunk,
                                                         const void *actions, size_t bytes) ST4VLA_PLAYER_NOEXCEPT;

/*
 * Advance by input->ticks milliseconds. Called by the control thread, each millisecond. The setpoint is filled in
 * whatever the status, unless a pointer is NULL.
 */
ST4VLA_PLAYER_API st4vla_player_status st4vla_player_step(st4vla_player *player, const st4vla_player_input *input,
                                                          st4vla_player_setpoint *setpoint) ST4VLA_PLAYER_NOEXCEPT;

/* Come to rest and stay there until st4vla_player_resume. For any thread. */
ST4VLA_PLAYER_API st4vla_player_status st4vla_player_stop(st4vla_player *player) ST4VLA_PLAYER_NOEXCEPT;

/*
 * Move again, from the next chunk on: an operator's decision, never a program's. For any thread. Only a player that has
 * stopped and is at rest resumes.
 */
ST4VLA_PLAYER_API st4vla_player_status st4vla_player_resume(st4vla_player *player) ST4VLA_PLAYER_NOEXCEPT;

/* What it does, for any thread; each number is right, but they need not be of the same millisecond. */
ST4VLA_PLAYER_API st4vla_player_status st4vla_player_read(const st4vla_player *player, st4vla_player_report *report)
    ST4VLA_PLAYER_NOEXCEPT;

/* How long a stop can take from any motion that the limits allow, nanoseconds; 0 for NULL. */
ST4VLA_PLAYER_API int64_t st4vla_player_rest_bound_ns(const st4vla_player *player) ST4VLA_PLAYER_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif /* ST4VLA_PLAYER_H */
