// What crosses the wire of the Franka Control Interface, version 10: TCP requests and replies, UDP states and commands.
//
// Little-endian and packed. Written from the public layouts of frankarobotics/libfranka-common; the sizes are asserted
// here and checked against bytes in tests/test_messages.cpp.
#pragma once

#include <array>
#include <cstdint>

namespace virtual_franka {

constexpr uint16_t kFciVersion = 10;
constexpr uint16_t kFciPort = 1337;

enum class Request : uint32_t {
    kConnect,
    kMove,
    kStopMove,
    kSetCollisionBehavior,
    kSetJointImpedance,
    kSetCartesianImpedance,
    kSetGuidingMode,
    kSetEeToK,
    kSetNeToEe,
    kSetLoad,
    kAutomaticErrorRecovery,
    kGetRobotModel,
};

/// Of replies to Move. Replies to StopMove and to AutomaticErrorRecovery number theirs otherwise.
enum class MoveStatus : uint8_t {
    kSuccess,
    kMotionStarted,
    kPreempted,
    kPreemptedBySafety,
    kRejectedBySafety,
    kNotPossible,
    kStartAtSingularPose,
    kInvalidArgument,
    kReflexAborted,
    kEmergencyAborted,
    kInputErrorAborted,
    kAborted,
};

/// Of replies to everything else: 0 and 1 mean the same in all of them.
enum class Status : uint8_t { kSuccess, kNotPossible };
enum class SetterStatus : uint8_t { kSuccess, kNotPossible, kInvalidArgument, kRejectedBySafety };
enum class ConnectStatus : uint8_t { kSuccess, kIncompatibleVersion };

/// As Move asks for it; a state says the same with `StateGenerator`.
enum class Generator : uint32_t { kJointPosition, kJointVelocity, kCartesianPose, kCartesianVelocity, kNone };
enum class StateGenerator : uint8_t {
    kIdle,
    kJointPosition,
    kJointVelocity,
    kCartesianPose,
    kCartesianVelocity,
    kNone,
};
enum class Controller : uint8_t { kJointImpedance, kCartesianImpedance, kExternal, kOther };
enum class RobotMode : uint8_t { kOther, kIdle, kMove, kGuiding, kReflex, kUserStopped, kAutomaticErrorRecovery };

constexpr int kErrorCount = 41;

#pragma pack(push, 1)

struct RequestHeader {
    Request request;
    uint32_t id;
    uint32_t size;  ///< Of header and payload, bytes.
};

struct ConnectRequest {
    uint16_t version;
    uint16_t udp_port;
};

struct ConnectReply {
    ConnectStatus status;
    uint16_t version;
};

/// m, rad, rad
struct Deviation {
    double translation, rotation, elbow;
};

struct MoveRequest {
    uint32_t controller;
    uint32_t generator;
    Deviation path, goal;
    uint8_t asynchronous;
    double maximum_velocity[7];
};

/// Nm and N; a lower threshold is a contact, an upper one a collision.
struct CollisionBehavior {
    double lower_torque_acceleration[7], upper_torque_acceleration[7];
    double lower_torque_nominal[7], upper_torque_nominal[7];
    double lower_force_acceleration[6], upper_force_acceleration[6];
    double lower_force_nominal[6], upper_force_nominal[6];
};

struct GuidingMode {
    uint8_t axes[6];
    uint8_t nullspace;
};

struct Load {
    double mass;
    double centre[3];
    double inertia[9];
};

/// Matrices are column-major; names are libfranka's.
struct StateMessage {
    uint64_t message_id;  ///< Milliseconds that this robot has run.
    float O_T_EE[16], O_T_EE_d[16], F_T_EE[16], EE_T_K[16], F_T_NE[16], NE_T_EE[16];
    float m_ee, I_ee[9], F_x_Cee[3];
    float m_load, I_load[9], F_x_Cload[3];
    float elbow[2], elbow_d[2];
    float tau_J[7], tau_J_d[7], dtau_J[7];
    float q[7], q_d[7], dq[7], dq_d[7], ddq_d[7];
    float joint_contact[7], cartesian_contact[6], joint_collision[7], cartesian_collision[6];
    float tau_ext_hat_filtered[7], O_F_ext_hat_K[6], K_F_ext_hat_K[6];
    float O_dP_EE_d[6], O_ddP_O[3];
    float elbow_c[2], delbow_c[2], ddelbow_c[2];
    float O_T_EE_c[16], O_dP_EE_c[6], O_ddP_EE_c[6];
    float theta[7], dtheta[7];
    float accelerometer_top[6][3], accelerometer_bottom[6][3];
    StateGenerator generator;
    Controller controller;
    uint8_t errors[kErrorCount], reflex_reason[kErrorCount];
    RobotMode mode;
    float control_command_success_rate;
};

struct CommandMessage {
    uint64_t message_id;  ///< Of the state that this answers.
    double q_c[7], dq_c[7], O_T_EE_c[16], O_dP_EE_c[6], elbow_c[2];
    uint8_t valid_elbow, motion_finished;
    double tau_J_d[7];
    uint8_t torque_finished;
};

#pragma pack(pop)

static_assert(sizeof(RequestHeader) == 12);
static_assert(sizeof(MoveRequest) + sizeof(RequestHeader) == 125);
static_assert(sizeof(CollisionBehavior) == 52 * 8);
static_assert(sizeof(StateMessage) == 1377);
static_assert(sizeof(CommandMessage) == 371);

}  // namespace virtual_franka
