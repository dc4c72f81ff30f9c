// Pictures from another program's memory: the newest whole one, and nothing that is half of one.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "st4vla/bridge.h"
#include "st4vla/frame_memory.h"

namespace {

constexpr std::uint32_t kSlotBytes = 192, kSlots = 3;
constexpr std::uint16_t kHeight = 4, kWidth = 8;
constexpr std::size_t kPicture = std::size_t{3} * kHeight * kWidth;

/// A writer that may make mistakes.
class Writer {
public:
    explicit Writer(const std::string &path, std::uint32_t slots = kSlots)
    {
        size_ = sizeof(st4vla_frame_memory) + slots * (sizeof(st4vla_frame_slot) + kSlotBytes);
        const int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
        CHECK(file >= 0 && ftruncate(file, static_cast<off_t>(size_)) == 0);
        void *mapped = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        CHECK(mapped != MAP_FAILED);
        close(file);
        data_ = static_cast<std::uint8_t *>(mapped);
        head().magic = ST4VLA_FRAME_MEMORY_MAGIC;
        head().version = ST4VLA_FRAME_MEMORY_VERSION;
        head().slots = static_cast<std::uint16_t>(slots);
        head().slot_bytes = kSlotBytes;
    }
    ~Writer() { munmap(data_, size_); }
    Writer(const Writer &) = delete;
    Writer &operator=(const Writer &) = delete;

    st4vla_frame_memory &head() { return *reinterpret_cast<st4vla_frame_memory *>(data_); }

    void write(std::uint8_t colour, std::uint32_t wrong_sum = 0, std::uint32_t bytes = kPicture)
    {
        const std::uint32_t index = static_cast<std::uint32_t>(++count_ % head().slots);
        std::uint8_t *at = data_ + sizeof(st4vla_frame_memory) + index * (sizeof(st4vla_frame_slot) + kSlotBytes);
        st4vla_frame_slot slot{};
        slot.count = count_;
        slot.capture_ns = st4vla_monotonic_ns();
        slot.bytes = bytes;
        slot.height = kHeight;
        slot.width = kWidth;
        slot.encoding = ST4VLA_IMAGE_RGB8;
        std::memset(at + sizeof slot, colour, kPicture);
        const std::uint32_t begun = st4vla_fast_crc32c(0, &slot, sizeof slot);
        slot.crc32c = st4vla_fast_crc32c(begun, at + sizeof slot, kPicture) ^ wrong_sum;
        std::memcpy(at, &slot, sizeof slot);
        __atomic_store_n(&head().newest, index, __ATOMIC_RELEASE);
    }

private:
    std::uint8_t *data_ = nullptr;
    std::size_t size_ = 0;
    std::uint64_t count_ = 0;
};

/// A camera on a memory.
class Camera {
public:
    explicit Camera(const std::string &path)
    {
        st4vla_camera_config config{};
        config.name = "agentview";
        config.path = path.c_str();
        config.source = ST4VLA_SOURCE_MEMORY;
        status = st4vla_cameras_open(&config, 1, &cameras_);
    }
    ~Camera() { st4vla_cameras_close(cameras_); }
    Camera(const Camera &) = delete;
    Camera &operator=(const Camera &) = delete;

    /// The colour of the next picture, or -1 if none comes.
    int next(int timeout_ms)
    {
        st4vla_view view;
        if (st4vla_cameras_next(cameras_, timeout_ms, &view) != ST4VLA_OK) {
            return -1;
        }
        CHECK(view.bytes == kPicture && view.height == kHeight && view.width == kWidth);
        for (std::size_t i = 1; i < view.bytes; ++i) {
            CHECK(view.data[i] == view.data[0]);
        }
        return view.data[0];
    }

    std::uint64_t damaged()
    {
        st4vla_camera_counts counts;
        CHECK(st4vla_cameras_counts(cameras_, 0, &counts) == ST4VLA_OK);
        return counts.damaged;
    }

    st4vla_status status;

private:
    st4vla_cameras *cameras_ = nullptr;
};

void the_newest_picture_is_given_once(const std::string &path)
{
    Writer writer(path);
    Camera camera(path);
    CHECK(camera.status == ST4VLA_OK && camera.next(20) == -1);
    for (int colour = 1; colour < 10; ++colour) {
        writer.write(static_cast<std::uint8_t>(colour));
        CHECK(camera.next(2000) == colour);
        CHECK(camera.next(0) == -1);
    }
}

void a_picture_with_a_wrong_sum_is_left_out(const std::string &path)
{
    Writer writer(path);
    Camera camera(path);
    writer.write(7, 1);
    CHECK(camera.next(50) == -1 && camera.damaged() == 1);
    // One that claims to be larger than its slot.
    writer.write(8, 0, kSlotBytes + 1);
    CHECK(camera.next(50) == -1 && camera.damaged() == 2);
    writer.write(9);
    CHECK(camera.next(2000) == 9 && camera.damaged() == 2);
}

void a_writer_that_begins_anew_is_found_again(const std::string &path)
{
    Camera *camera = nullptr;
    {
        Writer writer(path);
        camera = new Camera(path);
        writer.write(1);
        CHECK(camera->next(2000) == 1);
    }
    CHECK(unlink(path.c_str()) == 0);
    Writer writer(path);
    writer.write(2);
    CHECK(camera->next(5000) == 2);
    delete camera;
}

void what_is_no_memory_is_refused_by_name(const std::string &path)
{
    CHECK(Camera(path + ".missing").status == ST4VLA_NO_CAMERA);
    CHECK(std::strstr(st4vla_detail(), ".missing") != nullptr);
    {
        Writer writer(path);
        writer.head().version = 9;
        CHECK(Camera(path).status == ST4VLA_NO_CAMERA);
        writer.head().version = ST4VLA_FRAME_MEMORY_VERSION;
        // Slots that would lie beyond the file's end.
        writer.head().slot_bytes = 0xffffffc0u;
        CHECK(Camera(path).status == ST4VLA_NO_CAMERA);
        writer.head().slot_bytes = kSlotBytes;
        writer.head().slots = 1;
        CHECK(Camera(path).status == ST4VLA_NO_CAMERA);
    }
    CHECK(truncate(path.c_str(), 0) == 0);
    CHECK(Camera(path).status == ST4VLA_NO_CAMERA);
}

}  // namespace

int main()
{
    char folder[] = "/tmp/st4vla_memory_XXXXXX";
    CHECK(mkdtemp(folder) != nullptr);
    const std::string path = std::string(folder) + "/frames";
    the_newest_picture_is_given_once(path);
    a_picture_with_a_wrong_sum_is_left_out(path);
    a_writer_that_begins_anew_is_found_again(path);
    what_is_no_memory_is_refused_by_name(path);
    CHECK(unlink(path.c_str()) == 0 && rmdir(folder) == 0);
    return 0;
}
