// Pictures that another program of this machine leaves in memory: frame_memory.h.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <system_error>
#include <thread>

#include "../detail.h"
#include "../wire/crc32c.h"
#include "source.h"
#include "st4vla/bridge.h"
#include "st4vla/frame_memory.h"

namespace st4vla {
namespace {

/// How often the memory is looked at: a picture waits half of it on average.
constexpr std::chrono::microseconds kLook{500};

/// A file, mapped read-only.
class Mapping {
public:
    Mapping() = default;
    ~Mapping() { close(); }
    Mapping(const Mapping &) = delete;
    Mapping &operator=(const Mapping &) = delete;

    /// Map a file in the place of an older one; errno says why not.
    bool open(const std::string &path)
    {
        close();
        const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        struct stat status {};
        if (file < 0 || fstat(file, &status) != 0) {
            return false;
        }
        size_ = static_cast<std::size_t>(status.st_size);
        inode_ = status.st_ino;
        void *mapped = size_ == 0 ? MAP_FAILED : mmap(nullptr, size_, PROT_READ, MAP_SHARED, file, 0);
        ::close(file);
        data_ = mapped == MAP_FAILED ? nullptr : static_cast<const uint8_t *>(mapped);
        return data_ != nullptr;
    }

    /// Whether the path still names this file, and the file still has all that is mapped.
    bool is_there(const std::string &path) const
    {
        struct stat status {};
        return stat(path.c_str(), &status) == 0 && status.st_ino == inode_ &&
               static_cast<std::size_t>(status.st_size) >= size_;
    }

    const uint8_t *data() const { return data_; }
    std::size_t size() const { return size_; }

private:
    void close()
    {
        if (data_ != nullptr) {
            munmap(const_cast<uint8_t *>(data_), size_);
            data_ = nullptr;
        }
    }

    const uint8_t *data_ = nullptr;
    std::size_t size_ = 0;
    ino_t inode_ = 0;
};

class Memory : public Source {
public:
    explicit Memory(const st4vla_camera_config &config) : path_(config.path) {}

    st4vla_status open() override
    {
        if (!mapping_.open(path_)) {
            const std::string why = std::system_category().message(errno);
            return fail(ST4VLA_NO_CAMERA, "frame memory '%s': %s", path_.c_str(), why.c_str());
        }
        st4vla_frame_memory head{};
        if (mapping_.size() >= sizeof head) {
            std::memcpy(&head, mapping_.data(), sizeof head);
        }
        const uint64_t slot = sizeof(st4vla_frame_slot) + static_cast<uint64_t>(head.slot_bytes);
        if (head.magic != ST4VLA_FRAME_MEMORY_MAGIC || head.version != ST4VLA_FRAME_MEMORY_VERSION || head.slots < 2 ||
            head.slots > ST4VLA_FRAME_MEMORY_MAX_SLOTS || mapping_.size() < sizeof head + head.slots * slot) {
            return fail(ST4VLA_NO_CAMERA, "'%s' is no frame memory of version %d, or not a whole one", path_.c_str(),
                        ST4VLA_FRAME_MEMORY_VERSION);
        }
        slots_ = head.slots;
        slot_bytes_ = head.slot_bytes;
        count_ = 0;
        return ST4VLA_OK;
    }

    Grabbed grab(Picture &picture) override
    {
        for (int looked = 0; looked < kGrabTimeoutMs * 1000 / static_cast<int>(kLook.count()); ++looked) {
            const st4vla_frame_slot slot = newest();
            if (slot.count != 0 && slot.count != count_) {
                return take(slot, picture);
            }
            std::this_thread::sleep_for(kLook);
        }
        // Nothing new: perhaps its writer began anew, with another file.
        return mapping_.is_there(path_) ? Grabbed::kNothing : Grabbed::kLost;
    }

private:
    const uint8_t *slot_at(uint32_t index) const
    {
        const std::size_t each = sizeof(st4vla_frame_slot) + slot_bytes_;
        return mapping_.data() + sizeof(st4vla_frame_memory) + index % slots_ * each;
    }

    st4vla_frame_slot newest()
    {
        const auto *head = reinterpret_cast<const st4vla_frame_memory *>(mapping_.data());
        newest_ = __atomic_load_n(&head->newest, __ATOMIC_ACQUIRE);
        st4vla_frame_slot slot;
        std::memcpy(&slot, slot_at(newest_), sizeof slot);
        return slot;
    }

    /// Copy a picture out; one that was overwritten meanwhile does not pass its sum.
    Grabbed take(st4vla_frame_slot slot, Picture &picture)
    {
        // Whatever it is, it is looked at once.
        count_ = slot.count;
        if (slot.bytes == 0 || slot.bytes > slot_bytes_) {
            return Grabbed::kDamaged;
        }
        picture.data.resize(slot.bytes);
        const uint32_t sum = slot.crc32c;
        slot.crc32c = 0;
        const uint32_t begun = crc32c(0, &slot, sizeof slot);
        if (copy_crc32c(begun, picture.data.data(), slot_at(newest_) + sizeof slot, slot.bytes) != sum) {
            // The writer was faster by a whole round; its newest will do.
            return Grabbed::kDamaged;
        }
        picture.capture_ns = slot.capture_ns;
        picture.height = slot.height;
        picture.width = slot.width;
        picture.encoding = slot.encoding;
        const bool is_raw = slot.encoding == ST4VLA_IMAGE_RGB8;
        const bool fits = !is_raw || slot.bytes == uint64_t{3} * slot.height * slot.width;
        return fits && (is_raw || slot.encoding == ST4VLA_IMAGE_JPEG) ? Grabbed::kPicture : Grabbed::kDamaged;
    }

    std::string path_;
    Mapping mapping_;
    uint32_t slots_ = 1, slot_bytes_ = 0, newest_ = 0;
    uint64_t count_ = 0;
};

}  // namespace

std::unique_ptr<Source> make_memory(const st4vla_camera_config &config) { return std::make_unique<Memory>(config); }

}  // namespace st4vla
