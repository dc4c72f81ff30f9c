#include "room.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <new>

#include "../wire/encode.h"

namespace st4vla {
namespace {

/// What a shared memory has before its message.
constexpr std::size_t kHeadBytes = ST4VLA_VIEW_ALIGNMENT;

/// Memory that cannot shrink while others read it, or a negative number.
int make_memory(std::size_t size) noexcept
{
    const int descriptor = memfd_create("st4vla_message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (descriptor < 0) {
        return -1;
    }
    // Reserved now: a page that is missing when it is written would end the process.
    if (posix_fallocate(descriptor, 0, static_cast<off_t>(size)) != 0 ||
        fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
        close(descriptor);
        return -1;
    }
    return descriptor;
}

}  // namespace

Room::~Room() { free(); }

void Room::free() noexcept
{
    if (descriptor_ >= 0) {
        munmap(bytes_ - kHeadBytes, size_ + kHeadBytes);
        close(descriptor_);
    } else {
        std::free(bytes_);
    }
    bytes_ = nullptr;
    size_ = 0;
    descriptor_ = -1;
}

void Room::make(std::size_t size, bool shared)
{
    free();
    const std::size_t capacity = aligned(size);
    if (!shared) {
        bytes_ = static_cast<unsigned char *>(std::aligned_alloc(ST4VLA_VIEW_ALIGNMENT, capacity));
        if (bytes_ == nullptr) {
            throw std::bad_alloc();
        }
        size_ = capacity;
        return;
    }
    const int descriptor = make_memory(kHeadBytes + capacity);
    void *mapped = descriptor < 0 ? MAP_FAILED
                                  : mmap(nullptr, kHeadBytes + capacity, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED) {
        if (descriptor >= 0) {
            close(descriptor);
        }
        throw std::bad_alloc();
    }
    bytes_ = static_cast<unsigned char *>(mapped) + kHeadBytes;
    size_ = capacity;
    descriptor_ = descriptor;
}

bool Room::is_lent() const noexcept
{
    return descriptor_ >= 0 && __atomic_load_n(bytes_ - kHeadBytes, __ATOMIC_ACQUIRE) != 0;
}

void Room::set_lent(bool lent) noexcept
{
    __atomic_store_n(bytes_ - kHeadBytes, static_cast<unsigned char>(lent), __ATOMIC_RELEASE);
}

}  // namespace st4vla
