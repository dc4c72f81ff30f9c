// Joint positions for other processes, such as one that renders a camera of the same world.
#pragma once

#include "robot.h"
#include "sockets.h"

namespace virtual_franka {

#pragma pack(push, 1)
/// One UDP datagram, little-endian.
struct PoseMessage {
    char magic[4];  ///< "VFRP"
    uint32_t version;  ///< 1
    uint64_t robot_ms;  ///< Milliseconds that the robot has run
    int64_t monotonic_ns;  ///< CLOCK_MONOTONIC of the sender
    double q[kJoints], dq[kJoints];
    double width;  ///< Between the fingers, m
};
#pragma pack(pop)
static_assert(sizeof(PoseMessage) == 144);

class PoseStream {
public:
    /// Throws std::runtime_error for what is not HOST:PORT.
    PoseStream(const std::string &address, int every_ms)
        : to_(parse_address(address)), udp_(bind_udp("0.0.0.0")), every_ms_(every_ms)
    {
    }

    void publish(const Simulation &arm, double width, uint64_t robot_ms) const;

private:
    sockaddr_in to_;
    Socket udp_;
    int every_ms_;
};

}  // namespace virtual_franka
