// The codec against the golden messages, and against messages that are wrong in one thing each.
// Values: tests/contracts/golden_messages.py.
#include <limits>
#include <memory>

#include "golden.h"
#include "st4vla/message.h"

namespace {

constexpr std::size_t kHeader = sizeof(st4vla_wire_header);
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

st4vla_status decode_observation(const Bytes &frame)
{
    st4vla_observation observation;
    return st4vla_decode_observation(frame.data(), frame.size(), &observation);
}

st4vla_status decode_chunk(const Bytes &frame)
{
    static st4vla_chunk chunk;
    return st4vla_decode_chunk(frame.data(), frame.size(), &chunk);
}

st4vla_status decode_welcome(const Bytes &frame)
{
    st4vla_welcome welcome;
    return st4vla_decode_welcome(frame.data(), frame.size(), &welcome);
}

st4vla_status decode_plan(const Bytes &frame)
{
    st4vla_plan plan;
    return st4vla_decode_plan(frame.data(), frame.size(), &plan);
}

st4vla_status decode_error(const Bytes &frame)
{
    st4vla_error_reply reply;
    return st4vla_decode_error(frame.data(), frame.size(), &reply);
}

using Decode = st4vla_status (*)(const Bytes &);

void observation_is_read_and_written_bit_for_bit(const Bytes &golden)
{
    st4vla_observation read;
    CHECK(st4vla_decode_observation(golden.data(), golden.size(), &read) == ST4VLA_OK);
    CHECK(read.sequence == 3 && read.sent_ns == 1'000'000'003 && read.seed == 0xfedcba9876543210);
    CHECK(read.deadline_ns == 200'000'000 && read.held_chunk_id == 40 && read.held_received_ns == 998'000'001);
    CHECK(std::string(read.instruction, read.instruction_bytes) == "lift the caf\xc3\xa9 cup");
    CHECK(read.flags == (ST4VLA_FLAG_ROBOT_STATE | ST4VLA_FLAG_REPLAN | ST4VLA_FLAG_WANTS_PLANS));
    CHECK(read.robot_state.joint_count == 7 && read.robot_state.gripper_width_m == 0.0625);
    CHECK(read.view_count == 2 && std::string(read.views[0].name) == "agentview");
    CHECK(std::string(read.views[1].name) == "sixteen_bytes_ab");
    CHECK(read.views[0].encoding == ST4VLA_IMAGE_RGB8 && read.views[1].encoding == ST4VLA_IMAGE_JPEG);
    CHECK(read.views[0].bytes == 36 && read.views[0].data[5] == 35 && read.views[1].data[0] == 0xff);

    std::size_t size = 0;
    CHECK(st4vla_encode_observation(&read, nullptr, 0, &size) == ST4VLA_TOO_SMALL && size == golden.size());
    Bytes written(size, 0xaa);
    CHECK(st4vla_encode_observation(&read, written.data(), size - 1, &size) == ST4VLA_TOO_SMALL);
    CHECK(st4vla_encode_observation(&read, written.data(), size, &size) == ST4VLA_OK && written == golden);
}

void chunk_is_read_and_written_bit_for_bit(const Bytes &golden)
{
    const auto read = std::make_unique<st4vla_chunk>();
    CHECK(st4vla_decode_chunk(golden.data(), golden.size(), read.get()) == ST4VLA_OK);
    CHECK(read->sequence == 4 && read->sent_ns == 77'000'000'004 && read->received_ns == 0);
    CHECK(read->body.chunk_id == 41 && read->body.horizon == 4 && read->body.action_dim == 7);
    CHECK(read->actions[0] == -1.0f && read->actions[27] == 27 * 0.125f - 1.0f);

    std::size_t size = 0;
    Bytes written(golden.size());
    CHECK(st4vla_encode_chunk(read.get(), read->actions, written.data(), written.size(), &size) == ST4VLA_OK);
    CHECK(size == golden.size() && written == golden);

    // Nothing says that a frame is aligned.
    Bytes shifted(golden.size() + 1);
    std::memcpy(shifted.data() + 1, golden.data(), golden.size());
    CHECK(st4vla_decode_chunk(shifted.data() + 1, golden.size(), read.get()) == ST4VLA_OK);
}

void answers_are_read(const std::string &directory)
{
    const Bytes welcome_frame = load(directory, "welcome"), plan_frame = load(directory, "plan");
    const Bytes error_frame = load(directory, "error");
    st4vla_welcome welcome;
    CHECK(st4vla_decode_welcome(welcome_frame.data(), welcome_frame.size(), &welcome) == ST4VLA_OK);
    CHECK(welcome.body.horizon == 16 && welcome.body.plan_stop_ns == 5'000'000'000 && welcome.sequence == 2);
    CHECK(std::string(welcome.body.bundle_name) == "pick-cube" && std::string(welcome.views[1].name) == "wrist");
    st4vla_plan plan;
    CHECK(st4vla_decode_plan(plan_frame.data(), plan_frame.size(), &plan) == ST4VLA_OK);
    CHECK(plan.body.plan_id == 12 && plan.body.token_count == 321 && plan.sent_ns == 77'000'000'006);
    st4vla_error_reply reply;
    CHECK(st4vla_decode_error(error_frame.data(), error_frame.size(), &reply) == ST4VLA_OK);
    CHECK(reply.code == ST4VLA_ERROR_OBSERVATION && reply.observation_sequence == 3);
    CHECK(std::string(reply.text, reply.text_bytes) == "view 'wrist' is missing; send agentview, wrist");
}

void bare_messages_are_written_bit_for_bit(const std::string &directory)
{
    unsigned char frame[kHeader];
    std::size_t size = 0;
    CHECK(st4vla_encode_hello(1, 1'000'000'001, frame, sizeof frame, &size) == ST4VLA_OK);
    CHECK(Bytes(frame, frame + size) == load(directory, "hello"));
    CHECK(st4vla_encode_goodbye(8, 1'000'000'008, frame, sizeof frame, &size) == ST4VLA_OK);
    CHECK(Bytes(frame, frame + size) == load(directory, "goodbye"));
}

void bytes_that_are_no_message_are_refused_by_name(const Bytes &chunk)
{
    const Bytes nothing;
    st4vla_wire_header header;
    CHECK(st4vla_decode_header(chunk.data(), chunk.size(), &header) == ST4VLA_OK);
    CHECK(header.kind == ST4VLA_KIND_ACTION_CHUNK);
    CHECK(st4vla_decode_header(chunk.data(), 0, &header) == ST4VLA_FOREIGN_MESSAGE);
    CHECK(st4vla_decode_header("GET / HTTP/1.1\r\n", 16, &header) == ST4VLA_FOREIGN_MESSAGE);
    CHECK(st4vla_decode_header(chunk.data(), kHeader - 1, &header) == ST4VLA_TRUNCATED_MESSAGE);
    CHECK(st4vla_decode_header(chunk.data(), chunk.size() - 1, &header) == ST4VLA_TRUNCATED_MESSAGE);
    CHECK(decode_chunk(with<uint16_t>(chunk, 4, ST4VLA_WIRE_VERSION + 1)) == ST4VLA_OTHER_WIRE);
    CHECK(decode_chunk(with<uint16_t>(chunk, 6, 0)) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(decode_chunk(with<uint16_t>(chunk, 6, 9)) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(decode_plan(chunk) == ST4VLA_UNEXPECTED_KIND);
    for (std::size_t i = 0; i < chunk.size(); ++i) {
        Bytes damaged = chunk;
        damaged[i] ^= 0x40;
        CHECK(decode_chunk(damaged) != ST4VLA_OK);
    }
}

void chunks_that_cannot_be_are_refused(const Bytes &golden)
{
    const auto at = [](std::size_t field) { return kHeader + field; };
    using Body = st4vla_wire_action_chunk;
    const std::size_t actions = kHeader + sizeof(Body);
    CHECK(decode_chunk(with<float>(golden, actions + 8, static_cast<float>(kNan))) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(decode_chunk(with<float>(golden, actions, std::numeric_limits<float>::infinity())) ==
          ST4VLA_MALFORMED_MESSAGE);
    CHECK(decode_chunk(with<uint16_t>(golden, at(offsetof(Body, horizon)), 5)) == ST4VLA_TRUNCATED_MESSAGE);
    CHECK(decode_chunk(with<uint16_t>(golden, at(offsetof(Body, horizon)), 3)) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(decode_chunk(with<uint16_t>(golden, at(offsetof(Body, horizon)), 65535)) == ST4VLA_TRUNCATED_MESSAGE);
    CHECK(decode_chunk(with<int16_t>(golden, at(offsetof(Body, gripper_index)), 7)) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(decode_chunk(with<int16_t>(golden, at(offsetof(Body, gripper_index)), -2)) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(decode_chunk(with<int16_t>(golden, at(offsetof(Body, gripper_index)), -1)) == ST4VLA_OK);
    CHECK(decode_chunk(with<int64_t>(golden, at(offsetof(Body, period_ns)), 0)) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(decode_chunk(with<uint16_t>(golden, at(offsetof(Body, representation)), 4)) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(decode_chunk(with<uint16_t>(golden, at(offsetof(Body, pace)), 0)) == ST4VLA_MALFORMED_MESSAGE);

    Bytes none = with<uint16_t>(golden, at(offsetof(Body, horizon)), 0);
    none.resize(actions);
    seal(none);
    CHECK(decode_chunk(none) == ST4VLA_MALFORMED_MESSAGE);
    Bytes large = with<uint16_t>(golden, at(offsetof(Body, horizon)), 1000);
    large.resize(actions + std::size_t{1000} * 7 * sizeof(float));
    seal(large);
    CHECK(decode_chunk(large) == ST4VLA_TOO_SMALL);
}

void observations_that_cannot_be_are_refused(const Bytes &golden)
{
    using Body = st4vla_wire_observation;
    using State = st4vla_wire_robot_state;
    using View = st4vla_wire_view;
    const auto body = [](std::size_t field) { return kHeader + field; };
    const auto state = [](std::size_t field) { return kHeader + sizeof(Body) + field; };
    const auto view = [](std::size_t field) { return kHeader + sizeof(Body) + sizeof(State) + field; };
    const std::size_t instruction = view(2 * sizeof(View));
    const auto refused = [&](std::size_t at, auto value) { return decode_observation(with(golden, at, value)); };
    constexpr auto kMalformed = ST4VLA_MALFORMED_MESSAGE;

    CHECK(refused(body(offsetof(Body, view_count)), uint16_t{0}) == kMalformed);
    CHECK(refused(body(offsetof(Body, view_count)), uint16_t{9}) == kMalformed);
    CHECK(refused(body(offsetof(Body, instruction_encoding)), uint16_t{2}) == kMalformed);
    CHECK(refused(body(offsetof(Body, instruction_bytes)), uint32_t{4097}) == kMalformed);
    CHECK(refused(body(offsetof(Body, instruction_bytes)), uint32_t{4096}) == ST4VLA_TRUNCATED_MESSAGE);
    CHECK(refused(body(offsetof(Body, deadline_ns)), int64_t{-1}) == kMalformed);
    CHECK(refused(state(offsetof(State, joint_count)), uint32_t{17}) == kMalformed);
    CHECK(refused(state(offsetof(State, joint_velocities_rad_s)), kNan) == kMalformed);
    CHECK(refused(state(offsetof(State, base_T_ee) + 120), kNan) == kMalformed);
    CHECK(refused(state(offsetof(State, gripper_width_m)), kNan) == kMalformed);
    CHECK(refused(view(offsetof(View, offset)), uint32_t{8}) == kMalformed);
    CHECK(refused(view(offsetof(View, offset)), uint32_t{0xffffffff}) == kMalformed);
    CHECK(refused(view(offsetof(View, bytes)), uint32_t{35}) == kMalformed);
    CHECK(refused(view(offsetof(View, height)), uint16_t{8193}) == kMalformed);
    CHECK(refused(view(offsetof(View, width)), uint16_t{0}) == kMalformed);
    CHECK(refused(view(offsetof(View, encoding)), uint16_t{3}) == kMalformed);
    CHECK(refused(view(offsetof(View, name)), char{0}) == kMalformed);
    CHECK(refused(view(offsetof(View, name) + 2), char{0}) == kMalformed);
    CHECK(refused(view(offsetof(View, name)), static_cast<char>(0xc3)) == kMalformed);
    CHECK(refused(instruction + 12, char{' '}) == kMalformed);
    // The second picture where the first one is.
    st4vla_wire_view first;
    std::memcpy(&first, golden.data() + view(0), sizeof first);
    CHECK(refused(view(sizeof(View) + offsetof(View, offset)), first.offset) == kMalformed);
}

void answers_that_cannot_be_are_refused(const std::string &directory)
{
    const Bytes welcome = load(directory, "welcome"), error = load(directory, "error"), plan = load(directory, "plan");
    using Welcome = st4vla_wire_welcome;
    const auto refused = [&](std::size_t field, auto value) {
        return decode_welcome(with(welcome, kHeader + field, value));
    };
    CHECK(refused(offsetof(Welcome, view_count), uint16_t{0}) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(refused(offsetof(Welcome, view_count), uint16_t{3}) == ST4VLA_TRUNCATED_MESSAGE);
    CHECK(refused(offsetof(Welcome, view_count), uint16_t{1}) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(refused(offsetof(Welcome, health), uint16_t{4}) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(refused(offsetof(Welcome, frame_hold_ns), int64_t{1}) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(refused(offsetof(Welcome, plan_slow_ns), int64_t{-1}) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(refused(offsetof(Welcome, bundle_name), static_cast<char>(0xff)) == ST4VLA_MALFORMED_MESSAGE);
    CHECK(decode_plan(with<uint16_t>(plan, kHeader + offsetof(st4vla_wire_plan, reason), 6)) ==
          ST4VLA_MALFORMED_MESSAGE);
    CHECK(decode_error(with<uint16_t>(error, kHeader + offsetof(st4vla_wire_error, code), 15)) ==
          ST4VLA_MALFORMED_MESSAGE);
    CHECK(decode_error(with<uint32_t>(error, kHeader + offsetof(st4vla_wire_error, message_bytes), 500)) ==
          ST4VLA_TRUNCATED_MESSAGE);
}

/// With sanitizers, this is where reading past an end would show.
void no_length_and_no_byte_leads_astray(const Bytes &golden, Decode decode)
{
    for (std::size_t size = kHeader; size < golden.size(); ++size) {
        Bytes cut(golden.begin(), golden.begin() + static_cast<std::ptrdiff_t>(size));
        seal(cut);
        CHECK(decode(cut) != ST4VLA_OK);
    }
    for (std::size_t i = kHeader; i < golden.size(); ++i) {
        for (const unsigned char value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
            decode(with(golden, i, value));
        }
    }
}

void what_the_wire_cannot_carry_is_not_written(const Bytes &golden)
{
    st4vla_observation good;
    CHECK(st4vla_decode_observation(golden.data(), golden.size(), &good) == ST4VLA_OK);
    Bytes frame(golden.size());
    const auto encode = [&](const st4vla_observation &observation) {
        std::size_t size = 0;
        return st4vla_encode_observation(&observation, frame.data(), frame.size(), &size);
    };
    st4vla_observation bad = good;
    bad.view_count = 0;
    CHECK(encode(bad) == ST4VLA_BAD_ARGUMENT && std::strstr(st4vla_detail(), "0 views") != nullptr);
    (bad = good).views[0].bytes = 35;
    CHECK(encode(bad) == ST4VLA_BAD_ARGUMENT && std::strstr(st4vla_detail(), "needs 36 bytes") != nullptr);
    (bad = good).views[1].data = nullptr;
    CHECK(encode(bad) == ST4VLA_BAD_ARGUMENT);
    std::memset((bad = good).views[0].name, 'x', sizeof bad.views[0].name);
    CHECK(encode(bad) == ST4VLA_BAD_ARGUMENT);
    (bad = good).instruction = "\xff";
    bad.instruction_bytes = 1;
    CHECK(encode(bad) == ST4VLA_BAD_ARGUMENT);
    (bad = good).robot_state.base_T_ee[3] = kNan;
    CHECK(encode(bad) == ST4VLA_BAD_ARGUMENT);
    bad.flags &= ~ST4VLA_FLAG_ROBOT_STATE;
    CHECK(encode(bad) == ST4VLA_OK);
    (bad = good).flags |= 0x100;
    CHECK(encode(bad) == ST4VLA_BAD_ARGUMENT);
}

void fast_checksum_is_the_headers()
{
    Bytes data(20'000);
    uint32_t state = 1;
    for (unsigned char &byte : data) {
        state = state * 1664525u + 1013904223u;
        byte = static_cast<unsigned char>(state >> 24);
    }
    for (std::size_t size = 0; size + 8 < data.size(); size += size < 300 ? 1 : size / 5) {
        for (std::size_t start : {0u, 1u, 7u}) {
            const uint32_t before = static_cast<uint32_t>(size) * 2654435761u;
            CHECK(st4vla_fast_crc32c(before, data.data() + start, size) ==
                  st4vla_crc32c(before, data.data() + start, size));
        }
    }
}

}  // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: test_codec DIRECTORY_OF_GOLDEN_MESSAGES\n");
        return 2;
    }
    const std::string directory = argv[1];
    const Bytes observation = load(directory, "observation"), chunk = load(directory, "action_chunk");
    fast_checksum_is_the_headers();
    observation_is_read_and_written_bit_for_bit(observation);
    chunk_is_read_and_written_bit_for_bit(chunk);
    answers_are_read(directory);
    bare_messages_are_written_bit_for_bit(directory);
    bytes_that_are_no_message_are_refused_by_name(chunk);
    chunks_that_cannot_be_are_refused(chunk);
    observations_that_cannot_be_are_refused(observation);
    answers_that_cannot_be_are_refused(directory);
    no_length_and_no_byte_leads_astray(chunk, decode_chunk);
    no_length_and_no_byte_leads_astray(observation, decode_observation);
    no_length_and_no_byte_leads_astray(load(directory, "welcome"), decode_welcome);
    no_length_and_no_byte_leads_astray(load(directory, "plan"), decode_plan);
    no_length_and_no_byte_leads_astray(load(directory, "error"), decode_error);
    what_the_wire_cannot_carry_is_not_written(observation);
    return 0;
}
