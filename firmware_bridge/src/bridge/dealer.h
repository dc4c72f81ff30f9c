// The client's ZeroMQ socket, with what its monitor tells of its connections.
#ifndef ST4VLA_BRIDGE_DEALER_H
#define ST4VLA_BRIDGE_DEALER_H

#include "socket.h"

namespace st4vla {

class Dealer : public Socket {
public:
    ~Dealer() override;

    st4vla_status connect(const char *endpoint, const ClientKeys *keys) override;
    bool send(zmq_msg_t *message) noexcept override;
    bool receive(zmq_msg_t *message) noexcept override;
    bool readable() noexcept override;
    LinkEvents events() noexcept override;
    int descriptor() const noexcept override;
    int events_descriptor() const noexcept override;

private:
    struct CloseSocket {
        void operator()(void *socket) const noexcept;
    };
    struct EndContext {
        void operator()(void *context) const noexcept;
    };
    using Handle = std::unique_ptr<void, CloseSocket>;

    std::unique_ptr<void, EndContext> context_;
    Handle monitor_;
    Handle dealer_;
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_DEALER_H
