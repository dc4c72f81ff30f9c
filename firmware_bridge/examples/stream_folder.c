/* Send a folder of JPEG files to a runtime, as each view that it wants, and print the actions that come back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    static st4vla_chunk chunk;
    static char names[ST4VLA_MAX_VIEWS][ST4VLA_MAX_VIEW_NAME_BYTES + 1];
    st4vla_camera_config configs[ST4VLA_MAX_VIEWS];
    st4vla_bridge_config config = st4vla_bridge_defaults();
    st4vla_observation frame = {0};
    st4vla_server_error error;
    st4vla_welcome welcome;
    st4vla_cameras *cameras;
    st4vla_bridge *bridge;
    uint32_t i;
    int left = argc == 4 ? atoi(argv[3]) : 0;

    config.endpoint = argc == 4 ? argv[1] : NULL;
    must(st4vla_bridge_open(&config, &bridge), "usage: stream_folder ENDPOINT FOLDER CHUNKS");
    must(st4vla_bridge_hello(bridge, 5000, &welcome), argv[1]);
    for (i = 0; i < welcome.body.view_count; ++i) {
        const st4vla_camera_config camera = {names[i], argv[2], ST4VLA_SOURCE_FOLDER, 0, 0, 0, 20.0};
        memcpy(names[i], welcome.views[i].name, ST4VLA_MAX_VIEW_NAME_BYTES);
        configs[i] = camera;
    }
    must(st4vla_cameras_open(configs, welcome.body.view_count, &cameras), argv[2]);
    frame.view_count = welcome.body.view_count;
    frame.instruction = "lift the red cube";
    frame.instruction_bytes = (uint32_t)strlen(frame.instruction);
    while (left > 0) {
        must(st4vla_cameras_next(cameras, 1000, frame.views), argv[2]);
        must(st4vla_bridge_send(bridge, &frame, NULL), argv[1]);
        if (st4vla_bridge_receive(bridge, 1000, &chunk) == ST4VLA_OK) {
            printf("chunk %llu, frame %.1f ms old: %+.4f %+.4f %+.4f\n", (unsigned long long)chunk.body.chunk_id,
                   (double)(chunk.received_ns - chunk.body.frame_capture_ns) / 1e6, chunk.actions[0],
                   chunk.actions[1], chunk.actions[2]);
            --left;
        } else if (st4vla_bridge_last_error(bridge, &error) == ST4VLA_OK) {
            fprintf(stderr, "the runtime says: %s\n", error.text);
        }
    }
    st4vla_cameras_close(cameras);
    st4vla_bridge_close(bridge);
    return 0;
}
