/* Send a folder of JPEG files to a runtime as what its first camera sees, and print the actions that come back. */
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
    st4vla_bridge_config config = st4vla_bridge_defaults();
    st4vla_camera_config camera = {NULL, NULL, ST4VLA_SOURCE_FOLDER, 0, 0, 0, 20.0};
    st4vla_observation observation;
    st4vla_welcome welcome;
    st4vla_cameras *cameras;
    st4vla_bridge *bridge;
    char name[ST4VLA_MAX_VIEW_NAME_BYTES + 1] = "";
    int left = argc == 4 ? atoi(argv[3]) : 0;

    if (left <= 0) {
        fprintf(stderr, "usage: stream_folder ENDPOINT FOLDER CHUNKS\n");
        return 2;
    }
    config.endpoint = argv[1];
    must(st4vla_bridge_open(&config, &bridge), argv[1]);
    must(st4vla_bridge_hello(bridge, 5000, &welcome), argv[1]);
    memcpy(name, welcome.views[0].name, ST4VLA_MAX_VIEW_NAME_BYTES);
    camera.name = name;
    camera.path = argv[2];
    must(st4vla_cameras_open(&camera, 1, &cameras), argv[2]);

    memset(&observation, 0, sizeof observation);
    observation.instruction = "lift the red cube";
    observation.instruction_bytes = (uint32_t)strlen(observation.instruction);
    for (observation.view_count = 1; left > 0;) {
        must(st4vla_cameras_next(cameras, 1000, observation.views), argv[2]);
        must(st4vla_bridge_send(bridge, &observation, NULL), argv[1]);
        if (st4vla_bridge_receive(bridge, 1000, &chunk) == ST4VLA_OK) {
            printf("chunk %llu, frame %.1f ms old: %+.4f %+.4f %+.4f\n", (unsigned long long)chunk.body.chunk_id,
                   (double)(chunk.received_ns - chunk.body.frame_capture_ns) / 1e6, chunk.actions[0],
                   chunk.actions[1], chunk.actions[2]);
            --left;
        }
    }
    st4vla_cameras_close(cameras);
    st4vla_bridge_close(bridge);
    return 0;
}
