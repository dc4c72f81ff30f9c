// A client and a server on one machine: notes, memories, servers that come, go and read nothing.
#include "bridge/local_socket.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "st4vla/status.h"

namespace {

using st4vla::Buffer;
using st4vla::Buffers;
using st4vla::LocalSocket;
using st4vla::MessageNote;

std::string path;

/// The runtime's side, in no hurry.
class Server {
public:
    Server() : listener_(socket(AF_UNIX, SOCK_SEQPACKET, 0))
    {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.data(), path.size());
        CHECK(bind(listener_, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0);
        CHECK(listen(listener_, 4) == 0);
    }
    ~Server()
    {
        close(listener_);
        hang_up();
        unlink(path.c_str());
    }
    Server(const Server &) = delete;
    Server &operator=(const Server &) = delete;

    void accept() { connection_ = ::accept(listener_, nullptr, nullptr); }

    void hang_up()
    {
        if (connection_ >= 0) {
            close(connection_);
            connection_ = -1;
        }
    }

    /// A packet, and the memory that came with it or -1.
    std::vector<char> receive(int &memory)
    {
        std::vector<char> packet(4096);
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
        iovec part = {packet.data(), packet.size()};
        msghdr head{};
        head.msg_iov = &part;
        head.msg_iovlen = 1;
        head.msg_control = control;
        head.msg_controllen = sizeof control;
        const ssize_t got = recvmsg(connection_, &head, 0);
        CHECK(got >= 0);
        memory = -1;
        if (const cmsghdr *extra = CMSG_FIRSTHDR(&head); extra != nullptr) {
            std::memcpy(&memory, CMSG_DATA(extra), sizeof memory);
        }
        packet.resize(static_cast<std::size_t>(got));
        return packet;
    }

    void send(const std::string &bytes)
    {
        CHECK(::send(connection_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    }

private:
    int listener_;
    int connection_ = -1;
};

struct Client {
    Client() { CHECK(socket.connect(("local:" + path).c_str(), nullptr) == ST4VLA_OK); }

    /// Whether a message of so many bytes of a kind was sent.
    bool send(std::size_t size, unsigned char kind)
    {
        Buffer *buffer = buffers.take(size);
        CHECK(buffer != nullptr);
        std::memset(buffer->bytes(), kind, size);
        zmq_msg_t message;
        CHECK(zmq_msg_init_data(
                  &message, buffer->bytes(), size,
                  [](void *, void *given) { static_cast<Buffer *>(given)->release(); }, buffer) == 0);
        const bool sent = socket.send(&message);
        // Sent, it has been emptied; else it has its bytes still.
        CHECK(zmq_msg_size(&message) == (sent ? 0 : size));
        zmq_msg_close(&message);
        return sent;
    }

    Buffers buffers;
    LocalSocket socket{buffers};
};

MessageNote note_in(const std::vector<char> &packet)
{
    MessageNote note{};
    CHECK(packet.size() == sizeof note);
    std::memcpy(&note, packet.data(), sizeof note);
    CHECK(std::memcmp(note.magic, "ST4M", 4) == 0 && note.version == 1);
    return note;
}

void messages_lie_in_memories_that_come_once()
{
    Server server;
    Client client;
    CHECK(client.socket.events().connected == 1);
    server.accept();
    unsigned char *seen = nullptr;
    for (unsigned char kind = 1; kind < 4; ++kind) {
        CHECK(client.send(100'000, kind));
        int memory = -1;
        const MessageNote note = note_in(server.receive(memory));
        CHECK(note.index == 0 && note.bytes == 100'000);
        CHECK((memory >= 0) == (kind == 1));
        if (memory >= 0) {
            CHECK(fcntl(memory, F_GET_SEALS) == F_SEAL_SHRINK);
            seen = static_cast<unsigned char *>(
                mmap(nullptr, 100'064, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0));
            close(memory);
        }
        CHECK(seen[0] == 1 && seen[64] == kind && seen[64 + 99'999] == kind);
        seen[0] = 0;
    }
    munmap(seen, 100'064);
}

void what_is_short_goes_as_it_is_and_answers_come_back()
{
    Server server;
    Client client;
    server.accept();
    zmq_msg_t message;
    zmq_msg_init_size(&message, 5);
    std::memcpy(zmq_msg_data(&message), "hello", 5);
    CHECK(client.socket.send(&message));
    int memory = 0;
    const std::vector<char> packet = server.receive(memory);
    CHECK(std::string(packet.begin(), packet.end()) == "hello" && memory == -1);
    CHECK(!client.socket.receive(&message));
    server.send("welcome");
    CHECK(client.socket.receive(&message) && zmq_msg_size(&message) == 7);
    CHECK(std::memcmp(zmq_msg_data(&message), "welcome", 7) == 0);
    zmq_msg_close(&message);
}

void a_server_that_reads_nothing_gets_no_more_than_a_few()
{
    Server server;
    Client client;
    server.accept();
    int sent = 0;
    while (sent < 8 && client.send(1000, 1)) {
        ++sent;
    }
    CHECK(sent >= 1 && sent < 8);
    int memory = -1;
    for (int i = 0; i < sent; ++i) {
        CHECK(note_in(server.receive(memory)).index == i);
        close(memory);
    }
    CHECK(client.send(1000, 2));
}

void a_server_that_goes_is_called_again_and_gets_new_memories()
{
    Client client;
    zmq_msg_t message;
    zmq_msg_init(&message);
    CHECK(client.socket.events().connected == 0);
    CHECK(!client.send(1000, 1));
    for (int round = 0; round < 2; ++round) {
        Server server;
        std::this_thread::sleep_for(std::chrono::milliseconds(25));
        CHECK(client.socket.events().connected == 1);
        server.accept();
        CHECK(client.send(1000, 2));
        int memory = -1;
        note_in(server.receive(memory));
        CHECK(memory >= 0);
        close(memory);
        server.hang_up();
        CHECK(!client.socket.receive(&message));
        CHECK(client.socket.readable());
        CHECK(client.socket.events().disconnected == 1);
        CHECK(!client.socket.readable());
        CHECK(!client.send(1000, 3));
    }
    // Sending finds out as well.
    Server server;
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
    CHECK(client.socket.events().connected == 1);
    server.accept();
    server.hang_up();
    CHECK(!client.send(1000, 4));
    CHECK(client.socket.events().disconnected == 1);
    zmq_msg_close(&message);
}

void endpoints_that_cannot_be_are_named()
{
    Buffers buffers;
    LocalSocket socket(buffers);
    const st4vla::ClientKeys keys;
    CHECK(socket.connect("local:", nullptr) == ST4VLA_BAD_ENDPOINT);
    CHECK(socket.connect(("local:/" + std::string(107, 'x')).c_str(), nullptr) == ST4VLA_BAD_ENDPOINT);
    CHECK(socket.connect("local:/tmp/x", &keys) == ST4VLA_BAD_ARGUMENT);
    CHECK(std::strstr(st4vla_detail(), "takes no keys") != nullptr);
}

}  // namespace

int main()
{
    path = "/tmp/st4vla_test_local_" + std::to_string(getpid());
    messages_lie_in_memories_that_come_once();
    what_is_short_goes_as_it_is_and_answers_come_back();
    a_server_that_reads_nothing_gets_no_more_than_a_few();
    a_server_that_goes_is_called_again_and_gets_new_memories();
    endpoints_that_cannot_be_are_named();
    return 0;
}
