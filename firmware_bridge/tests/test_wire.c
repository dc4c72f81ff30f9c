/* Reads the golden messages by struct and builds two of them anew. Values: tests/contracts/golden_messages.py. */
#include <string.h>

#include "check.h"
#include "st4vla/crc32c.h"
#include "st4vla/wire.h"

enum { CAPACITY = 4096, PIXELS = 4 * 3 * 3, JPEG = 21, ACTIONS = 4 * 7 };

typedef struct message {
    unsigned char bytes[CAPACITY];
    size_t size;
} message;

static const char instruction[] = "lift the caf\xc3\xa9 cup";
static const char error_text[] = "view 'wrist' is missing; send agentview, wrist";

static const void *at(const message *frame, size_t offset, size_t size)
{
    CHECK(offset <= frame->size && size <= frame->size - offset);
    return frame->bytes + offset;
}

/* Copy the record at *offset and step over it. */
static void take(const message *frame, size_t *offset, void *record, size_t size)
{
    memcpy(record, at(frame, *offset, size), size);
    *offset += size;
}

static void put(message *frame, size_t offset, const void *data, size_t size)
{
    CHECK(offset <= CAPACITY && size <= CAPACITY - offset);
    memcpy(frame->bytes + offset, data, size);
    if (frame->size < offset + size) {
        frame->size = offset + size;
    }
}

static void check_damage_is_seen(const message *golden, uint32_t expected)
{
    message damaged = *golden;
    size_t i;
    for (i = 0; i < damaged.size; ++i) {
        const size_t field = offsetof(st4vla_wire_header, crc32c);
        if (i >= field && i < field + sizeof expected) {
            continue;
        }
        damaged.bytes[i] ^= 0x10;
        CHECK(st4vla_message_checksum(damaged.bytes, damaged.size) != expected);
        damaged.bytes[i] ^= 0x10;
    }
}

static st4vla_wire_header load(message *frame, const char *directory, const char *name, st4vla_kind kind,
                               uint64_t sequence, int64_t sent_ns)
{
    char path[1024];
    st4vla_wire_header header;
    size_t offset = 0;
    FILE *file;

    CHECK(snprintf(path, sizeof path, "%s/%s.bin", directory, name) < (int)sizeof path);
    file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
    }
    CHECK(file != NULL);
    frame->size = fread(frame->bytes, 1, CAPACITY, file);
    CHECK(!ferror(file) && frame->size < CAPACITY);
    fclose(file);

    take(frame, &offset, &header, sizeof header);
    CHECK(header.magic == ST4VLA_MAGIC);
    CHECK(header.version == ST4VLA_WIRE_VERSION);
    CHECK(header.kind == kind);
    CHECK(sizeof header + header.payload_bytes == frame->size);
    CHECK(header.crc32c == st4vla_message_checksum(frame->bytes, frame->size));
    CHECK(header.sequence == sequence);
    CHECK(header.sent_ns == sent_ns);
    check_damage_is_seen(frame, header.crc32c);
    return header;
}

/* Put the header before a built payload, as a sender does last. */
static void finish(message *frame, st4vla_kind kind, uint64_t sequence, int64_t sent_ns)
{
    st4vla_wire_header header = {0};
    header.magic = ST4VLA_MAGIC;
    header.version = ST4VLA_WIRE_VERSION;
    header.kind = (uint16_t)kind;
    header.payload_bytes = (uint32_t)(frame->size - sizeof header);
    header.sequence = sequence;
    header.sent_ns = sent_ns;
    put(frame, 0, &header, sizeof header);
    header.crc32c = st4vla_message_checksum(frame->bytes, frame->size);
    put(frame, 0, &header, sizeof header);
}

static void check_same(const message *built, const message *golden)
{
    CHECK(built->size == golden->size);
    CHECK(memcmp(built->bytes, golden->bytes, golden->size) == 0);
}

static st4vla_wire_robot_state robot_state(void)
{
    static const double pose[16] = {0, -1, 0, 0.5, 1, 0, 0, -0.25, 0, 0, 1, 0.375, 0, 0, 0, 1};
    st4vla_wire_robot_state state = {0};
    int joint;
    state.capture_ns = 999000003;
    state.joint_count = 7;
    for (joint = 0; joint < 7; ++joint) {
        state.joint_positions_rad[joint] = joint * 0.25 - 0.75;
        state.joint_velocities_rad_s[joint] = joint * -0.5 + 1.0;
    }
    memcpy(state.base_T_ee, pose, sizeof pose);
    state.gripper_width_m = 0.0625;
    return state;
}

