// A gripper that another process moves, by lines.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "st4vla/control.h"

namespace {

constexpr char kEnded[] = "the gripper's process has ended";

/// Write all of it; false where nobody reads any more.
bool write_all(int file, const char *bytes, std::size_t size) noexcept
{
    while (size > 0) {
        const ssize_t written = write(file, bytes, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        bytes += written;
        size -= static_cast<std::size_t>(written);
    }
    return true;
}

/// Read a line without its end, as much of it as there is room for; false where none comes any more.
bool read_line(int file, char *line, std::size_t room) noexcept
{
    std::size_t length = 0;
    for (;;) {
        char next = 0;
        const ssize_t got = read(file, &next, 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        if (next == '\n') {
            line[length] = '\0';
            return true;
        }
        if (length + 1 < room) {
            line[length++] = next;
        }
    }
}

}  // namespace

int st4vla_gripper_process_move(void *user, st4vla_player_gripper event, char *text)
{
    const auto &process = *static_cast<const st4vla_gripper_process *>(user);
    // A process that has ended is told of by write's result; its signal would end this one.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    const char *const command = event == ST4VLA_PLAYER_GRIPPER_OPEN ? "open\n" : "close\n";
    char answer[ST4VLA_CONTROL_TEXT_BYTES] = "";
    if (!write_all(process.commands, command, std::strlen(command)) ||
        !read_line(process.answers, answer, sizeof answer)) {
        std::memcpy(text, kEnded, sizeof kEnded);
        return 1;
    }
    if (std::strcmp(answer, "done") == 0) {
        return 0;
    }
    std::memcpy(text, answer, sizeof answer);
    return 1;
}
