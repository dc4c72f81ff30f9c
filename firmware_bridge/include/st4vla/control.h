/*
 * The control loop: a robot, however it is reached, moved by a player each millisecond; C99 and C++17.
 *
 * A robot is four functions. st4vla_control_run calls read, steps the player, calls write, and again; nothing else
 * happens in its thread. Whatever ends the loop, the player is left stopped: to move again takes a run and
 * st4vla_player_resume, an operator's decision.
 */
#ifndef ST4VLA_CONTROL_H
#define ST4VLA_CONTROL_H

#include "st4vla/player.h"
#include "st4vla/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a struct or a function below changes. */
#define ST4VLA_CONTROL_ABI_VERSION 1u
#define ST4VLA_CONTROL_TEXT_BYTES 256 /* of a robot's last words, with the zero that ends them */

typedef enum st4vla_control_status {
    ST4VLA_CONTROL_OK = 0,           /* it was told to end, and the arm is at rest */
    ST4VLA_CONTROL_BAD_ARGUMENT = 1, /* NULL where something was wanted */
    ST4VLA_CONTROL_ROBOT = 2,        /* the robot has stopped by itself, or cannot be reached; its text says why */
    ST4VLA_CONTROL_PLAYER = 3,       /* the arm is where the player may not take it; see player_status */
    ST4VLA_CONTROL_SYSTEM = 4        /* no thread for the gripper */
} st4vla_control_status;

/* What an arm measures; angles in radians, lengths in metres, poses row-major 4 x 4 in the base frame. */
typedef struct st4vla_robot_state {
    int64_t capture_ns;  /* CLOCK_MONOTONIC when it was measured; filled in by the loop where it is 0 */
    uint32_t ticks;      /* milliseconds since the read before: 1, or more if the robot went without a command */
    uint32_t joint_count;
    double joint_positions_rad[ST4VLA_MAX_JOINTS];
    double joint_velocities_rad_s[ST4VLA_MAX_JOINTS];
    double base_T_ee[16];
    double commanded_base_T_ee[16]; /* where the robot was last sent, by a command or, where it heard none, by itself */
    double commanded_positions_rad[ST4VLA_MAX_JOINTS];
    double gripper_width_m; /* 0 where nobody measures it */
} st4vla_robot_state;

/*
 * How a robot is reached. read and write are called by the control thread and must do nothing that a millisecond has no
 * room for. A result other than 0 ends the loop; `text` then says why, at most ST4VLA_CONTROL_TEXT_BYTES with its zero.
 */
typedef struct st4vla_robot {
    void *user;
    uint32_t joints; /* 1: joints are commanded; 0: the hand's pose. As the player's chunks are */
    uint32_t reserved;
    /* Wait for the next millisecond, and say what the arm measures. */
    int (*read)(void *user, st4vla_robot_state *state, char *text);
    /* Command a setpoint. `last` is 1 for the one that ends the motion. */
    int (*write)(void *user, const st4vla_player_setpoint *setpoint, int last, char *text);
    /* Open or close; may take seconds, and is called by a thread of its own. NULL: there is no gripper. */
    int (*gripper)(void *user, st4vla_player_gripper event, char *text);
} st4vla_robot;

/* Files of a process that moves a gripper: it reads commands and writes answers, a line each. */
typedef struct st4vla_gripper_process {
    int32_t commands; /* "open" and "close" are written to it */
    int32_t answers;  /* "done" is read from it, or what went wrong */
} st4vla_gripper_process;

/* One cycle, written down; numbers of any kind as doubles, so that a table of them is one array. */
typedef struct st4vla_control_row {
    double time_ns; /* CLOCK_MONOTONIC when its setpoint had been written */
    double ticks;   /* of its state */
    double setpoint_m[3];
    double commanded_base_T_ee[12]; /* of its state: three rows of four */
    double measured_m[3];
    double pace;
    double chunk_id;
    double frame_age_ns;
} st4vla_control_row;

/* For other threads than the control thread. */
typedef struct st4vla_control_report {
    uint64_t cycles;          /* milliseconds that were commanded */
    uint64_t missed;          /* milliseconds in which the robot was not read, nor commanded */
    uint64_t slow_cycles;     /* cycles of which read to written took over 300 us */
    int64_t longest_cycle_ns; /* from read to written */
    uint64_t gripper_events;  /* that were carried out */
    uint64_t gripper_failures;
    uint64_t runs;            /* calls of st4vla_control_run so far */
    uint8_t running;
    uint8_t reserved[7];
} st4vla_control_report;

typedef struct st4vla_control st4vla_control;

/* The version that the library was built with; compare it with ST4VLA_CONTROL_ABI_VERSION before the first call. */
ST4VLA_API uint32_t st4vla_control_abi_version(void);

/* What a status means, in English; never NULL. */
ST4VLA_API const char *st4vla_control_message(st4vla_control_status status);

/* Make a loop. Player and robot's functions stay the caller's and must outlive it. */
ST4VLA_API st4vla_control_status st4vla_control_create(st4vla_player *player, const st4vla_robot *robot,
                                                              st4vla_control **control);

/* Free a loop that is not running; NULL is no error. */
ST4VLA_API void st4vla_control_destroy(st4vla_control *control);

/*
 * Write down the first `room` cycles, of all runs, in `rows`: the caller's, for as long as the loop lives. Not while it
 * runs. As many rows are filled in as the report has cycles, at most `room`.
 */
ST4VLA_API st4vla_control_status st4vla_control_trace(st4vla_control *control, st4vla_control_row *rows, uint64_t room);

/*
 * Control until st4vla_control_end or until the robot ends it. The player begins at what the robot was last commanded.
 * Give the calling thread its real-time priority before.
 */
ST4VLA_API st4vla_control_status st4vla_control_run(st4vla_control *control);

/* Slow down to rest and end the run; for any thread and for signal handlers. Before a run, it ends at once. */
ST4VLA_API void st4vla_control_end(st4vla_control *control);

/* What the arm measured last; for any thread. ST4VLA_CONTROL_ROBOT: nothing yet. */
ST4VLA_API st4vla_control_status st4vla_control_state(const st4vla_control *control, st4vla_robot_state *state);

/* What happened so far; for any thread. Each number is right, but they need not be of the same millisecond. */
ST4VLA_API st4vla_control_status st4vla_control_read(const st4vla_control *control, st4vla_control_report *report);

/*
 * A gripper for a robot whose `user` points to an st4vla_gripper_process. For programs whose own language had better not run
 * beside the loop; SIGPIPE is blocked in the thread that calls it.
 */
ST4VLA_API int st4vla_gripper_process_move(void *user, st4vla_player_gripper event, char *text);

/* What the robot said when it ended the last run, or its gripper when it failed; empty if neither. Not while it runs. */
ST4VLA_API const char *st4vla_control_text(const st4vla_control *control);

/* What the player made of the pose that the run was to begin at. */
ST4VLA_API st4vla_player_status st4vla_control_player_status(const st4vla_control *control);

#ifdef __cplusplus
}
#endif

#endif /* ST4VLA_CONTROL_H */
