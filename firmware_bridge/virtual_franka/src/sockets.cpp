#include "sockets.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace virtual_franka {
namespace {

[[noreturn]] void fail(const std::string &what) { throw std::runtime_error(what); }

sockaddr_in ipv4(const std::string &address, uint16_t port)
{
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(port);
    if (inet_pton(AF_INET, address.c_str(), &out.sin_addr) != 1) {
        fail("'" + address + "' is no IPv4 address; give one such as 127.0.0.2");
    }
    return out;
}

const sockaddr *plain(const sockaddr_in &address) { return reinterpret_cast<const sockaddr *>(&address); }

Socket make(int family, int type)
{
    Socket out(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!out.open()) {
        fail(std::string("no socket: ") + std::strerror(errno));
    }
    return out;
}

}  // namespace

Socket::~Socket()
{
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

Socket listen_tcp(const std::string &address, uint16_t port)
{
    const sockaddr_in at = ipv4(address, port);
    Socket out = make(AF_INET, SOCK_STREAM);
    const int on = 1;
    setsockopt(out.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(out.fd(), plain(at), sizeof at) != 0 || listen(out.fd(), 4) != 0) {
        const std::string where = address + ":" + std::to_string(port);
        if (errno == EADDRINUSE) {
            fail(where + " is taken: another robot runs there; give each its own address, such as --bind 127.0.0.2");
        }
        fail("cannot listen on " + where + ": " + std::strerror(errno) + "; --bind takes an address of this machine");
    }
    return out;
}

Socket bind_udp(const std::string &address)
{
    const sockaddr_in at = ipv4(address, 0);
    Socket out = make(AF_INET, SOCK_DGRAM);
    if (bind(out.fd(), plain(at), sizeof at) != 0) {
        fail("cannot send from " + address + ": " + std::strerror(errno));
    }
    return out;
}

Socket listen_unix(const std::string &path)
{
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof at.sun_path) {
        fail("--control '" + path + "': a path of 1 to " + std::to_string(sizeof at.sun_path - 1) + " bytes is needed");
    }
    std::memcpy(at.sun_path, path.c_str(), path.size());
    const sockaddr *plain_at = reinterpret_cast<const sockaddr *>(&at);
    Socket out = make(AF_UNIX, SOCK_STREAM);
    if (connect(out.fd(), plain_at, sizeof at) == 0) {
        fail("--control " + path + ": another process listens there; give another path");
    }
    // What a process left that has ended.
    if (errno == ECONNREFUSED) {
        unlink(path.c_str());
    }
    out = make(AF_UNIX, SOCK_STREAM);
    if (bind(out.fd(), plain_at, sizeof at) != 0 || listen(out.fd(), 4) != 0) {
        fail("--control " + path + ": " + std::strerror(errno));
    }
    return out;
}

sockaddr_in parse_address(const std::string &host_and_port)
{
    const std::size_t colon = host_and_port.rfind(':');
    const std::string digits = colon == std::string::npos ? "" : host_and_port.substr(colon + 1);
    if (digits.empty() || digits.size() > 5 || digits.find_first_not_of("0123456789") != std::string::npos ||
        std::stoi(digits) < 1 || std::stoi(digits) > 65535) {
        fail("'" + host_and_port + "' is not HOST:PORT, such as 127.0.0.1:5600");
    }
    return ipv4(host_and_port.substr(0, colon), static_cast<uint16_t>(std::stoi(digits)));
}

bool Connection::receive(std::size_t most)
{
    char bytes[4096];
    for (;;) {
        const ssize_t got = recv(socket_.fd(), bytes, sizeof bytes, 0);
        if (got > 0) {
            received_.insert(received_.end(), bytes, bytes + got);
            if (received_.size() > most) {
                return false;
            }
        } else {
            return got < 0 && (errno == EAGAIN || errno == EINTR);
        }
    }
}

bool Connection::send(const void *bytes, std::size_t size)
{
    return ::send(socket_.fd(), bytes, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
}

void Connection::finish() { shutdown(socket_.fd(), SHUT_WR); }

void Connection::reset()
{
    const linger at_once = {1, 0};
    setsockopt(socket_.fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close();
}

void Connection::drop(std::size_t size)
{
    received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(size));
}

Connection accept_client(const Socket &listener, sockaddr_in *peer)
{
    socklen_t size = sizeof *peer;
    Socket socket(accept4(listener.fd(), peer ? reinterpret_cast<sockaddr *>(peer) : nullptr, peer ? &size : nullptr,
                          SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.open()) {
        return {};
    }
    const int on = 1;
    setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return Connection(std::move(socket));
}

void refuse_client(const Socket &listener)
{
    Connection(Socket(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC))).reset();
}

}  // namespace virtual_franka
