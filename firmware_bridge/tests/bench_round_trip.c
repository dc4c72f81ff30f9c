/* How long a chunk takes: two raw views of 224 pixels out, actions in, one after another. Prints quantiles. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "st4vla/bridge.h"

enum { TURNS = 1000, SIDE = 224, PIXELS = 3 * SIDE * SIDE };

static int earlier(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static st4vla_chunk chunk;
    static uint8_t pixels[PIXELS];
    static int64_t took_ns[TURNS];
    static st4vla_observation observation;
    st4vla_bridge_config config = st4vla_bridge_defaults();
    st4vla_welcome welcome;
    st4vla_bridge *bridge;
    uint32_t i;
    int turn;

    if (argc != 2) {
        fprintf(stderr, "usage: bench_round_trip ENDPOINT\n");
        return 2;
    }
    config.endpoint = argv[1];
    CHECK(st4vla_bridge_open(&config, &bridge) == ST4VLA_OK);
    CHECK(st4vla_bridge_hello(bridge, 5000, &welcome) == ST4VLA_OK);
    observation.instruction = "lift";
    observation.instruction_bytes = 4;
    observation.view_count = welcome.body.view_count;
    for (turn = -20; turn < TURNS; ++turn) {
        const int64_t began_ns = st4vla_monotonic_ns();
        for (i = 0; i < observation.view_count; ++i) {
            const st4vla_view view = {began_ns, pixels, PIXELS, SIDE, SIDE, ST4VLA_IMAGE_RGB8, ""};
            observation.views[i] = view;
            memcpy(observation.views[i].name, welcome.views[i].name, ST4VLA_MAX_VIEW_NAME_BYTES);
        }
        pixels[0] = (uint8_t)turn;
        CHECK(st4vla_bridge_send(bridge, &observation, NULL) == ST4VLA_OK);
        CHECK(st4vla_bridge_receive(bridge, 2000, &chunk) == ST4VLA_OK);
        if (turn >= 0) {
            took_ns[turn] = st4vla_monotonic_ns() - began_ns;
        }
    }
    st4vla_bridge_close(bridge);
    qsort(took_ns, TURNS, sizeof *took_ns, earlier);
    printf("frame to chunk: p50 %.3f ms, p99 %.3f ms, max %.3f ms over %d\n", (double)took_ns[TURNS / 2] / 1e6,
           (double)took_ns[TURNS * 99 / 100] / 1e6, (double)took_ns[TURNS - 1] / 1e6, TURNS);
    return 0;
}
