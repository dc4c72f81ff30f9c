#include "gripper_server.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cstring>

#include "arm.h"

namespace virtual_franka {
namespace {

/// States go out every 20 ms, with the milliseconds as their id.
constexpr uint32_t kStatePeriods = 20;

struct GripperConnectRequest {
    uint16_t version, udp_port;
};

/// Payload of each request, bytes, in the order of `GripperRequest`.
constexpr std::size_t kPayloads[] = {sizeof(GripperConnectRequest), 0, sizeof(GraspRequest), sizeof(GripperMoveRequest),
                                     0};

template <typename T>
T read(const char *bytes)
{
    T out;
    std::memcpy(&out, bytes, sizeof out);
    return out;
}

}  // namespace

GripperServer::GripperServer(const std::string &address, Hand &hand)
    : hand_(hand), listener_(listen_tcp(address, kGripperPort)), udp_(bind_udp(address))
{
    state_.max_width = kHandWidth;
    state_.temperature = 30;
}

void GripperServer::serve(bool unplugged)
{
    const auto ended = hand_.advance();
    send_state();
    if (unplugged) {
        return;
    }
    if (client_.open() && (!answer_if(ended) || !client_.receive())) {
        disconnect();
    }
    if (client_.open()) {
        refuse_client(listener_);
    } else {
        client_ = accept_client(listener_, &peer_);
    }
    while (client_.open() && client_.received().size() >= sizeof(GripperHeader)) {
        const auto header = read<GripperHeader>(client_.received().data());
        const auto kind = static_cast<std::size_t>(header.request);
        if (kind >= std::size(kPayloads) || header.size != sizeof header + kPayloads[kind]) {
            disconnect();
            return;
        }
        if (client_.received().size() < header.size) {
            return;
        }
        const std::vector<char> message(client_.received().begin(), client_.received().begin() + header.size);
        client_.drop(header.size);
        if (!dispatch(header, message.data() + sizeof header)) {
            disconnect();
        }
    }
}

bool GripperServer::dispatch(const GripperHeader &header, const char *payload)
{
    if (!greeted_ && header.request != GripperRequest::kConnect) {
        return false;
    }
    if (header.request == GripperRequest::kConnect) {
        const auto request = read<GripperConnectRequest>(payload);
        greeted_ = request.version == kGripperVersion;
        peer_.sin_port = htons(request.udp_port);
        const GripperHeader answered = {header.request, header.id, sizeof(GripperHeader) + sizeof(GripperConnectReply)};
        const GripperConnectReply reply = {static_cast<uint16_t>(greeted_ ? 0 : 1), kGripperVersion};
        char out[sizeof answered + sizeof reply];
        std::memcpy(out, &answered, sizeof answered);
        std::memcpy(out + sizeof answered, &reply, sizeof reply);
        return client_.send(out, sizeof out);
    }
    // Whatever comes next ends what the hand is doing.
    if (!answer_if(hand_.interrupt())) {
        return false;
    }
    switch (header.request) {
    case GripperRequest::kHoming:
        return answer_if(hand_.home(header.id));
    case GripperRequest::kGrasp:
        return answer_if(hand_.grasp(header.id, read<GraspRequest>(payload)));
    case GripperRequest::kMove:
        return answer_if(hand_.move(header.id, read<GripperMoveRequest>(payload)));
    default:
        return answer(header.request, header.id, GripperStatus::kSuccess);
    }
}

bool GripperServer::answer_if(const std::optional<Hand::Ended> &ended)
{
    return !ended || answer(ended->request, ended->id, ended->status);
}

bool GripperServer::answer(GripperRequest request, uint32_t id, GripperStatus status)
{
    const GripperHeader header = {request, id, sizeof(GripperHeader) + sizeof status};
    char out[sizeof header + sizeof status];
    std::memcpy(out, &header, sizeof header);
    std::memcpy(out + sizeof header, &status, sizeof status);
    return client_.send(out, sizeof out);
}

void GripperServer::send_state()
{
    if (++state_.message_id % kStatePeriods != 0 || !greeted_ || !client_.open()) {
        return;
    }
    state_.width = hand_.width();
    state_.is_grasped = hand_.is_grasped();
    // A client that is gone shows in its connection, not here.
    static_cast<void>(
        sendto(udp_.fd(), &state_, sizeof state_, 0, reinterpret_cast<const sockaddr *>(&peer_), sizeof peer_));
}

void GripperServer::disconnect()
{
    client_.reset();
    greeted_ = false;
    static_cast<void>(hand_.interrupt());
}

}  // namespace virtual_franka
