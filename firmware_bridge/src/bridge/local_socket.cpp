// The other side is runtime/st4vla/runtime/local/door.py.
#include "local_socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

#include "../detail.h"
#include "dealer.h"
#include "st4vla/bridge.h"

namespace st4vla {
namespace {

/// A server that is gone is called again and again.
constexpr int64_t kCallPeriodNs = 20'000'000;
/// The least that a system allows, a handful of notes: what the server does not take is replaced by what is newer, here.
constexpr int kSendBufferBytes = 1;

}  // namespace

std::unique_ptr<Socket> make_socket(const char *endpoint, Buffers &buffers)
{
    if (std::string_view(endpoint).substr(0, sizeof kLocalScheme - 1) == kLocalScheme) {
        return std::make_unique<LocalSocket>(buffers);
    }
    return std::make_unique<Dealer>();
}

LocalSocket::~LocalSocket()
{
    hang_up();
    if (news_ >= 0) {
        close(news_);
    }
}

st4vla_status LocalSocket::connect(const char *endpoint, const ClientKeys *keys)
{
    path_ = endpoint + sizeof kLocalScheme - 1;
    if (path_.empty() || path_.size() >= sizeof(sockaddr_un{}.sun_path)) {
        return fail(ST4VLA_BAD_ENDPOINT, "'%s' has no path, or one of %zu bytes; 1 to %zu are allowed", endpoint,
                    path_.size(), sizeof(sockaddr_un{}.sun_path) - 1);
    }
    if (keys != nullptr) {
        return fail(ST4VLA_BAD_ARGUMENT, "'%s' takes no keys: the owner of its file decides who comes in", endpoint);
    }
    news_ = epoll_create1(EPOLL_CLOEXEC);
    if (news_ < 0) {
        const std::string why = std::system_category().message(errno);
        return fail(ST4VLA_SYSTEM, "a Unix socket cannot be waited for: %s", why.c_str());
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    call();
    return ST4VLA_OK;
}

void LocalSocket::call() noexcept
{
    called_ns_ = st4vla_monotonic_ns();
    const int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    setsockopt(connection, SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof kSendBufferBytes);
    if (::connect(connection, reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0 ||
        epoll_ctl(news_, EPOLL_CTL_ADD, connection, &wanted) != 0) {
        close(connection);
        return;
    }
    connection_ = connection;
    buffers_.begin_reader();
    ++events_.connected;
}

void LocalSocket::hang_up() noexcept
{
    if (connection_ >= 0) {
        close(connection_);
        connection_ = -1;
        ++events_.disconnected;
    }
}

bool LocalSocket::send(zmq_msg_t *message) noexcept
{
    const std::lock_guard<std::mutex> lock(mutex_);
    if (connection_ < 0) {
        return false;
    }
    const void *bytes = zmq_msg_data(message);
    const std::size_t size = zmq_msg_size(message);
    bool sent = false;
    if (const std::optional<Loan> loan = buffers_.lend(bytes)) {
        const MessageNote note = {{'S', 'T', '4', 'M'}, 1, static_cast<uint16_t>(loan->index), size};
        sent = send_packet(&note, sizeof note, loan->descriptor);
        buffers_.told(*loan, sent);
    } else {
        sent = send_packet(bytes, size, -1);
    }
    if (sent) {
        zmq_msg_close(message);
        zmq_msg_init(message);
    }
    return sent;
}

bool LocalSocket::send_packet(const void *bytes, std::size_t size, int shared) noexcept
{
    iovec part = {const_cast<void *>(bytes), size};
    alignas(cmsghdr) unsigned char control[CMSG_SPACE(sizeof shared)] = {};
    msghdr packet{};
    packet.msg_iov = &part;
    packet.msg_iovlen = 1;
    if (shared >= 0) {
        packet.msg_control = control;
        packet.msg_controllen = sizeof control;
        cmsghdr *head = CMSG_FIRSTHDR(&packet);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof shared);
        std::memcpy(CMSG_DATA(head), &shared, sizeof shared);
    }
    if (sendmsg(connection_, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
        return true;
    }
    if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR) {
        hang_up();
    }
    return false;
}

bool LocalSocket::receive(zmq_msg_t *message) noexcept
{
    const std::lock_guard<std::mutex> lock(mutex_);
    if (connection_ < 0) {
        return false;
    }
    const ssize_t got = recv(connection_, packet_.data(), packet_.size(), MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            hang_up();
        }
        return false;
    }
    const auto size = static_cast<std::size_t>(got);
    zmq_msg_close(message);
    if (zmq_msg_init_size(message, size) != 0) {
        zmq_msg_init(message);
        return false;
    }
    std::memcpy(zmq_msg_data(message), packet_.data(), size);
    return true;
}

bool LocalSocket::readable() noexcept
{
    const std::lock_guard<std::mutex> lock(mutex_);
    return events_.disconnected != 0;
}

LinkEvents LocalSocket::events() noexcept
{
    const std::lock_guard<std::mutex> lock(mutex_);
    if (connection_ < 0 && st4vla_monotonic_ns() - called_ns_ >= kCallPeriodNs) {
        call();
    }
    return std::exchange(events_, LinkEvents{});
}

}  // namespace st4vla
