// The same header from C++17: reads the golden messages by struct and builds two of them anew.
// Values: tests/contracts/golden_messages.py.
#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "check.h"
#include "st4vla/crc32c.h"
#include "st4vla/wire.h"

namespace {

using Bytes = std::vector<unsigned char>;

constexpr std::uint64_t kSeed = 0xfedcba9876543210;
const std::string kInstruction = "lift the caf\xc3\xa9 cup";
const std::string kSecondName = "sixteen_bytes_ab";

// Takes records off a message in order.
class Reader {
public:
    explicit Reader(const Bytes& message) : message_(message) {}

    template <typename T>
    T take() {
        static_assert(std::is_trivially_copyable_v<T>);
        T value;
        std::memcpy(&value, at(offset_, sizeof(T)), sizeof(T));
        offset_ += sizeof(T);
        return value;
    }

    std::string text(std::size_t size) {
        const unsigned char* first = at(offset_, size);
        offset_ += size;
        return {first, first + size};
    }

    Bytes bytes(std::size_t offset, std::size_t size) const {
        const unsigned char* first = at(offset, size);
        return {first, first + size};
    }

    bool ended() const { return offset_ == message_.size(); }

private:
    const unsigned char* at(std::size_t offset, std::size_t size) const {
        CHECK(offset <= message_.size() && size <= message_.size() - offset);
        return message_.data() + offset;
    }

