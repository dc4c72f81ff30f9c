// The V4L2 source against a device made of memory: what it asks of a driver, and what it makes of the answers.
#include <linux/videodev2.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <vector>

#include "cameras/v4l2.h"
#include "check.h"
#include "st4vla/bridge.h"

namespace {

using st4vla::Grabbed;
using st4vla::Picture;

constexpr uint32_t kHeight = 2, kWidth = 4, kLength = 4096;

/// The start of a JPEG of 2 x 4, as far as anybody looks.
std::vector<uint8_t> jpeg(uint8_t last)
{
    return {0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, kHeight, 0, kWidth, 1, 1, 0x11, 0, 0xff, 0xd9, last};
}

/// A driver and its camera. It keeps the rules of the API and says so when they are broken.
struct Device {
    std::vector<uint32_t> formats = {V4L2_PIX_FMT_MJPEG};
    uint32_t capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
    uint32_t bytes_per_line = 0;
    bool opens = true, unplugged = false;
    int64_t stamp_ns = 5'000'000'000;
    uint32_t flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;

    std::map<uint32_t, std::vector<uint8_t>> memory;
    std::deque<uint32_t> queued;
    std::deque<std::vector<uint8_t>> pictures;
    bool streams = false;
    int opened = 0, closed = 0, mapped = 0;
    double rate_hz = 0.0;
};

class Calls : public st4vla::V4l2Calls {
public:
    explicit Calls(Device &device) : device_(device) {}

    int open(const char *) override
    {
        if (!device_.opens) {
            errno = ENOENT;
            return -1;
        }
        device_.unplugged = false;
        return ++device_.opened;
    }

    void close(int) override
    {
        CHECK(!device_.streams && device_.mapped == 0);
        ++device_.closed;
    }

    int ioctl(int, unsigned long request, void *argument) override
    {
        if (device_.unplugged && request != VIDIOC_STREAMOFF) {
            errno = ENODEV;
            return -1;
        }
        switch (request) {
        case VIDIOC_QUERYCAP:
            static_cast<v4l2_capability *>(argument)->capabilities = V4L2_CAP_DEVICE_CAPS;
            static_cast<v4l2_capability *>(argument)->device_caps = device_.capabilities;
            return 0;
        case VIDIOC_S_FMT:
            return set_format(*static_cast<v4l2_format *>(argument));
        case VIDIOC_S_PARM: {
            const v4l2_fract &period = static_cast<v4l2_streamparm *>(argument)->parm.capture.timeperframe;
            device_.rate_hz = static_cast<double>(period.denominator) / period.numerator;
            return 0;
        }
        case VIDIOC_REQBUFS:
            static_cast<v4l2_requestbuffers *>(argument)->count = 3; // Fewer than asked for, as drivers may.
            return 0;
        case VIDIOC_QUERYBUF:
            static_cast<v4l2_buffer *>(argument)->length = kLength;
            static_cast<v4l2_buffer *>(argument)->m.offset = static_cast<v4l2_buffer *>(argument)->index;
            return 0;
        case VIDIOC_QBUF:
            device_.queued.push_back(static_cast<v4l2_buffer *>(argument)->index);
            return 0;
        case VIDIOC_STREAMON:
            CHECK(device_.queued.size() == 3);
            device_.streams = true;
            return 0;
        case VIDIOC_STREAMOFF:
            device_.streams = false;
            device_.queued.clear();
            return 0;
        case VIDIOC_DQBUF:
            return dequeue(*static_cast<v4l2_buffer *>(argument));
        default:
            CHECK(!"asked for");
            return -1;
        }
    }

    void *map(int, std::size_t length, long offset) override
    {
        ++device_.mapped;
        std::vector<uint8_t> &memory = device_.memory[static_cast<uint32_t>(offset)];
        memory.resize(length);
        return memory.data();
    }

    void unmap(void *, std::size_t) override { --device_.mapped; }

    int wait(int, int) override { return device_.unplugged ? -1 : device_.pictures.empty() ? 0 : 1; }

private:
    int set_format(v4l2_format &format)
    {
        for (const uint32_t offered : device_.formats) {
            if (offered == format.fmt.pix.pixelformat) {
                format.fmt.pix.bytesperline = device_.bytes_per_line;
                return 0;
            }
        }
        // A driver changes what it cannot do to what it can.
        format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
        return 0;
    }

    int dequeue(v4l2_buffer &buffer)
    {
        CHECK(device_.streams && !device_.queued.empty());
        if (device_.pictures.empty()) {
            errno = EAGAIN;
            return -1;
        }
        buffer.index = device_.queued.front();
        device_.queued.pop_front();
        const std::vector<uint8_t> picture = device_.pictures.front();
        device_.pictures.pop_front();
        std::copy(picture.begin(), picture.end(), device_.memory[buffer.index].begin());
        buffer.bytesused = static_cast<uint32_t>(picture.size());
        buffer.flags = device_.flags;
        buffer.timestamp = {device_.stamp_ns / 1'000'000'000, device_.stamp_ns % 1'000'000'000 / 1000};
        return 0;
    }

