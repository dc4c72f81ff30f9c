#include "bell.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace st4vla {

Bell::Bell() : descriptor_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC))
{
    if (descriptor_ < 0) {
        throw std::system_error(errno, std::generic_category(), "eventfd");
    }
}

Bell::~Bell() { close(descriptor_); }

void Bell::ring() noexcept
{
    // It fails only when it has been rung 2^64 times and is readable anyway.
    [[maybe_unused]] const int unheard = eventfd_write(descriptor_, 1);
}

void Bell::silence() noexcept
{
    eventfd_t rings = 0;
    [[maybe_unused]] const int silent = eventfd_read(descriptor_, &rings);
}

}  // namespace st4vla
