#include "control/hand.h"

#include <cerrno>
#include <system_error>

namespace st4vla::control {

Hand::~Hand()
{
    stop();
    sem_destroy(&wishes_);
}

bool Hand::start() noexcept
{
    if (robot_.gripper == nullptr) {
        return true;
    }
    stopping_.store(false);
    text_[0] = '\0';
    try {
        thread_ = std::thread(&Hand::work, this);
    } catch (const std::system_error &) {
        return false;
    }
    return true;
}

void Hand::stop() noexcept
{
    if (thread_.joinable()) {
        stopping_.store(true);
        sem_post(&wishes_);
        thread_.join();
    }
}

void Hand::wish(st4vla_player_gripper event) noexcept
{
    if (robot_.gripper != nullptr) {
        wish_.store(event);
        sem_post(&wishes_);
    }
}

void Hand::work() noexcept
{
    while (!stopping_.load()) {
        if (sem_wait(&wishes_) != 0 && errno == EINTR) {
            continue;
        }
        const int event = wish_.exchange(ST4VLA_PLAYER_GRIPPER_NOTHING);
        if (event == ST4VLA_PLAYER_GRIPPER_NOTHING || stopping_.load()) {
            continue;
        }
        const bool failed = robot_.gripper(robot_.user, static_cast<st4vla_player_gripper>(event), text_) != 0;
        (failed ? failures_ : events_).fetch_add(1, std::memory_order_relaxed);
    }
}

}  // namespace st4vla::control
