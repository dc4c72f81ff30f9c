// The socket is used by one thread at a time, under a lock; waiting for messages happens outside of it, on the socket's
// descriptor. A frame thus leaves without another thread having to wake up for it.
#include "link.h"

#include <poll.h>

#include <iterator>

#include "../thread.h"

namespace st4vla {
namespace {

constexpr int64_t kNsPerMs = 1'000'000;
/// How often the server is asked what it serves until it says so.
constexpr int64_t kGreetingPeriodNs = 250 * kNsPerMs;
/// How long the thread sleeps at most; less while a frame waits, should its place become free unnoticed.
constexpr int kPollMs = 100, kWaitingPollMs = 10;
/// How many messages are taken in before the thread looks up: a flood must not hold up a frame.
constexpr int kMessagesATurn = 16;

/// A message being taken in; freed when it goes out of scope.
class Message {
public:
    Message() { zmq_msg_init(&message_); }
    ~Message() { zmq_msg_close(&message_); }
    Message(const Message &) = delete;
    Message &operator=(const Message &) = delete;

    zmq_msg_t *get() { return &message_; }
    const void *data() { return zmq_msg_data(&message_); }
    std::size_t size() const { return zmq_msg_size(&message_); }
    bool more() const { return zmq_msg_more(&message_) != 0; }

private:
    zmq_msg_t message_{};
};

}  // namespace

Link::Link(const st4vla_bridge_config &config)
    : jpeg_quality_(static_cast<int>(config.jpeg_quality)),
      on_chunk_(config.on_chunk),
      context_(config.context),
      intake_(config.max_frame_age_ns)
{
    zmq_msg_init(&waiting_);
}

st4vla_status Link::open(const char *endpoint, const ClientKeys *keys)
{
    has_keys_ = keys != nullptr;
    socket_ = make_socket(endpoint, buffers_);
    const st4vla_status status = socket_->connect(endpoint, keys);
    if (status == ST4VLA_OK) {
        thread_ = std::thread([this] { run(); });
    }
    return status;
}

Link::~Link()
{
    if (thread_.joinable()) {
        stop_.store(true);
        wake_.ring();
        thread_.join();
        say_goodbye();
    }
    zmq_msg_close(&waiting_);
}

void Link::run()
{
    prepare_thread("st4vla_bridge");
    pollfd sources[] = {{socket_->descriptor(), POLLIN, 0},
                        {socket_->events_descriptor(), POLLIN, 0},
                        {wake_.descriptor(), POLLIN, 0}};
    while (!stop_.load()) {
        note_events();
        greet();
        take_in();
        bool more = false, waits = false;
        {
            const std::lock_guard<std::mutex> lock(socket_mutex_);
            // The descriptor tells of news once: what there is is asked for before waiting.
            waits = has_waiting_ && !flush();
            more = socket_->readable();
        }
        poll(sources, std::size(sources), more ? 0 : waits ? kWaitingPollMs : kPollMs);
        wake_.silence();
    }
}

void Link::take_in()
{
    for (int turn = 0; turn < kMessagesATurn; ++turn) {
        Message message;
        bool is_whole = true;
        {
            const std::lock_guard<std::mutex> lock(socket_mutex_);
            if (!socket_->receive(message.get())) {
                return;
            }
            while (message.more()) {
                is_whole = false;
                if (!socket_->receive(message.get())) {
                    break;
                }
            }
        }
        if (is_whole) {
            read(message.data(), message.size(), st4vla_monotonic_ns());
        } else {
            // One frame carries one message.
            counters_.add(ST4VLA_MESSAGES_TRUNCATED);
        }
    }
}

void Link::note_events()
{
    const LinkEvents events = socket_->events();
    for (unsigned i = 0; i < events.connected; ++i) {
        counters_.add(ST4VLA_CONNECTIONS);
    }
    for (unsigned i = 0; i < events.disconnected; ++i) {
        counters_.add(ST4VLA_DISCONNECTIONS);
    }
    for (unsigned i = 0; i < events.handshakes_failed; ++i) {
        counters_.add(ST4VLA_HANDSHAKES_FAILED);
    }
    const std::lock_guard<std::mutex> lock(news_mutex_);
    known_.connected |= events.connected != 0;
    known_.refused |= events.refused;
    if (events.connected != 0 || events.disconnected != 0) {
        // Whoever listens now may serve another bundle than before.
        known_.welcome.reset();
        greets_ = true;
    }
}

void Link::greet()
{
    const int64_t now_ns = st4vla_monotonic_ns();
    {
        const std::lock_guard<std::mutex> lock(news_mutex_);
        if (!greets_ || now_ns - greeted_ns_ < kGreetingPeriodNs) {
            return;
        }
        greeted_ns_ = now_ns;
    }
    zmq_msg_t hello;
    zmq_msg_init_size(&hello, sizeof(st4vla_wire_header));
    std::size_t size = 0;
    const std::lock_guard<std::mutex> lock(socket_mutex_);
    st4vla_encode_hello(++sequence_, now_ns, zmq_msg_data(&hello), zmq_msg_size(&hello), &size);
    // A full socket drops the question.
    if (!socket_->send(&hello)) {
        zmq_msg_close(&hello);
    }
}

void Link::say_goodbye() noexcept
{
    zmq_msg_t goodbye;
    zmq_msg_init_size(&goodbye, sizeof(st4vla_wire_header));
    std::size_t size = 0;
    st4vla_encode_goodbye(++sequence_, st4vla_monotonic_ns(), zmq_msg_data(&goodbye), zmq_msg_size(&goodbye), &size);
    if (!socket_->send(&goodbye)) {
        zmq_msg_close(&goodbye);
    }
}

bool Link::flush() noexcept
{
    if (has_waiting_ && socket_->send(&waiting_)) {
        has_waiting_ = false;
        counters_.add(ST4VLA_FRAMES_SENT);
    }
    return !has_waiting_;
}

void Link::post(zmq_msg_t &message) noexcept
{
    const std::lock_guard<std::mutex> lock(socket_mutex_);
    if (has_waiting_) {
        counters_.add(ST4VLA_FRAMES_SUPERSEDED);
    }
    zmq_msg_move(&waiting_, &message);
    has_waiting_ = true;
    // A socket that was used may have taken the descriptor's news away from the thread that waits for it.
    if (!flush() || socket_->readable()) {
        wake_.ring();
    }
}

}  // namespace st4vla