static void check_robot_state(const st4vla_wire_robot_state *state)
{
    const st4vla_wire_robot_state expected = robot_state();
    int i;
    CHECK(state->capture_ns == 999000003);
    CHECK(state->joint_count == 7);
    CHECK(state->reserved == 0);
    for (i = 0; i < ST4VLA_MAX_JOINTS; ++i) {
        CHECK(state->joint_positions_rad[i] == expected.joint_positions_rad[i]);
        CHECK(state->joint_velocities_rad_s[i] == expected.joint_velocities_rad_s[i]);
    }
    for (i = 0; i < 16; ++i) {
        CHECK(state->base_T_ee[i] == expected.base_T_ee[i]);
    }
    CHECK(state->gripper_width_m == 0.0625);
}

static void fill_pixels(unsigned char *pixels)
{
    int i;
    for (i = 0; i < PIXELS; ++i) {
        pixels[i] = (unsigned char)(i * 7);
    }
}

static void fill_jpeg(unsigned char *jpeg)
{
    int i;
    for (i = 0; i < JPEG; ++i) {
        jpeg[i] = (unsigned char)(i - 3);
    }
    memcpy(jpeg, "\xff\xd8\xff\xe0", 4);
    memcpy(jpeg + JPEG - 2, "\xff\xd9", 2);
}

static void read_observation(const message *frame)
{
    st4vla_wire_observation body;
    st4vla_wire_robot_state state;
    st4vla_wire_view views[2];
    unsigned char pixels[PIXELS], jpeg[JPEG];
    size_t offset = sizeof(st4vla_wire_header);

    take(frame, &offset, &body, sizeof body);
    CHECK(body.seed == UINT64_C(0xfedcba9876543210));
    CHECK(body.deadline_ns == 200000000);
    CHECK(body.held_chunk_id == 40 && body.held_received_ns == 998000001);
    CHECK(body.instruction_bytes == strlen(instruction));
    CHECK(body.flags == (ST4VLA_FLAG_ROBOT_STATE | ST4VLA_FLAG_REPLAN | ST4VLA_FLAG_WANTS_PLANS));
    CHECK(body.instruction_encoding == ST4VLA_INSTRUCTION_UTF8);
    CHECK(body.view_count == 2);
    CHECK(body.reserved == 0);
    take(frame, &offset, &state, sizeof state);
    check_robot_state(&state);
    take(frame, &offset, views, sizeof views);
    CHECK(views[0].capture_ns == 999000001 && views[1].capture_ns == 999000002);
    CHECK(strcmp(views[0].name, "agentview") == 0);
    CHECK(memcmp(views[1].name, "sixteen_bytes_ab", ST4VLA_MAX_VIEW_NAME_BYTES) == 0);
    CHECK(views[0].encoding == ST4VLA_IMAGE_RGB8 && views[1].encoding == ST4VLA_IMAGE_JPEG);
    CHECK(views[0].height == 4 && views[0].width == 3 && views[1].height == 4 && views[1].width == 3);
    CHECK(views[0].offset % ST4VLA_VIEW_ALIGNMENT == 0 && views[1].offset % ST4VLA_VIEW_ALIGNMENT == 0);
    CHECK(views[0].bytes == PIXELS && views[1].bytes == JPEG);
    CHECK(memcmp(at(frame, offset, body.instruction_bytes), instruction, body.instruction_bytes) == 0);
    fill_pixels(pixels);
    fill_jpeg(jpeg);
    CHECK(memcmp(at(frame, views[0].offset, PIXELS), pixels, PIXELS) == 0);
    CHECK(memcmp(at(frame, views[1].offset, JPEG), jpeg, JPEG) == 0);
}

