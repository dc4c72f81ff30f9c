// What crosses the wire of the Franka Hand, version 3: TCP requests and replies, UDP states. Little-endian and packed.
#pragma once

#include <cstdint>

namespace virtual_franka {

constexpr uint16_t kGripperVersion = 3;
constexpr uint16_t kGripperPort = 1338;

enum class GripperRequest : uint16_t { kConnect, kHoming, kGrasp, kMove, kStop };
enum class GripperStatus : uint16_t { kSuccess, kFail, kUnsuccessful, kAborted };

#pragma pack(push, 1)

struct GripperHeader {
    GripperRequest request;
    uint32_t id;
    uint32_t size;  ///< Of header and payload, bytes.
};

struct GripperConnectReply {
    uint16_t status;
    uint16_t version;
};

/// m, m, m/s, N
struct GraspRequest {
    double width, epsilon_inner, epsilon_outer, speed, force;
};

struct GripperMoveRequest {
    double width, speed;
};

struct GripperStateMessage {
    uint32_t message_id;
    double width, max_width;
    uint8_t is_grasped;
    uint16_t temperature;
};

#pragma pack(pop)

static_assert(sizeof(GripperHeader) == 10);
static_assert(sizeof(GraspRequest) == 40);
static_assert(sizeof(GripperStateMessage) == 23);

}  // namespace virtual_franka
