#include "link_faults.h"

namespace virtual_franka {

bool LinkFaults::swallows_state()
{
    if (states_to_lose_ > 0) {
        --states_to_lose_;
        return true;
    }
    return unplugged_;
}

void LinkFaults::take(const CommandMessage &command, uint64_t now)
{
    if (unplugged_) {
        return;
    }
    if (commands_to_lose_ > 0) {
        --commands_to_lose_;
        return;
    }
    uint64_t due = now;
    if (commands_to_delay_ > 0) {
        --commands_to_delay_;
        due += static_cast<uint64_t>(delay_);
    }
    queue_.push_back({due, command});
}

std::optional<CommandMessage> LinkFaults::next(uint64_t now)
{
    if (queue_.empty() || queue_.front().due > now) {
        return std::nullopt;
    }
    const CommandMessage out = queue_.front().command;
    queue_.pop_front();
    return out;
}

}  // namespace virtual_franka
