/* The C ABI, in C99: versions, texts, refusals, and a chunk that is played. */
#include "st4vla/player.h"

#include <math.h>
#include <string.h>

#include "check.h"

static const double HOME[16] = {1, 0, 0, 0.5, 0, -1, 0, 0, 0, 0, -1, 0.3, 0, 0, 0, 1};

static void check_texts(void)
{
    int status;

    for (status = ST4VLA_PLAYER_OK; status <= ST4VLA_PLAYER_NOT_AT_REST; ++status) {
        CHECK(strlen(st4vla_player_message((st4vla_player_status)status)) > 7);
        CHECK(strcmp(st4vla_player_message((st4vla_player_status)status), "not a status of this library") != 0);
    }
    CHECK(strcmp(st4vla_player_message((st4vla_player_status)99), "not a status of this library") == 0);
}

/* Change one field of a good config, and see it refused. */
static void check_refused(const st4vla_player_config *config, st4vla_player_status expected)
{
    st4vla_player *player = (st4vla_player *)config;

    CHECK(st4vla_player_create(config, &player) == expected);
    CHECK(player == NULL);
}

static void check_configs(void)
{
    st4vla_player_config good, config;

    CHECK(st4vla_player_config_default(ST4VLA_PLAYER_FRANKA_RESEARCH_3, NULL) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_config_default((st4vla_player_robot)9, &good) == ST4VLA_PLAYER_BAD_LIMITS);
    CHECK(st4vla_player_config_default(ST4VLA_PLAYER_FRANKA_RESEARCH_3, &good) == ST4VLA_PLAYER_OK);
#define REFUSED(change, status) \
    do {                        \
        config = good;          \
        config.change;          \
        check_refused(&config, status); \
    } while (0)
    REFUSED(representation = 0, ST4VLA_PLAYER_BAD_ACTIONS);
    REFUSED(representation = 4, ST4VLA_PLAYER_BAD_ACTIONS);
    REFUSED(action_dim = 8, ST4VLA_PLAYER_BAD_ACTIONS);
    REFUSED(gripper_index = 7, ST4VLA_PLAYER_BAD_ACTIONS);
    REFUSED(gripper_index = -2, ST4VLA_PLAYER_BAD_ACTIONS);
    REFUSED(joint_count = 17, ST4VLA_PLAYER_BAD_ACTIONS);
    REFUSED(representation = ST4VLA_ACTION_JOINT_DELTA, ST4VLA_PLAYER_BAD_ACTIONS);
    REFUSED(frame.hold_ns = -1, ST4VLA_PLAYER_BAD_AGES);
    REFUSED(frame.stop_ns = good.frame.hold_ns - 1, ST4VLA_PLAYER_BAD_AGES);
    REFUSED(frame.hold_ns = config.frame.stop_ns = 0, ST4VLA_PLAYER_BAD_AGES);
    REFUSED(plan.slow_ns = INT64_MAX, ST4VLA_PLAYER_BAD_AGES);
    REFUSED(blend_ns = -1, ST4VLA_PLAYER_BAD_LIMITS);
    REFUSED(translation.velocity = 0.0, ST4VLA_PLAYER_BAD_LIMITS);
    REFUSED(translation.jerk = good.translation.acceleration, ST4VLA_PLAYER_BAD_LIMITS);
    REFUSED(rotation.acceleration = -1.0, ST4VLA_PLAYER_BAD_LIMITS);
    REFUSED(rotation.jerk = sqrt(-1.0), ST4VLA_PLAYER_BAD_LIMITS);
    REFUSED(workspace_low_m[1] = good.workspace_high_m[1], ST4VLA_PLAYER_BAD_LIMITS);
    REFUSED(workspace_high_m[2] = HUGE_VAL, ST4VLA_PLAYER_BAD_LIMITS);
    REFUSED(leash_m = 0.0, ST4VLA_PLAYER_BAD_LIMITS);
    REFUSED(leash_rad = 1.6, ST4VLA_PLAYER_BAD_LIMITS);
    REFUSED(gripper_close_below = 0.7, ST4VLA_PLAYER_BAD_LIMITS);
#undef REFUSED
    CHECK(st4vla_player_create(&good, NULL) == ST4VLA_PLAYER_BAD_POINTER);
    check_refused(NULL, ST4VLA_PLAYER_BAD_POINTER);
}

