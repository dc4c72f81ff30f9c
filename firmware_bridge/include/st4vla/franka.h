/*
 * A Franka arm, through libfranka, as a robot for the control loop of control.h; C99 and C++17.
 *
 * In the library st4vla_franka, which is built where CMake finds libfranka. Setpoints go out as Cartesian poses or joint
 * positions, under Franka's own controller. After a reflex nothing moves by itself: st4vla_franka_recover clears the
 * error, a new run begins where the arm stands, and the player waits for st4vla_player_resume.
 */
#ifndef ST4VLA_FRANKA_H
#define ST4VLA_FRANKA_H

#include "st4vla/control.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a struct or a function below changes. */
#define ST4VLA_FRANKA_ABI_VERSION 1u

typedef enum st4vla_franka_status {
    ST4VLA_FRANKA_OK = 0,
    ST4VLA_FRANKA_BAD_ARGUMENT = 1,  /* NULL, or a number outside of its range */
    ST4VLA_FRANKA_NOT_REACHED = 2,   /* no answer at that address, or another version of the interface */
    ST4VLA_FRANKA_REFUSED = 3,       /* the robot refused a command */
    ST4VLA_FRANKA_NEEDS_OPERATOR = 4 /* it stopped for a reason that somebody must look at first */
} st4vla_franka_status;

typedef struct st4vla_franka_config {
    uint32_t joints;    /* 1: joint positions; 0: Cartesian poses */
    uint32_t impedance; /* 1: Franka's Cartesian impedance controller; 0: its joint impedance controller */
    uint32_t real_time; /* 1: refuse to run without real-time priority, as libfranka does; 0: run all the same */
    uint32_t gripper;   /* 1: there is a Franka Hand */
    double torque_contact_Nm[7];   /* from which contact is reported */
    double torque_collision_Nm[7]; /* from which the arm stops */
    double force_contact_N[6];     /* of the hand: N, then N m */
    double force_collision_N[6];
    double gripper_width_m; /* when open */
    double gripper_speed_m_s;
    double gripper_force_N;
} st4vla_franka_config;

typedef struct st4vla_franka st4vla_franka;

/* The version that the library was built with; compare it with ST4VLA_FRANKA_ABI_VERSION before the first call. */
ST4VLA_API uint32_t st4vla_franka_abi_version(void);

/* What a status means, in English; never NULL. */
ST4VLA_API const char *st4vla_franka_message(st4vla_franka_status status);

/*
 * Fill in a config: poses, joint impedance, real time, a gripper, and thresholds of 20 N m and 20 N (25 N m of the
 * hand), as libfranka's examples have them. NULL is ignored.
 */
ST4VLA_API void st4vla_franka_config_default(st4vla_franka_config *config);

/*
 * Connect, and set the collision behaviour. `address` is the arm's, without a port. *franka is NULL unless the status is
 * ST4VLA_FRANKA_OK; `text`, of ST4VLA_CONTROL_TEXT_BYTES or NULL, then says what libfranka said. The calling thread keeps
 * its scheduling, to which libfranka would do something: see st4vla_control_run for the thread that needs a priority.
 */
ST4VLA_API st4vla_franka_status st4vla_franka_open(const char *address, const st4vla_franka_config *config,
                                                          st4vla_franka **franka, char *text);

/* Disconnect; NULL is no error. No loop may be running. */
ST4VLA_API void st4vla_franka_close(st4vla_franka *franka);

/* The functions that st4vla_control_create takes; they belong to `franka`. */
ST4VLA_API st4vla_franka_status st4vla_franka_robot(st4vla_franka *franka, st4vla_robot *robot);

/*
 * Clear the error that ended a run, so that another may begin. Nothing moves. After a collision, with a pressed stop or
 * with hands on the arm it is ST4VLA_FRANKA_NEEDS_OPERATOR, unless `looked` is 1: somebody looked, and it may go on.
 */
ST4VLA_API st4vla_franka_status st4vla_franka_recover(st4vla_franka *franka, int looked, char *text);

#ifdef __cplusplus
}
#endif

#endif /* ST4VLA_FRANKA_H */
