// By which interface packets leave.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <stdexcept>

#include "machine.h"

namespace st4vla::tool {
namespace {

using Storage = sockaddr_storage;

/// The address from which this machine would send to another one; nothing is sent.
bool local_address(const addrinfo &to, Storage &local)
{
    const int descriptor = socket(to.ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        return false;
    }
    socklen_t size = sizeof local;
    const bool found = connect(descriptor, to.ai_addr, to.ai_addrlen) == 0 &&
                       getsockname(descriptor, reinterpret_cast<sockaddr *>(&local), &size) == 0;
    close(descriptor);
    return found;
}

bool same_host(const sockaddr *a, const Storage &b)
{
    if (a == nullptr || a->sa_family != b.ss_family) {
        return false;
    }
    if (a->sa_family == AF_INET) {
        return reinterpret_cast<const sockaddr_in *>(a)->sin_addr.s_addr ==
               reinterpret_cast<const sockaddr_in *>(&b)->sin_addr.s_addr;
    }
    return a->sa_family == AF_INET6 && std::memcmp(&reinterpret_cast<const sockaddr_in6 *>(a)->sin6_addr,
                                                   &reinterpret_cast<const sockaddr_in6 *>(&b)->sin6_addr,
                                                   sizeof(in6_addr)) == 0;
}

}  // namespace

std::string interface_to(const std::string &address)
{
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST;
    hints.ai_socktype = SOCK_DGRAM;
    addrinfo *resolved = nullptr;
    if (getaddrinfo(address.c_str(), "9", &hints, &resolved) != 0) {
        throw std::runtime_error("'" + address + "' is no address; one looks like 172.16.0.2");
    }
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(resolved, freeaddrinfo);
    Storage local{};
    ifaddrs *list = nullptr;
    if (!local_address(*resolved, local) || getifaddrs(&list) != 0) {
        return "";
    }
    const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> interfaces(list, freeifaddrs);
    for (const ifaddrs *entry = list; entry != nullptr; entry = entry->ifa_next) {
        if (same_host(entry->ifa_addr, local)) {
            return entry->ifa_name;
        }
    }
    return "";
}

Finding check_routes(const std::string &robot, const std::string &camera)
{
    if (robot.empty() || camera.empty()) {
        return {"network", Verdict::kUnknown, "not asked for",
                "give --robot and --camera (or the runtime's address) to see whether they share a card"};
    }
    const std::string to_robot = interface_to(robot), to_camera = interface_to(camera);
    if (to_robot.empty() || to_camera.empty()) {
        return {"network", Verdict::kFailure, "no way to " + (to_robot.empty() ? robot : camera),
                "give the interface an address in the network of the other machine: `ip address`, `ip route`"};
    }
    if (to_robot == to_camera) {
        return {"network", Verdict::kFailure, "robot and camera are both behind " + to_robot,
                "connect the robot to a network card of its own: pictures delay its packets"};
    }
    return {"network", Verdict::kOk, "robot behind " + to_robot + ", camera behind " + to_camera, ""};
}

}  // namespace st4vla::tool