static void check_welcome(void)
{
    st4vla_player_config config;
    st4vla_wire_welcome welcome;

    memset(&welcome, 0, sizeof welcome);
    welcome.representation = ST4VLA_ACTION_JOINT_DELTA;
    welcome.action_dim = 8;
    welcome.gripper_index = 7;
    welcome.plan_hold_ns = 3000000000;
    CHECK(st4vla_player_config_default(ST4VLA_PLAYER_FRANKA_RESEARCH_3, &config) == ST4VLA_PLAYER_OK);
    CHECK(st4vla_player_config_welcome(&config, &welcome) == ST4VLA_PLAYER_OK);
    CHECK(config.representation == ST4VLA_ACTION_JOINT_DELTA && config.action_dim == 8 && config.gripper_index == 7);
    /* Its own bounds of the frame's age stay, because the welcome has none. */
    CHECK(config.frame.hold_ns == 200000000 && config.plan.hold_ns == 3000000000 && config.plan.stop_ns == 0);
    welcome.frame_slow_ns = 1;
    CHECK(st4vla_player_config_welcome(&config, &welcome) == ST4VLA_PLAYER_BAD_AGES);
    CHECK(st4vla_player_config_welcome(NULL, &welcome) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_config_welcome(&config, NULL) == ST4VLA_PLAYER_BAD_POINTER);
}

static void check_pointers(st4vla_player *player)
{
    st4vla_wire_action_chunk chunk;
    st4vla_player_input input;
    st4vla_player_setpoint setpoint;
    st4vla_player_report report;
    float action = 0;

    memset(&chunk, 0, sizeof chunk);
    memset(&input, 0, sizeof input);
    CHECK(st4vla_player_anchor(NULL, HOME, NULL) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_put(NULL, &chunk, &action, 4) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_put(player, NULL, &action, 4) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_put(player, &chunk, NULL, 4) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_step(NULL, &input, &setpoint) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_step(player, NULL, &setpoint) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_step(player, &input, NULL) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_stop(NULL) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_resume(NULL) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_read(NULL, &report) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_read(player, NULL) == ST4VLA_PLAYER_BAD_POINTER);
    CHECK(st4vla_player_rest_bound_ns(NULL) == 0);
    st4vla_player_destroy(NULL);
}

static void check_play(void)
{
    st4vla_player_config config;
    st4vla_player *player;
    st4vla_player_input input;
    st4vla_player_setpoint setpoint;
    st4vla_wire_action_chunk chunk;
    unsigned char bytes[1 + 7 * sizeof(float)];
    const float action[7] = {0.01f, 0, 0, 0, 0, 0, 0};
    int ms;

    CHECK(st4vla_player_config_default(ST4VLA_PLAYER_FRANKA_RESEARCH_3, &config) == ST4VLA_PLAYER_OK);
    CHECK(st4vla_player_create(&config, &player) == ST4VLA_PLAYER_OK);
    check_pointers(player);
    memset(&input, 0, sizeof input);
    input.now_ns = 1000000000;
    input.ticks = 1;
    CHECK(st4vla_player_step(player, &input, &setpoint) == ST4VLA_PLAYER_NOT_ANCHORED);
    CHECK(setpoint.at_rest == 1 && setpoint.pace == ST4VLA_PACE_HOLD);
    CHECK(st4vla_player_anchor(player, HOME, NULL) == ST4VLA_PLAYER_OK);
    memset(&chunk, 0, sizeof chunk);
    chunk.chunk_id = 7;
    chunk.observation_sequence = 1;
    chunk.frame_capture_ns = chunk.plan_capture_ns = chunk.start_ns = input.now_ns;
    chunk.period_ns = 50000000;
    chunk.horizon = 1;
    chunk.action_dim = 7;
    chunk.gripper_index = 6;
    chunk.representation = ST4VLA_ACTION_EE_DELTA;
    chunk.pace = ST4VLA_PACE_RUN;
    /* Actions in a frame need not be aligned. */
    memcpy(bytes + 1, action, sizeof action);
    CHECK(st4vla_player_put(player, &chunk, bytes + 1, sizeof action) == ST4VLA_PLAYER_OK);
    for (ms = 0; ms < 220; ++ms) {
        input.now_ns += ST4VLA_PLAYER_TICK_NS;
        CHECK(st4vla_player_step(player, &input, &setpoint) == ST4VLA_PLAYER_OK);
    }
    CHECK(setpoint.chunk_id == 7 && setpoint.at_rest == 1 && setpoint.gripper_opening == 0.0);
    /* Less what fading in takes: a third of `blend_ns` at up to 0.2 m/s. */
    CHECK(setpoint.base_T_ee[3] > 0.5 + 0.005 && setpoint.base_T_ee[3] < 0.5 + 0.0101);
    st4vla_player_destroy(player);
}

int main(void)
{
    CHECK(st4vla_player_abi_version() == ST4VLA_PLAYER_ABI_VERSION);
    check_texts();
    check_configs();
    check_welcome();
    check_play();
    return 0;
}
