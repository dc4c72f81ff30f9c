// The hand's side of its interface: one client on TCP port 1338, states by UDP.
#pragma once

#include <string>

#include "hand.h"
#include "sockets.h"

namespace virtual_franka {

class GripperServer {
public:
    GripperServer(const std::string &address, Hand &hand);

    /// Take a client and its requests, move the hand by one period, and answer what has ended.
    void serve(bool unplugged);

private:
    bool dispatch(const GripperHeader &header, const char *payload);
    bool answer(GripperRequest request, uint32_t id, GripperStatus status);
    bool answer_if(const std::optional<Hand::Ended> &ended);
    void send_state();
    void disconnect();

    Hand &hand_;
    Socket listener_, udp_;
    Connection client_;
    sockaddr_in peer_{};
    bool greeted_ = false;
    GripperStateMessage state_{};
};

}  // namespace virtual_franka
