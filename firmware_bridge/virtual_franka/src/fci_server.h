// The robot's side of the Franka Control Interface: one client on TCP port 1337, states and commands by UDP.
#pragma once

#include <string>

#include "link_faults.h"
#include "robot.h"
#include "sockets.h"

namespace virtual_franka {

class FciServer {
public:
    FciServer(const std::string &address, Robot &robot);

    /// Take clients and their requests; answer those that can be.
    void serve();
    /// Replies that have become due.
    void reply();
    /// The command that answers the state that was sent last, or nothing when it has not come: it is lost then.
    std::optional<CommandMessage> receive_command();
    void send_state();

    LinkFaults &faults() { return faults_; }
    /// End the client's connection as a controller does that is shut down: states still go out for some periods, so
    /// that the client sees this first and no silence.
    void hang_up();
    bool connected() const { return client_.open(); }
    uint64_t now() const { return state_.message_id; }

private:
    void disconnect();
    bool dispatch(const RequestHeader &header, const char *payload);
    template <typename Payload>
    bool answer(const RequestHeader &header, const Payload &payload);
    bool answer_status(const RequestHeader &header, uint8_t status) { return answer(header, status); }
    bool connect_client(const RequestHeader &header, const char *payload);
    bool set(const RequestHeader &header, const char *payload);

    Robot &robot_;
    Socket listener_, udp_;
    Connection client_;
    sockaddr_in peer_{};
    bool greeted_ = false;
    int last_periods_ = 0;
    /// Aligned, so that its numbers lie as they must although the message is packed.
    alignas(8) StateMessage state_{};
    LinkFaults faults_;
};

}  // namespace virtual_franka