static void build_observation(message *frame)
{
    st4vla_wire_observation body = {0};
    const st4vla_wire_robot_state state = robot_state();
    st4vla_wire_view views[2];
    unsigned char pictures[2][PIXELS];
    const size_t mask = ST4VLA_VIEW_ALIGNMENT - 1;
    size_t offset = sizeof(st4vla_wire_header), end;
    int i;

    memset(frame, 0, sizeof *frame);
    memset(views, 0, sizeof views);
    body.seed = UINT64_C(0xfedcba9876543210);
    body.deadline_ns = 200000000;
    body.held_chunk_id = 40;
    body.held_received_ns = 998000001;
    body.instruction_bytes = (uint32_t)strlen(instruction);
    body.flags = ST4VLA_FLAG_ROBOT_STATE | ST4VLA_FLAG_REPLAN | ST4VLA_FLAG_WANTS_PLANS;
    body.instruction_encoding = ST4VLA_INSTRUCTION_UTF8;
    body.view_count = 2;
    fill_pixels(pictures[0]);
    fill_jpeg(pictures[1]);
    memcpy(views[0].name, "agentview", 9);
    memcpy(views[1].name, "sixteen_bytes_ab", 16);
    views[0].bytes = PIXELS;
    views[1].bytes = JPEG;
    views[0].encoding = ST4VLA_IMAGE_RGB8;
    views[1].encoding = ST4VLA_IMAGE_JPEG;

    put(frame, offset, &body, sizeof body);
    put(frame, offset += sizeof body, &state, sizeof state);
    offset += sizeof state;
    end = offset + sizeof views + body.instruction_bytes;
    for (i = 0; i < 2; ++i) {
        views[i].capture_ns = 999000001 + i;
        views[i].height = 4;
        views[i].width = 3;
        views[i].offset = (uint32_t)((end + mask) & ~mask);
        put(frame, views[i].offset, pictures[i], views[i].bytes);
        end = views[i].offset + views[i].bytes;
    }
    put(frame, offset, views, sizeof views);
    put(frame, offset + sizeof views, instruction, body.instruction_bytes);
    finish(frame, ST4VLA_KIND_OBSERVATION, 3, 1000000003);
}

static void read_action_chunk(const message *frame)
{
    st4vla_wire_action_chunk body;
    float actions[ACTIONS];
    size_t offset = sizeof(st4vla_wire_header);
    int i;

    take(frame, &offset, &body, sizeof body);
    CHECK(body.chunk_id == 41);
    CHECK(body.observation_sequence == 3);
    CHECK(body.observation_sent_ns == 1000000003);
    CHECK(body.frame_capture_ns == 999000001);
    CHECK(body.start_ns == 1010000001);
    CHECK(body.plan_id == 12);
    CHECK(body.plan_capture_ns == 900000001);
    CHECK(body.seed == UINT64_C(0xfedcba9876543210));
    CHECK(body.received_ns == INT64_C(77000000005));
    CHECK(body.inference_ns == 21000000);
    CHECK(body.frame_age_ns == 23000000 && body.plan_age_ns == 122000000);
    CHECK(body.period_ns == 50000000);
    CHECK(body.frames_superseded == 5);
    CHECK(body.horizon == 4 && body.action_dim == 7 && body.gripper_index == 6);
    CHECK(body.representation == ST4VLA_ACTION_EE_DELTA);
    CHECK(body.frozen_steps == 2 && body.pace == ST4VLA_PACE_SLOW && body.reserved == 0);
    take(frame, &offset, actions, sizeof actions);
    CHECK(offset == frame->size);
    for (i = 0; i < ACTIONS; ++i) {
        CHECK(actions[i] == (float)i * 0.125f - 1.0f);
    }
}

static void build_action_chunk(message *frame)
{
    st4vla_wire_action_chunk body = {0};
    float actions[ACTIONS];
    int i;

    memset(frame, 0, sizeof *frame);
    body.chunk_id = 41;
    body.observation_sequence = 3;
    body.observation_sent_ns = 1000000003;
    body.frame_capture_ns = 999000001;
    body.start_ns = 1010000001;
    body.plan_id = 12;
    body.plan_capture_ns = 900000001;
    body.seed = UINT64_C(0xfedcba9876543210);
    body.received_ns = INT64_C(77000000005);
    body.inference_ns = 21000000;
    body.frame_age_ns = 23000000;
    body.plan_age_ns = 122000000;
    body.period_ns = 50000000;
    body.frames_superseded = 5;
    body.horizon = 4;
    body.action_dim = 7;
    body.gripper_index = 6;
    body.representation = ST4VLA_ACTION_EE_DELTA;
    body.frozen_steps = 2;
    body.pace = ST4VLA_PACE_SLOW;
    for (i = 0; i < ACTIONS; ++i) {
        actions[i] = (float)i * 0.125f - 1.0f;
    }
    put(frame, sizeof(st4vla_wire_header), &body, sizeof body);
    put(frame, sizeof(st4vla_wire_header) + sizeof body, actions, sizeof actions);
    finish(frame, ST4VLA_KIND_ACTION_CHUNK, 4, INT64_C(77000000004));
}

