/* The C ABI as a C99 compiler sees it: sizes, calls, errors. A change of a size here is a change of the ABI. */
#include <string.h>

#include "check.h"
#include "st4vla/bridge.h"

static const char nowhere[] = "tcp://127.0.0.1:9"; /* the port "discard", where nobody listens */

static void sizes_are_those_of_this_version(void)
{
    /* On machines with pointers of 64 bits, which are all that this library is built for. */
    CHECK(ST4VLA_ABI_VERSION == 1u && st4vla_abi_version() == ST4VLA_ABI_VERSION);
    CHECK(sizeof(st4vla_status) == 4);
    CHECK(sizeof(st4vla_view) == 48);
    CHECK(sizeof(st4vla_observation) == 64 + 408 + 8 + 8 * 48);
    CHECK(offsetof(st4vla_observation, robot_state) == 64 && offsetof(st4vla_observation, views) == 480);
    CHECK(sizeof(st4vla_chunk) == 24 + 128 + 4 * ST4VLA_MAX_ACTIONS);
    CHECK(offsetof(st4vla_chunk, actions) == 152);
    CHECK(sizeof(st4vla_welcome) == 16 + 168 + 8 * 24);
    CHECK(sizeof(st4vla_plan) == 56);
    CHECK(sizeof(st4vla_error_reply) == 40);
    CHECK(sizeof(st4vla_bridge_config) == 56);
    CHECK(sizeof(st4vla_clock_offset) == 16);
    CHECK(sizeof(st4vla_server_error) == 24 + ST4VLA_MAX_ERROR_TEXT);
    CHECK(sizeof(st4vla_camera_config) == 40);
    CHECK(sizeof(st4vla_camera_counts) == 32);
}

static void every_status_has_a_text_of_its_own(void)
{
    static const st4vla_status statuses[] = {
        ST4VLA_OK,         ST4VLA_BAD_ARGUMENT,  ST4VLA_OTHER_ABI,         ST4VLA_NO_MEMORY,
        ST4VLA_TOO_SMALL,  ST4VLA_TIMEOUT,       ST4VLA_SYSTEM,            ST4VLA_FOREIGN_MESSAGE,
        ST4VLA_OTHER_WIRE, ST4VLA_TRUNCATED_MESSAGE, ST4VLA_BAD_CHECKSUM,  ST4VLA_MALFORMED_MESSAGE,
        ST4VLA_UNEXPECTED_KIND, ST4VLA_BAD_ENDPOINT, ST4VLA_KEY_FILE,      ST4VLA_NO_SERVER,
        ST4VLA_KEYS_WANTED, ST4VLA_NOT_LET_IN,   ST4VLA_SILENT,            ST4VLA_BUSY,
        ST4VLA_NO_CAMERA,  ST4VLA_CAMERA_FORMAT, ST4VLA_CAMERA_FAILED,     ST4VLA_BAD_JPEG};
    const size_t count = sizeof statuses / sizeof *statuses;
    const char *unknown = st4vla_status_text((st4vla_status)1000);
    size_t i, j;
    for (i = 0; i < count; ++i) {
        CHECK(strcmp(st4vla_status_text(statuses[i]), unknown) != 0);
        for (j = 0; j < i; ++j) {
            CHECK(strcmp(st4vla_status_text(statuses[i]), st4vla_status_text(statuses[j])) != 0);
        }
    }
}

static void every_counter_has_a_name_of_its_own(void)
{
    uint32_t i, j;
    for (i = 0; i < ST4VLA_COUNTER_COUNT; ++i) {
        CHECK(st4vla_counter_name(i) != NULL);
        for (j = 0; j < i; ++j) {
            CHECK(strcmp(st4vla_counter_name(i), st4vla_counter_name(j)) != 0);
        }
    }
    CHECK(st4vla_counter_name(ST4VLA_COUNTER_COUNT) == NULL);
    CHECK(strcmp(st4vla_counter_name(ST4VLA_CHUNKS_REFUSED_OLD), "chunks_refused_old") == 0);
    CHECK(strcmp(st4vla_counter_name(ST4VLA_SERVER_RESTARTS), "server_restarts") == 0);
}

static void null_is_refused_everywhere(void)
{
    static st4vla_chunk chunk;
    st4vla_bridge_config config = st4vla_bridge_defaults();
    st4vla_observation observation;
    st4vla_wire_header header;
    st4vla_cameras *cameras;
    st4vla_bridge *bridge;
    size_t size;

    memset(&observation, 0, sizeof observation);
    CHECK(st4vla_bridge_open(NULL, &bridge) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_bridge_open(&config, NULL) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_bridge_send(NULL, &observation, NULL) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_bridge_receive(NULL, 0, &chunk) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_bridge_hello(NULL, 0, NULL) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_bridge_clock(NULL, NULL) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_bridge_last_error(NULL, NULL) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_bridge_last_plan(NULL, NULL) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_bridge_count(NULL, 0) == 0);
    st4vla_bridge_close(NULL);
    CHECK(st4vla_decode_header(NULL, 0, &header) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_decode_chunk(NULL, 0, &chunk) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_decode_chunk("", 0, NULL) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_encode_hello(1, 1, NULL, 0, NULL) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_encode_observation(NULL, NULL, 0, &size) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_encode_chunk(&chunk, NULL, NULL, 0, &size) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_cameras_open(NULL, 1, &cameras) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_cameras_next(NULL, 0, NULL) == ST4VLA_BAD_ARGUMENT);
    CHECK(st4vla_cameras_counts(NULL, 0, NULL) == ST4VLA_BAD_ARGUMENT);
    st4vla_cameras_close(NULL);
}