    Device &device_;
};

std::unique_ptr<st4vla::Source> source(Device &device)
{
    const st4vla_camera_config config = {"wrist", "/dev/video0", ST4VLA_SOURCE_V4L2, kHeight, kWidth, 0, 30.0};
    return st4vla::make_v4l2(config, std::make_unique<Calls>(device));
}

void mjpeg_is_passed_through_undecoded_with_the_drivers_time()
{
    Device device;
    auto camera = source(device);
    CHECK(camera->open() == ST4VLA_OK && device.rate_hz == 30.0);
    device.stamp_ns = st4vla_monotonic_ns() / 1000 * 1000 - 8'000'000;
    Picture picture;
    CHECK(camera->grab(picture) == Grabbed::kNothing);
    for (uint8_t i = 0; i < 10; ++i) {
        device.pictures.push_back(jpeg(i));
        CHECK(camera->grab(picture) == Grabbed::kPicture && picture.data == jpeg(i));
        CHECK(picture.encoding == ST4VLA_IMAGE_JPEG && picture.height == kHeight && picture.width == kWidth);
        CHECK(picture.capture_ns == device.stamp_ns && device.queued.size() == 3);
    }
    camera.reset();
    CHECK(device.opened == 1 && device.closed == 1 && device.mapped == 0);
}

void time_of_another_clock_is_not_taken_for_ours()
{
    Device device;
    device.flags = V4L2_BUF_FLAG_TIMESTAMP_UNKNOWN;
    auto camera = source(device);
    CHECK(camera->open() == ST4VLA_OK);
    const int64_t before_ns = st4vla_monotonic_ns();
    Picture picture;
    device.pictures.assign(2, jpeg(0));
    CHECK(camera->grab(picture) == Grabbed::kPicture && picture.capture_ns >= before_ns);
    device.flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    device.stamp_ns = st4vla_monotonic_ns() + 3'600'000'000'000;
    CHECK(camera->grab(picture) == Grabbed::kPicture && picture.capture_ns <= st4vla_monotonic_ns());
}

void damaged_pictures_are_told_apart_and_their_buffers_given_back()
{
    Device device;
    auto camera = source(device);
    CHECK(camera->open() == ST4VLA_OK);
    Picture picture;
    device.pictures.push_back({0, 0, 0});
    CHECK(camera->grab(picture) == Grabbed::kDamaged);
    auto other_size = jpeg(0);
    other_size[8] = 3;
    device.pictures.push_back(other_size);
    CHECK(camera->grab(picture) == Grabbed::kDamaged);
    device.pictures.push_back({});
    CHECK(camera->grab(picture) == Grabbed::kDamaged);
    device.flags |= V4L2_BUF_FLAG_ERROR;
    device.pictures.push_back(jpeg(0));
    CHECK(camera->grab(picture) == Grabbed::kDamaged && device.queued.size() == 3);
}

void rgb_rows_are_packed()
{
    Device device;
    device.formats = {V4L2_PIX_FMT_RGB24};
    device.bytes_per_line = 16;
    auto camera = source(device);
    CHECK(camera->open() == ST4VLA_OK);
    std::vector<uint8_t> rows(16 + 12);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i] = static_cast<uint8_t>(i);
    }
    device.pictures.push_back(rows);
    Picture picture;
    CHECK(camera->grab(picture) == Grabbed::kPicture && picture.encoding == ST4VLA_IMAGE_RGB8);
    CHECK(picture.data.size() == 24 && picture.data[11] == 11 && picture.data[12] == 16 && picture.data[23] == 27);
    rows.pop_back();
    device.pictures.push_back(rows);
    CHECK(camera->grab(picture) == Grabbed::kDamaged);
}

void devices_that_are_of_no_use_are_refused_by_name()
{
    Device none;
    none.opens = false;
    CHECK(source(none)->open() == ST4VLA_NO_CAMERA);
    Device metadata;
    metadata.capabilities = V4L2_CAP_META_CAPTURE | V4L2_CAP_STREAMING;
    CHECK(source(metadata)->open() == ST4VLA_NO_CAMERA && metadata.closed == 1);
    Device yuyv;
    yuyv.formats = {};
    CHECK(source(yuyv)->open() == ST4VLA_CAMERA_FORMAT && yuyv.closed == 1);
    CHECK(std::strstr(st4vla_detail(), "4 x 2") != nullptr);
}

void camera_that_is_plugged_in_again_goes_on()
{
    Device device;
    auto camera = source(device);
    CHECK(camera->open() == ST4VLA_OK);
    device.unplugged = true;
    Picture picture;
    CHECK(camera->grab(picture) == Grabbed::kLost);
    device.opens = false;
    CHECK(camera->open() == ST4VLA_NO_CAMERA && device.closed == 1);
    CHECK(camera->grab(picture) == Grabbed::kLost);
    device.opens = true;
    CHECK(camera->open() == ST4VLA_OK && device.opened == 2);
    device.pictures.push_back(jpeg(1));
    CHECK(camera->grab(picture) == Grabbed::kPicture);
}

}  // namespace

int main()
{
    mjpeg_is_passed_through_undecoded_with_the_drivers_time();
    time_of_another_clock_is_not_taken_for_ours();
    damaged_pictures_are_told_apart_and_their_buffers_given_back();
    rgb_rows_are_packed();
    devices_that_are_of_no_use_are_refused_by_name();
    camera_that_is_plugged_in_again_goes_on();
    return 0;
}
