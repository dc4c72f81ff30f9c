#include "shared_frames.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

namespace st4vla {
namespace {

/// One is being read and one written; the others let a reader be late for a moment.
constexpr std::size_t kSlots = 4;
/// The count of a slot's frame lies at its beginning, the frame where a picture may begin.
constexpr std::size_t kHeadBytes = 64;
/// Slots grow by whole blocks, so that JPEGs, of which each is a little longer, do not make a memory each.
constexpr std::size_t kBlockBytes = 256 * 1024;

}  // namespace

SharedFrames::~SharedFrames() { release(); }

void SharedFrames::release() noexcept
{
    if (bytes_ != nullptr) {
        munmap(bytes_, kSlots * slot_bytes_);
        close(descriptor_);
        bytes_ = nullptr;
        descriptor_ = -1;
        slot_bytes_ = 0;
    }
}

bool SharedFrames::grow(std::size_t size) noexcept
{
    release();
    const std::size_t slot_bytes = (kHeadBytes + size + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
    const int descriptor = memfd_create("st4vla_frames", MFD_CLOEXEC);
    if (descriptor < 0) {
        return false;
    }
    // Reserved now: a page that is missing when it is written would end the process.
    void *bytes = MAP_FAILED;
    if (posix_fallocate(descriptor, 0, static_cast<off_t>(kSlots * slot_bytes)) == 0) {
        bytes = mmap(nullptr, kSlots * slot_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    }
    if (bytes == MAP_FAILED) {
        close(descriptor);
        return false;
    }
    descriptor_ = descriptor;
    bytes_ = static_cast<unsigned char *>(bytes);
    slot_bytes_ = slot_bytes;
    ++memory_;
    return true;
}

bool SharedFrames::write(const void *frame, std::size_t size, FrameNote &note) noexcept
{
    if (kHeadBytes + size > slot_bytes_ && !grow(size)) {
        return false;
    }
    const std::size_t slot = ++count_ % kSlots * slot_bytes_;
    auto *count = reinterpret_cast<uint64_t *>(bytes_ + slot);
    __atomic_store_n(count, uint64_t{0}, __ATOMIC_RELAXED);
    // No byte of this frame may be seen beside the count of the one before.
    std::atomic_thread_fence(std::memory_order_release);
    std::memcpy(bytes_ + slot + kHeadBytes, frame, size);
    __atomic_store_n(count, count_, __ATOMIC_RELEASE);
    note = FrameNote{{'S', 'T', '4', 'M'}, 1, 0, count_, slot, size};
    return true;
}

}  // namespace st4vla
