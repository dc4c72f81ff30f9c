// What can go wrong with the cable: commands that are lost or late, states that are lost, a plug that is out.
#pragma once

#include <deque>
#include <optional>

#include "fci_messages.h"

namespace virtual_franka {

class LinkFaults {
public:
    void lose_commands(int count) { commands_to_lose_ = count; }
    void delay_commands(int count, int periods) { commands_to_delay_ = count, delay_ = periods; }
    void lose_states(int count) { states_to_lose_ = count; }
    void set_unplugged(bool unplugged) { unplugged_ = unplugged; }

    bool unplugged() const { return unplugged_; }
    /// Whether a state is to be kept from the client.
    bool swallows_state();
    /// Let a command that has come through, or keep it for later or for good.
    void take(const CommandMessage &command, uint64_t now);
    /// The next command that has come by now.
    std::optional<CommandMessage> next(uint64_t now);

private:
    struct Late {
        uint64_t due;
        CommandMessage command;
    };
    std::deque<Late> queue_;
    int commands_to_lose_ = 0, commands_to_delay_ = 0, delay_ = 0, states_to_lose_ = 0;
    bool unplugged_ = false;
};

}  // namespace virtual_franka
