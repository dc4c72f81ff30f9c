/* Send a folder of JPEG files to a runtime as each view that it wants; print the setpoints that a player makes of it. */
#define _POSIX_C_SOURCE 199309L /* nanosleep */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <st4vla/bridge.h>

static void must(st4vla_status status, const char *what)
{
    if (status != ST4VLA_OK) {
        fprintf(stderr, "%s: %s. %s\n", what, st4vla_status_text(status), st4vla_detail());
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static const double start[16] = {1, 0, 0, 0.5, 0, -1, 0, 0, 0, 0, -1, 0.3, 0, 0, 0, 1};
    static char names[ST4VLA_MAX_VIEWS][ST4VLA_MAX_VIEW_NAME_BYTES + 1];
    static st4vla_chunk chunk;
    const struct timespec tick = {0, ST4VLA_PLAYER_TICK_NS};
    st4vla_bridge_config config = st4vla_bridge_defaults();
    st4vla_stream_config told = {"lift the red cube", 0, 0, 0, 0, NULL};
    st4vla_camera_config views[ST4VLA_MAX_VIEWS];
    st4vla_player_config limits;
    st4vla_player_input input = {0};
    st4vla_player_setpoint setpoint;
    st4vla_welcome welcome;
    st4vla_bridge *bridge;
    st4vla_cameras *cameras;
    st4vla_player *player;
    st4vla_stream *stream;
    int i, milliseconds = argc == 4 ? atoi(argv[3]) : 0;

    config.endpoint = argc == 4 ? argv[1] : NULL;
    must(st4vla_bridge_open(&config, &bridge), "usage: stream_folder ENDPOINT FOLDER MILLISECONDS");
    must(st4vla_bridge_hello(bridge, 5000, &welcome), argv[1]);
    for (i = 0; i < welcome.body.view_count; ++i) {
        const st4vla_camera_config camera = {names[i], argv[2], ST4VLA_SOURCE_FOLDER, 0, 0, 0, 20.0};
        memcpy(names[i], welcome.views[i].name, ST4VLA_MAX_VIEW_NAME_BYTES);
        views[i] = camera;
    }
    must(st4vla_cameras_open(views, welcome.body.view_count, &cameras), argv[2]);
    must(st4vla_player_config_default(ST4VLA_PLAYER_FRANKA_RESEARCH_3, &limits) ||
         st4vla_player_config_welcome(&limits, &welcome.body) || st4vla_player_create(&limits, &player) ||
         st4vla_player_anchor(player, start, NULL) ? ST4VLA_BAD_ARGUMENT : ST4VLA_OK, "the runtime's actions");
    must(st4vla_stream_start(bridge, cameras, &told, &stream), "stream");
    for (i = 0, input.ticks = 1; i < milliseconds; ++i, nanosleep(&tick, NULL)) {
        if (st4vla_bridge_receive(bridge, 0, &chunk) == ST4VLA_OK)
            st4vla_stream_play(player, &chunk);
        input.now_ns = st4vla_monotonic_ns();
        st4vla_player_step(player, &input, &setpoint);
        printf("%5d ms: x %.6f y %.6f z %.6f m, by chunk %llu\n", i, setpoint.base_T_ee[3], setpoint.base_T_ee[7],
               setpoint.base_T_ee[11], (unsigned long long)setpoint.chunk_id);
    }
    st4vla_stream_stop(stream);
    return 0;
}
