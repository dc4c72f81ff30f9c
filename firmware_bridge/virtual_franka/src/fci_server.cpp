#include "fci_server.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "arm.h"

namespace virtual_franka {
namespace {

template <typename T>
T read(const char *bytes)
{
    T out;
    std::memcpy(&out, bytes, sizeof out);
    return out;
}

constexpr int kLastPeriods = 200;

/// Payload of each request, bytes, in the order of `Request`.
constexpr std::size_t kPayloads[] = {sizeof(ConnectRequest),
                                     sizeof(MoveRequest),
                                     0,
                                     sizeof(CollisionBehavior),
                                     sizeof(Joints),
                                     sizeof(Twist),
                                     sizeof(GuidingMode),
                                     sizeof(Pose),
                                     sizeof(Pose),
                                     sizeof(Load),
                                     0,
                                     0};

}  // namespace

FciServer::FciServer(const std::string &address, Robot &robot)
    : robot_(robot), listener_(listen_tcp(address, kFciPort)), udp_(bind_udp(address))
{
    robot_.write(state_);
}

void FciServer::serve()
{
    if (faults_.unplugged()) {
        return;
    }
    const bool ended = last_periods_ > 0 && --last_periods_ == 0;
    if (client_.open() && (ended || !client_.receive())) {
        disconnect();
    }
    if (client_.open()) {
        refuse_client(listener_);
    } else {
        client_ = accept_client(listener_, &peer_);
        greeted_ = false;
    }
    while (client_.open()) {
        const std::vector<char> &bytes = client_.received();
        if (bytes.size() < sizeof(RequestHeader)) {
            return;
        }
        const auto header = read<RequestHeader>(bytes.data());
        const auto known = static_cast<std::size_t>(header.request) < std::size(kPayloads);
        if (!known || header.size != sizeof header + kPayloads[static_cast<std::size_t>(header.request)]) {
            disconnect();
            return;
        }
        if (bytes.size() < header.size) {
            return;
        }
        const std::vector<char> message(bytes.begin(), bytes.begin() + header.size);
        client_.drop(header.size);
        if (!dispatch(header, message.data() + sizeof header)) {
            disconnect();
        }
    }
}

template <typename Payload>
bool FciServer::answer(const RequestHeader &header, const Payload &payload)
{
    char out[sizeof(RequestHeader) + sizeof(Payload)];
    const RequestHeader answered = {header.request, header.id, sizeof out};
    std::memcpy(out, &answered, sizeof answered);
    std::memcpy(out + sizeof answered, &payload, sizeof payload);
    return client_.send(out, sizeof out);
}

bool FciServer::dispatch(const RequestHeader &header, const char *payload)
{
    if (!greeted_ && header.request != Request::kConnect) {
        return false;
    }
    switch (header.request) {
    case Request::kConnect:
        return connect_client(header, payload);
    case Request::kMove:
        return answer_status(header, static_cast<uint8_t>(robot_.move(header.id, read<MoveRequest>(payload))));
    case Request::kStopMove:
        robot_.stop(header.id);
        return true;
    case Request::kAutomaticErrorRecovery:
        robot_.recover(header.id);
        return true;
    case Request::kGetRobotModel: {
        const std::string urdf = arm_urdf(robot_.limits());
        const RequestHeader answered = {header.request, header.id,
                                        static_cast<uint32_t>(sizeof header + 1 + urdf.size())};
        std::string out(reinterpret_cast<const char *>(&answered), sizeof answered);
        out += '\0';
        out += urdf;
        return client_.send(out.data(), out.size());
    }
    default:
        return set(header, payload);
    }
}

bool FciServer::connect_client(const RequestHeader &header, const char *payload)
{
    const auto request = read<ConnectRequest>(payload);
    const bool compatible = request.version == kFciVersion;
    peer_.sin_port = htons(request.udp_port);
    greeted_ = compatible;
    return answer(
        header, ConnectReply{compatible ? ConnectStatus::kSuccess : ConnectStatus::kIncompatibleVersion, kFciVersion});
}

bool FciServer::set(const RequestHeader &header, const char *payload)
{
    Settings &settings = robot_.settings();
    if (!robot_.may_be_set()) {
        return answer_status(header, static_cast<uint8_t>(SetterStatus::kNotPossible));
    }
    bool taken = true;
    switch (header.request) {
    case Request::kSetCollisionBehavior:
        taken = settings.take(read<CollisionBehavior>(payload));
        break;
    case Request::kSetJointImpedance:
        taken = settings.take_joint_stiffness(read<Joints>(payload));
        break;
    case Request::kSetCartesianImpedance:
        taken = settings.take_cartesian_stiffness(read<Twist>(payload));
        break;
    case Request::kSetGuidingMode:
        settings.guiding = read<GuidingMode>(payload);
        break;
    case Request::kSetEeToK:
        taken = Settings::take_pose(read<Pose>(payload), settings.ee_to_stiffness);
        break;
    case Request::kSetNeToEe:
        taken = Settings::take_pose(read<Pose>(payload), settings.nominal_to_ee);
        break;
    default:
        taken = settings.take_load(read<Load>(payload));
        break;
    }
    return answer_status(header, static_cast<uint8_t>(taken ? SetterStatus::kSuccess : SetterStatus::kInvalidArgument));
}

void FciServer::reply()
{
    if (faults_.unplugged()) {
        return;
    }
    for (const Reply &due : robot_.take_replies()) {
        if (client_.open() && !answer_status({due.request, due.id, 0}, due.status)) {
            disconnect();
        }
    }
}

std::optional<CommandMessage> FciServer::receive_command()
{
    CommandMessage command;
    sockaddr_in from{};
    socklen_t size = sizeof from;
    for (;;) {
        const ssize_t got =
            recvfrom(udp_.fd(), &command, sizeof command, MSG_TRUNC, reinterpret_cast<sockaddr *>(&from), &size);
        if (got < 0) {
            break;
        }
        if (got == sizeof command && from.sin_port == peer_.sin_port && from.sin_addr.s_addr == peer_.sin_addr.s_addr) {
            faults_.take(command, now());
        }
    }
    std::optional<CommandMessage> out;
    while (const auto next = faults_.next(now())) {
        if (next->message_id == now()) {
            out = next;
        }
    }
    return out;
}

void FciServer::send_state()
{
    ++state_.message_id;
    robot_.write(state_);
    if (greeted_ && client_.open() && !faults_.swallows_state()) {
        // A client that is gone shows in its connection, not here.
        static_cast<void>(
            sendto(udp_.fd(), &state_, sizeof state_, 0, reinterpret_cast<const sockaddr *>(&peer_), sizeof peer_));
    }
}

void FciServer::hang_up()
{
    if (client_.open()) {
        client_.finish();
        last_periods_ = kLastPeriods;
    }
}

void FciServer::disconnect()
{
    client_.reset();
    greeted_ = false;
    last_periods_ = 0;
    robot_.forget_client();
}

}  // namespace virtual_franka
