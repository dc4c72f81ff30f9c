#include "pose_stream.h"

#include <sys/socket.h>

#include <algorithm>

#include "pacer.h"

namespace virtual_franka {

void PoseStream::publish(const Simulation &arm, double width, uint64_t robot_ms) const
{
    if (robot_ms % static_cast<uint64_t>(every_ms_) != 0) {
        return;
    }
    PoseMessage message = {{'V', 'F', 'R', 'P'}, 1, robot_ms, monotonic_ns(), {}, {}, width};
    std::copy(arm.q().begin(), arm.q().end(), message.q);
    std::copy(arm.dq().begin(), arm.dq().end(), message.dq);
    // Nobody need be listening.
    static_cast<void>(
        sendto(udp_.fd(), &message, sizeof message, 0, reinterpret_cast<const sockaddr *>(&to_), sizeof to_));
}

}  // namespace virtual_franka
