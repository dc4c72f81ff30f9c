#include "control_socket.h"

#include <unistd.h>

#include <algorithm>

namespace virtual_franka {

ControlSocket::~ControlSocket() { unlink(path_.c_str()); }

void ControlSocket::serve(Controlled &controlled)
{
    Connection client = accept_client(listener_, nullptr);
    if (client.open()) {
        clients_.push_back(std::move(client));
    }
    for (auto at = clients_.begin(); at != clients_.end();) {
        bool open = at->receive();
        while (open) {
            const auto &bytes = at->received();
            const auto end = std::find(bytes.begin(), bytes.end(), '\n');
            if (end == bytes.end()) {
                break;
            }
            const std::string line(bytes.begin(), end);
            at->drop(line.size() + 1);
            const std::string answer = obey(line, controlled) + "\n";
            open = at->send(answer.data(), answer.size());
        }
        at = open ? std::next(at) : clients_.erase(at);
    }
}

}  // namespace virtual_franka