    const Bytes& message_;
    std::size_t offset_ = 0;
};

void append(Bytes& message, const void* data, std::size_t size) {
    const auto* first = static_cast<const unsigned char*>(data);
    message.insert(message.end(), first, first + size);
}

void finish(Bytes& message, st4vla_kind kind, std::uint64_t sequence, std::int64_t sent_ns) {
    st4vla_wire_header header{};
    header.magic = ST4VLA_MAGIC;
    header.version = ST4VLA_WIRE_VERSION;
    header.kind = static_cast<std::uint16_t>(kind);
    header.payload_bytes = static_cast<std::uint32_t>(message.size() - sizeof header);
    header.sequence = sequence;
    header.sent_ns = sent_ns;
    std::memcpy(message.data(), &header, sizeof header);
    header.crc32c = st4vla_message_checksum(message.data(), message.size());
    std::memcpy(message.data(), &header, sizeof header);
}

Bytes load(const std::string& directory, const std::string& name) {
    std::ifstream file(directory + "/" + name + ".bin", std::ios::binary);
    CHECK(file.good());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Reader open(const Bytes& message, st4vla_kind kind, std::uint64_t sequence, std::int64_t sent_ns) {
    Reader reader(message);
    const auto header = reader.take<st4vla_wire_header>();
    CHECK(header.magic == ST4VLA_MAGIC && header.version == ST4VLA_WIRE_VERSION);
    CHECK(header.kind == kind);
    CHECK(sizeof header + header.payload_bytes == message.size());
    CHECK(header.crc32c == st4vla_message_checksum(message.data(), message.size()));
    CHECK(header.sequence == sequence && header.sent_ns == sent_ns);
    Bytes damaged = message;
    damaged.back() ^= 1;
    CHECK(header.crc32c != st4vla_message_checksum(damaged.data(), damaged.size()));
    return reader;
}

st4vla_wire_robot_state robot_state() {
    constexpr double pose[16] = {0, -1, 0, 0.5, 1, 0, 0, -0.25, 0, 0, 1, 0.375, 0, 0, 0, 1};
    st4vla_wire_robot_state state{};
    state.capture_ns = 999'000'003;
    state.joint_count = 7;
    for (int joint = 0; joint < 7; ++joint) {
        state.joint_positions_rad[joint] = joint * 0.25 - 0.75;
        state.joint_velocities_rad_s[joint] = joint * -0.5 + 1.0;
    }
    std::copy(std::begin(pose), std::end(pose), state.base_T_ee);
    state.gripper_width_m = 0.0625;
    return state;
}

void check_robot_state(const st4vla_wire_robot_state& got) {
    const auto expected = robot_state();
    CHECK(got.capture_ns == expected.capture_ns && got.joint_count == 7 && got.reserved == 0);
    CHECK(std::equal(std::begin(got.joint_positions_rad), std::end(got.joint_positions_rad),
                     expected.joint_positions_rad));
    CHECK(std::equal(std::begin(got.joint_velocities_rad_s), std::end(got.joint_velocities_rad_s),
                     expected.joint_velocities_rad_s));
    CHECK(std::equal(std::begin(got.base_T_ee), std::end(got.base_T_ee), expected.base_T_ee));
    CHECK(got.gripper_width_m == expected.gripper_width_m);
}

// The two pictures of the observation: RGB, then bytes that begin and end as a JPEG.
std::array<Bytes, 2> pictures() {
    Bytes pixels(36);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
        pixels[i] = static_cast<unsigned char>(i * 7);
    }
    Bytes jpeg{0xff, 0xd8, 0xff, 0xe0};
    jpeg.resize(4 + 15);
    std::iota(jpeg.begin() + 4, jpeg.end(), static_cast<unsigned char>(1));
    jpeg.push_back(0xff);
    jpeg.push_back(0xd9);
    return {pixels, jpeg};
}

void read_observation(Reader reader) {
    const auto body = reader.take<st4vla_wire_observation>();
    CHECK(body.seed == kSeed && body.deadline_ns == 200'000'000);
    CHECK(body.held_chunk_id == 40 && body.held_received_ns == 998'000'001);
    CHECK(body.flags == (ST4VLA_FLAG_ROBOT_STATE | ST4VLA_FLAG_REPLAN | ST4VLA_FLAG_WANTS_PLANS));
    CHECK(body.instruction_encoding == ST4VLA_INSTRUCTION_UTF8 && body.view_count == 2 && body.reserved == 0);
    check_robot_state(reader.take<st4vla_wire_robot_state>());
    const auto views = reader.take<std::array<st4vla_wire_view, 2>>();
    CHECK(reader.text(body.instruction_bytes) == kInstruction);
    CHECK(std::string(views[0].name) == "agentview");
    CHECK(std::string(views[1].name, sizeof views[1].name) == kSecondName);
    CHECK(views[0].encoding == ST4VLA_IMAGE_RGB8 && views[1].encoding == ST4VLA_IMAGE_JPEG);
    const auto expected = pictures();
    for (std::size_t i = 0; i < views.size(); ++i) {
        CHECK(views[i].capture_ns == 999'000'001 + static_cast<std::int64_t>(i));
        CHECK(views[i].height == 4 && views[i].width == 3 && views[i].reserved == 0);
        CHECK(views[i].offset % ST4VLA_VIEW_ALIGNMENT == 0);
        CHECK(reader.bytes(views[i].offset, views[i].bytes) == expected[i]);
    }
}

Bytes build_observation() {
    st4vla_wire_observation body{};
    body.seed = kSeed;
    body.deadline_ns = 200'000'000;
    body.held_chunk_id = 40;
    body.held_received_ns = 998'000'001;
    body.instruction_bytes = static_cast<std::uint32_t>(kInstruction.size());
    body.flags = ST4VLA_FLAG_ROBOT_STATE | ST4VLA_FLAG_REPLAN | ST4VLA_FLAG_WANTS_PLANS;
    body.instruction_encoding = ST4VLA_INSTRUCTION_UTF8;
    body.view_count = 2;
    const auto state = robot_state();
    const auto images = pictures();
    std::array<st4vla_wire_view, 2> views{};
    std::size_t end = sizeof(st4vla_wire_header) + sizeof body + sizeof state + sizeof views + kInstruction.size();
    for (std::size_t i = 0; i < views.size(); ++i) {
        const std::string name = i == 0 ? "agentview" : kSecondName;
        end = (end + ST4VLA_VIEW_ALIGNMENT - 1) / ST4VLA_VIEW_ALIGNMENT * ST4VLA_VIEW_ALIGNMENT;
        views[i].capture_ns = 999'000'001 + static_cast<std::int64_t>(i);
        views[i].offset = static_cast<std::uint32_t>(end);
        views[i].bytes = static_cast<std::uint32_t>(images[i].size());
        views[i].height = 4;
        views[i].width = 3;
        views[i].encoding = i == 0 ? ST4VLA_IMAGE_RGB8 : ST4VLA_IMAGE_JPEG;
        name.copy(views[i].name, sizeof views[i].name);
        end += images[i].size();
    }
    Bytes message(sizeof(st4vla_wire_header));
    append(message, &body, sizeof body);
    append(message, &state, sizeof state);
    append(message, views.data(), sizeof views);
    append(message, kInstruction.data(), kInstruction.size());
    for (std::size_t i = 0; i < views.size(); ++i) {
        message.resize(views[i].offset);
        append(message, images[i].data(), images[i].size());
    }
    finish(message, ST4VLA_KIND_OBSERVATION, 3, 1'000'000'003);
    return message;
}

std::array<float, 28> actions() {
    std::array<float, 28> values{};
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(i) * 0.125F - 1.0F;
    }
    return values;
}

void read_action_chunk(Reader reader) {
    const auto body = reader.take<st4vla_wire_action_chunk>();
    CHECK(body.chunk_id == 41 && body.observation_sequence == 3 && body.observation_sent_ns == 1'000'000'003);
    CHECK(body.frame_capture_ns == 999'000'001 && body.plan_id == 12 && body.plan_capture_ns == 900'000'001);
    CHECK(body.seed == kSeed && body.received_ns == 77'000'000'005 && body.inference_ns == 21'000'000);
    CHECK(body.period_ns == 50'000'000 && body.frames_superseded == 5);
    CHECK(body.horizon == 4 && body.action_dim == 7 && body.gripper_index == 6);
    CHECK(body.representation == ST4VLA_ACTION_EE_DELTA && body.start_ns == 1'010'000'001);
    CHECK(body.frame_age_ns == 23'000'000 && body.plan_age_ns == 122'000'000);
    CHECK(body.frozen_steps == 2 && body.pace == ST4VLA_PACE_SLOW);
    CHECK((reader.take<std::array<float, 28>>() == actions()));
    CHECK(reader.ended());
}

Bytes build_action_chunk() {
    st4vla_wire_action_chunk body{};
    body.chunk_id = 41;
    body.observation_sequence = 3;
    body.observation_sent_ns = 1'000'000'003;
    body.frame_capture_ns = 999'000'001;
    body.start_ns = 1'010'000'001;
    body.plan_id = 12;
    body.plan_capture_ns = 900'000'001;
    body.seed = kSeed;
    body.received_ns = 77'000'000'005;
    body.inference_ns = 21'000'000;
    body.frame_age_ns = 23'000'000;
    body.plan_age_ns = 122'000'000;
    body.period_ns = 50'000'000;
    body.frames_superseded = 5;
    body.horizon = 4;
    body.action_dim = 7;
    body.gripper_index = 6;
    body.representation = ST4VLA_ACTION_EE_DELTA;
    body.frozen_steps = 2;
    body.pace = ST4VLA_PACE_SLOW;
    const auto values = actions();
    Bytes message(sizeof(st4vla_wire_header));
    append(message, &body, sizeof body);
    append(message, values.data(), sizeof values);
    finish(message, ST4VLA_KIND_ACTION_CHUNK, 4, 77'000'000'004);
    return message;
}

void read_welcome(Reader reader) {
    const auto body = reader.take<st4vla_wire_welcome>();
    CHECK(body.period_ns == 50'000'000 && body.horizon == 16 && body.action_dim == 8);
    CHECK(body.gripper_index == ST4VLA_NO_GRIPPER && body.representation == ST4VLA_ACTION_JOINT_POSITION);
    CHECK(body.view_count == 2 && body.health == ST4VLA_HEALTH_DEGRADED);
    CHECK(body.frame_slow_ns == 150'000'000 && body.frame_hold_ns == 250'000'000);
    CHECK(body.frame_stop_ns == 1'000'000'000 && body.plan_hold_ns == 0 && body.plan_stop_ns == 5'000'000'000);
    CHECK(body.bundle_digest[0] == 0 && body.bundle_digest[31] == 31);
    CHECK(std::string(body.bundle_name) == "pick-cube");
    const auto views = reader.take<std::array<st4vla_wire_welcome_view, 2>>();
    CHECK(views[0].height == 224 && views[0].width == 256 && std::string(views[0].name) == "agentview");
    CHECK(views[1].height == 112 && views[1].width == 96 && std::string(views[1].name) == "wrist");
    CHECK(reader.ended());
}

void read_plan(Reader reader) {
    const auto body = reader.take<st4vla_wire_plan>();
    CHECK(body.plan_id == 12 && body.observation_sequence == 3 && body.frame_capture_ns == 999'000'001);
    CHECK(body.inference_ns == 180'000'000 && body.token_count == 321 && body.reason == ST4VLA_PLAN_REASON_CHANGE);
    CHECK(reader.ended());
}

void read_error(Reader reader) {
    const auto body = reader.take<st4vla_wire_error>();
    CHECK(body.observation_sequence == 3 && body.code == ST4VLA_ERROR_OBSERVATION);
    CHECK(reader.text(body.message_bytes) == "view 'wrist' is missing; send agentview, wrist");
    CHECK(reader.ended());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: test_wire_cpp DIRECTORY_OF_GOLDEN_MESSAGES\n");
        return 2;
    }
    const std::string directory = argv[1];
    const Bytes hello = load(directory, "hello"), goodbye = load(directory, "goodbye");
    const Bytes welcome = load(directory, "welcome"), plan = load(directory, "plan");
    const Bytes error = load(directory, "error"), state = load(directory, "robot_state");
    const Bytes observation = load(directory, "observation"), chunk = load(directory, "action_chunk");

    CHECK(open(hello, ST4VLA_KIND_HELLO, 1, 1'000'000'001).ended());
    CHECK(open(goodbye, ST4VLA_KIND_GOODBYE, 8, 1'000'000'008).ended());
    read_welcome(open(welcome, ST4VLA_KIND_WELCOME, 2, 1'000'000'002));
    read_plan(open(plan, ST4VLA_KIND_PLAN, 5, 77'000'000'006));
    read_error(open(error, ST4VLA_KIND_ERROR, 7, 77'000'000'007));
    auto report = open(state, ST4VLA_KIND_ROBOT_STATE, 6, 1'000'000'006);
    check_robot_state(report.take<st4vla_wire_robot_state>());
    CHECK(report.ended());
    read_observation(open(observation, ST4VLA_KIND_OBSERVATION, 3, 1'000'000'003));
    CHECK(build_observation() == observation);
    read_action_chunk(open(chunk, ST4VLA_KIND_ACTION_CHUNK, 4, 77'000'000'004));
    CHECK(build_action_chunk() == chunk);
    return 0;
}