static void read_welcome(const message *frame)
{
    st4vla_wire_welcome body;
    st4vla_wire_welcome_view views[2];
    size_t offset = sizeof(st4vla_wire_header);
    int i;

    take(frame, &offset, &body, sizeof body);
    CHECK(body.period_ns == 50000000 && body.horizon == 16 && body.action_dim == 8);
    CHECK(body.frame_slow_ns == 150000000 && body.frame_hold_ns == 250000000 && body.frame_stop_ns == 1000000000);
    CHECK(body.plan_slow_ns == 0 && body.plan_hold_ns == 0 && body.plan_stop_ns == INT64_C(5000000000));
    CHECK(body.gripper_index == ST4VLA_NO_GRIPPER);
    CHECK(body.representation == ST4VLA_ACTION_JOINT_POSITION);
    CHECK(body.view_count == 2 && body.health == ST4VLA_HEALTH_DEGRADED && body.reserved == 0);
    for (i = 0; i < 32; ++i) {
        CHECK(body.bundle_digest[i] == i);
    }
    CHECK(strcmp(body.bundle_name, "pick-cube") == 0);
    take(frame, &offset, views, sizeof views);
    CHECK(offset == frame->size);
    CHECK(views[0].height == 224 && views[0].width == 256 && strcmp(views[0].name, "agentview") == 0);
    CHECK(views[1].height == 112 && views[1].width == 96 && strcmp(views[1].name, "wrist") == 0);
}

static void read_plan(const message *frame)
{
    st4vla_wire_plan body;
    size_t offset = sizeof(st4vla_wire_header);
    take(frame, &offset, &body, sizeof body);
    CHECK(offset == frame->size);
    CHECK(body.plan_id == 12 && body.observation_sequence == 3 && body.frame_capture_ns == 999000001);
    CHECK(body.inference_ns == 180000000 && body.token_count == 321);
    CHECK(body.reason == ST4VLA_PLAN_REASON_CHANGE && body.reserved == 0);
}

static void read_error(const message *frame)
{
    st4vla_wire_error body;
    size_t offset = sizeof(st4vla_wire_header);
    take(frame, &offset, &body, sizeof body);
    CHECK(body.observation_sequence == 3 && body.code == ST4VLA_ERROR_OBSERVATION && body.reserved == 0);
    CHECK(body.message_bytes == strlen(error_text));
    CHECK(offset + body.message_bytes == frame->size);
    CHECK(memcmp(at(frame, offset, body.message_bytes), error_text, body.message_bytes) == 0);
}

int main(int argc, char **argv)
{
    static message golden, built;
    st4vla_wire_robot_state state;
    size_t offset = sizeof(st4vla_wire_header);
    const char *directory = argc == 2 ? argv[1] : NULL;

    if (directory == NULL) {
        fprintf(stderr, "usage: test_wire_c DIRECTORY_OF_GOLDEN_MESSAGES\n");
        return 2;
    }
    CHECK(st4vla_crc32c(0, "123456789", 9) == UINT32_C(0xe3069283)); /* the check value of the CRC catalogues */
    CHECK(st4vla_crc32c(st4vla_crc32c(0, "1234", 4), "56789", 5) == UINT32_C(0xe3069283));
    CHECK(st4vla_message_checksum("short", 5) == 0);

    CHECK(load(&golden, directory, "hello", ST4VLA_KIND_HELLO, 1, 1000000001).payload_bytes == 0);
    CHECK(load(&golden, directory, "goodbye", ST4VLA_KIND_GOODBYE, 8, 1000000008).payload_bytes == 0);
    load(&golden, directory, "welcome", ST4VLA_KIND_WELCOME, 2, 1000000002);
    read_welcome(&golden);
    load(&golden, directory, "plan", ST4VLA_KIND_PLAN, 5, INT64_C(77000000006));
    read_plan(&golden);
    load(&golden, directory, "error", ST4VLA_KIND_ERROR, 7, INT64_C(77000000007));
    read_error(&golden);
    load(&golden, directory, "robot_state", ST4VLA_KIND_ROBOT_STATE, 6, 1000000006);
    take(&golden, &offset, &state, sizeof state);
    CHECK(offset == golden.size);
    check_robot_state(&state);
    load(&golden, directory, "observation", ST4VLA_KIND_OBSERVATION, 3, 1000000003);
    read_observation(&golden);
    build_observation(&built);
    check_same(&built, &golden);
    load(&golden, directory, "action_chunk", ST4VLA_KIND_ACTION_CHUNK, 4, INT64_C(77000000004));
    read_action_chunk(&golden);
    build_action_chunk(&built);
    check_same(&built, &golden);
    return 0;
}
