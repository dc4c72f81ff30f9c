// The few things that this program does with sockets. None of them blocks; what fails at start throws.
#pragma once

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace virtual_franka {

/// Owns a file descriptor.
class Socket {
public:
    Socket() = default;
    explicit Socket(int fd) : fd_(fd) {}
    Socket(Socket &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Socket &operator=(Socket &&other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Socket();

    int fd() const { return fd_; }
    bool open() const { return fd_ >= 0; }

private:
    int fd_ = -1;
};

/// Throws std::runtime_error, with what to do, when the address is no IPv4 address or its port is taken.
Socket listen_tcp(const std::string &address, uint16_t port);
Socket bind_udp(const std::string &address);
/// Throws std::runtime_error when the path cannot be used or another process listens there.
Socket listen_unix(const std::string &path);
/// Throws std::runtime_error when it is not HOST:PORT with an IPv4 address.
sockaddr_in parse_address(const std::string &host_and_port);

/// One client on a stream socket.
class Connection {
public:
    Connection() = default;
    explicit Connection(Socket socket) : socket_(std::move(socket)) {}

    /// Take in what has come. False when the other side has closed, or sent more than `most` bytes that nobody took.
    bool receive(std::size_t most = 8192);
    /// False when the other side does not take it.
    bool send(const void *bytes, std::size_t size);

    const std::vector<char> &received() const { return received_; }
    void drop(std::size_t size);
    bool open() const { return socket_.open(); }
    /// Tell the other side that nothing more comes; it may go on, and closes when it likes.
    void finish();
    /// Close with a reset, so that a client which still waits for an answer learns of it.
    void reset();
    void close() { socket_ = Socket(), received_.clear(); }

private:
    Socket socket_;
    std::vector<char> received_;
};

/// The next client, or one that is not open. `peer` gets its address.
Connection accept_client(const Socket &listener, sockaddr_in *peer);
/// Close at once with a reset, so that a client which waits for an answer learns of it.
void refuse_client(const Socket &listener);

}  // namespace virtual_franka