static void wrong_configurations_are_refused(void)
{
    st4vla_bridge_config config = st4vla_bridge_defaults();
    st4vla_bridge *bridge = (st4vla_bridge *)&config;

    CHECK(config.abi_version == ST4VLA_ABI_VERSION);
    CHECK(st4vla_bridge_open(&config, &bridge) == ST4VLA_BAD_ARGUMENT && bridge == NULL);
    CHECK(strstr(st4vla_detail(), "endpoint") != NULL);
    config.endpoint = nowhere;
    config.abi_version = ST4VLA_ABI_VERSION + 1;
    CHECK(st4vla_bridge_open(&config, &bridge) == ST4VLA_OTHER_ABI);
    config.abi_version = ST4VLA_ABI_VERSION;
    config.jpeg_quality = 101;
    CHECK(st4vla_bridge_open(&config, &bridge) == ST4VLA_BAD_ARGUMENT);
    config.jpeg_quality = 0;
    config.secret_key_file = "/nowhere.key_secret";
    CHECK(st4vla_bridge_open(&config, &bridge) == ST4VLA_BAD_ARGUMENT);
    config.server_key_file = "/nowhere.key";
    CHECK(st4vla_bridge_open(&config, &bridge) == ST4VLA_KEY_FILE);
    CHECK(strstr(st4vla_detail(), "/nowhere.key_secret") != NULL);
    config.secret_key_file = config.server_key_file = NULL;
    config.endpoint = "http://127.0.0.1";
    CHECK(st4vla_bridge_open(&config, &bridge) == ST4VLA_BAD_ENDPOINT && bridge == NULL);
}

static void a_server_that_is_not_there_holds_nobody_up(void)
{
    static st4vla_chunk chunk;
    static const uint8_t pixels[2 * 2 * 3];
    st4vla_bridge_config config = st4vla_bridge_defaults();
    st4vla_observation observation;
    st4vla_clock_offset offset;
    st4vla_server_error error;
    st4vla_welcome welcome;
    st4vla_plan plan;
    st4vla_bridge *bridge;
    uint64_t sequence = 0, last = 0, grown;
    int64_t began_ns;
    int i;

    config.endpoint = nowhere;
    CHECK(st4vla_bridge_open(&config, &bridge) == ST4VLA_OK);
    CHECK(st4vla_bridge_hello(bridge, 100, &welcome) == ST4VLA_NO_SERVER);
    CHECK(st4vla_bridge_receive(bridge, 10, &chunk) == ST4VLA_TIMEOUT);
    CHECK(st4vla_bridge_clock(bridge, &offset) == ST4VLA_TIMEOUT);
    CHECK(st4vla_bridge_last_error(bridge, &error) == ST4VLA_TIMEOUT);
    CHECK(st4vla_bridge_last_plan(bridge, &plan) == ST4VLA_TIMEOUT);

    memset(&observation, 0, sizeof observation);
    observation.instruction = "lift";
    observation.instruction_bytes = 4;
    observation.view_count = 1;
    observation.views[0].data = pixels;
    observation.views[0].bytes = sizeof pixels;
    observation.views[0].height = observation.views[0].width = 2;
    observation.views[0].encoding = ST4VLA_IMAGE_RGB8;
    strcpy(observation.views[0].name, "agentview");
    observation.views[0].capture_ns = st4vla_monotonic_ns() + INT64_C(1000000000);
    CHECK(st4vla_bridge_send(bridge, &observation, NULL) == ST4VLA_BAD_ARGUMENT);
    CHECK(strstr(st4vla_detail(), "future") != NULL);

    observation.views[0].capture_ns = st4vla_monotonic_ns();
    for (i = 0; i < 20; ++i) {
        CHECK(st4vla_bridge_send(bridge, &observation, &sequence) == ST4VLA_OK && sequence > last);
        last = sequence;
    }
    grown = st4vla_bridge_count(bridge, ST4VLA_BUFFERS_GROWN);
    for (i = 0; i < 200; ++i) {
        CHECK(st4vla_bridge_send(bridge, &observation, NULL) == ST4VLA_OK);
    }
    CHECK(st4vla_bridge_count(bridge, ST4VLA_BUFFERS_GROWN) == grown && grown <= 6);
    CHECK(st4vla_bridge_count(bridge, ST4VLA_FRAMES_SUPERSEDED) >= 200);
    CHECK(st4vla_bridge_count(bridge, ST4VLA_FRAMES_BUSY) == 0);
    began_ns = st4vla_monotonic_ns();
    st4vla_bridge_close(bridge);
    CHECK(st4vla_monotonic_ns() - began_ns < INT64_C(1000000000));
}

int main(void)
{
    sizes_are_those_of_this_version();
    every_status_has_a_text_of_its_own();
    every_counter_has_a_name_of_its_own();
    null_is_refused_everywhere();
    wrong_configurations_are_refused();
    a_server_that_is_not_there_holds_nobody_up();
    return 0;
}
