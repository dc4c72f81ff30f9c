// The player's C ABI: pointers are checked here, everything else where it is used.
#include <new>

#include "player/player.h"

struct st4vla_player {
    explicit st4vla_player(const st4vla::player::Settings &settings) noexcept : player(settings) {}

    st4vla::player::Player player;
};

extern "C" {

uint32_t st4vla_player_abi_version(void) noexcept { return ST4VLA_PLAYER_ABI_VERSION; }

const char *st4vla_player_message(st4vla_player_status status) noexcept
{
    switch (status) {
    case ST4VLA_PLAYER_OK:
        return "no error";
    case ST4VLA_PLAYER_BAD_POINTER:
        return "NULL was given where a pointer to something is wanted";
    case ST4VLA_PLAYER_BAD_ACTIONS:
        return "an action has 6 numbers of the end effector or one for each of 1 to 16 joints, and one for the gripper "
               "if gripper_index names it";
    case ST4VLA_PLAYER_BAD_LIMITS:
        return "limits, leashes and ranges must be positive and finite, a leash at most 1.5 rad, a jerk at least "
               "2 / 0.128 s times the acceleration, a joint's braking at most its acceleration";
    case ST4VLA_PLAYER_BAD_AGES:
        return "ages must rise from slow to hold to stop; the frame's must hold or stop the arm; joint positions "
               "cannot be slowed down";
    case ST4VLA_PLAYER_NO_MEMORY:
        return "there is not enough memory for a player";
    case ST4VLA_PLAYER_BAD_POSE:
        return "the arm is not at a pose or joint positions inside the configured workspace; move it there by hand";
    case ST4VLA_PLAYER_NOT_ANCHORED:
        return "call st4vla_player_anchor first, with where the arm is";
    case ST4VLA_PLAYER_BAD_TICKS:
        return "a step advances by at most 20 ticks; the robot has stopped by itself after so many: anchor it anew";
    case ST4VLA_PLAYER_BAD_CHUNK:
        return "the chunk's representation, horizon, action_dim, gripper_index, pace or size is not the player's";
    case ST4VLA_PLAYER_NOT_FINITE:
        return "the chunk holds NaN or infinity";
    case ST4VLA_PLAYER_BAD_TIME:
        return "a time of the chunk is negative or centuries ahead, or its period is not within 1 ms and 10 s";
    case ST4VLA_PLAYER_NOT_STOPPED:
        return "the player has not stopped; there is nothing to resume";
    case ST4VLA_PLAYER_NOT_AT_REST:
        return "the arm still slows down; resume when it is at rest";
    }
    return "not a status of this library";
}

st4vla_player_status st4vla_player_config_default(st4vla_player_robot robot, st4vla_player_config *config) noexcept
{
    return config == nullptr ? ST4VLA_PLAYER_BAD_POINTER : st4vla::player::default_config(robot, config);
}

st4vla_player_status st4vla_player_config_welcome(st4vla_player_config *config,
                                                  const st4vla_wire_welcome *welcome) noexcept
{
    if (config == nullptr || welcome == nullptr) {
        return ST4VLA_PLAYER_BAD_POINTER;
    }
    return st4vla::player::take_welcome(*welcome, config);
}

st4vla_player_status st4vla_player_create(const st4vla_player_config *config, st4vla_player **player) noexcept
{
    if (player == nullptr) {
        return ST4VLA_PLAYER_BAD_POINTER;
    }
    *player = nullptr;
    if (config == nullptr) {
        return ST4VLA_PLAYER_BAD_POINTER;
    }
    st4vla::player::Settings settings{};
    const st4vla_player_status status = st4vla::player::checked(*config, &settings);
    if (status == ST4VLA_PLAYER_OK) {
        *player = new (std::nothrow) st4vla_player(settings);
        return *player == nullptr ? ST4VLA_PLAYER_NO_MEMORY : ST4VLA_PLAYER_OK;
    }
    return status;
}

void st4vla_player_destroy(st4vla_player *player) noexcept { delete player; }

st4vla_player_status st4vla_player_anchor(st4vla_player *player, const double *base_T_ee,
                                          const double *joint_positions_rad) noexcept
{
    return player == nullptr ? ST4VLA_PLAYER_BAD_POINTER : player->player.anchor(base_T_ee, joint_positions_rad);
}

st4vla_player_status st4vla_player_put(st4vla_player *player, const st4vla_wire_action_chunk *chunk,
                                       const void *actions, size_t bytes) noexcept
{
    if (player == nullptr || chunk == nullptr || actions == nullptr) {
        return ST4VLA_PLAYER_BAD_POINTER;
    }
    return player->player.put(*chunk, actions, bytes);
}

st4vla_player_status st4vla_player_step(st4vla_player *player, const st4vla_player_input *input,
                                        st4vla_player_setpoint *setpoint) noexcept
{
    if (player == nullptr || input == nullptr || setpoint == nullptr) {
        return ST4VLA_PLAYER_BAD_POINTER;
    }
    return player->player.step(*input, setpoint);
}

st4vla_player_status st4vla_player_stop(st4vla_player *player) noexcept
{
    if (player == nullptr) {
        return ST4VLA_PLAYER_BAD_POINTER;
    }
    player->player.stop();
    return ST4VLA_PLAYER_OK;
}

st4vla_player_status st4vla_player_resume(st4vla_player *player) noexcept
{
    return player == nullptr ? ST4VLA_PLAYER_BAD_POINTER : player->player.resume();
}

st4vla_player_status st4vla_player_read(const st4vla_player *player, st4vla_player_report *report) noexcept
{
    if (player == nullptr || report == nullptr) {
        return ST4VLA_PLAYER_BAD_POINTER;
    }
    *report = player->player.report();
    return ST4VLA_PLAYER_OK;
}

int64_t st4vla_player_rest_bound_ns(const st4vla_player *player) noexcept
{
    return player == nullptr ? 0 : player->player.settings().rest_bound_ns;
}

}  // extern "C"
