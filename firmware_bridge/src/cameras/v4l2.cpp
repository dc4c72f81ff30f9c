// A V4L2 device: the driver's buffers mapped into memory, MJPEG passed through undecoded.
//
// Not run on hardware: tests put a device of their own in its place (tests/test_v4l2.cpp).
#include "v4l2.h"

#include <linux/videodev2.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "../detail.h"
#include "st4vla/bridge.h"

namespace st4vla {
namespace {

/// One is being filled, one was just filled, one is ours, and one to spare.
constexpr uint32_t kBuffers = 4;
/// A device that gives nothing for so long is opened again.
constexpr int64_t kSilenceNs = 2'000'000'000;

/// Unlike strerror, for several threads.
std::string error_text() { return std::generic_category().message(errno); }

struct Mapping {
    void *address;
    std::size_t length;
};

class V4l2 : public Source {
public:
    V4l2(const st4vla_camera_config &config, std::unique_ptr<V4l2Calls> calls)
        : path_(config.path), height_(config.height), width_(config.width), rate_hz_(config.rate_hz),
          calls_(std::move(calls))
    {
    }

    ~V4l2() override { close(); }

    st4vla_status open() override
    {
        close();
        descriptor_ = calls_->open(path_.c_str());
        if (descriptor_ < 0) {
            return fail(ST4VLA_NO_CAMERA, "%s: %s", path_.c_str(), error_text().c_str());
        }
        st4vla_status status = check_capabilities();
        status = status != ST4VLA_OK ? status : choose_format();
        status = status != ST4VLA_OK ? status : set_rate();
        status = status != ST4VLA_OK ? status : map_buffers();
        if (status != ST4VLA_OK) {
            close();
        }
        seen_ns_ = st4vla_monotonic_ns();
        return status;
    }

    Grabbed grab(Picture &picture) override
    {
        const int ready = descriptor_ < 0 ? -1 : calls_->wait(descriptor_, kGrabTimeoutMs);
        if (ready < 0) {
            return Grabbed::kLost;
        }
        v4l2_buffer buffer = blank();
        if (ready == 0 || calls_->ioctl(descriptor_, VIDIOC_DQBUF, &buffer) != 0) {
            const bool waits = ready == 0 || errno == EAGAIN;
            return waits && st4vla_monotonic_ns() - seen_ns_ < kSilenceNs ? Grabbed::kNothing : Grabbed::kLost;
        }
        seen_ns_ = st4vla_monotonic_ns();
        const bool is_whole = buffer.index < mapped_ && (buffer.flags & V4L2_BUF_FLAG_ERROR) == 0 &&
                              buffer.bytesused <= mappings_[buffer.index].length && take(buffer, picture);
        return calls_->ioctl(descriptor_, VIDIOC_QBUF, &buffer) != 0 ? Grabbed::kLost
               : is_whole                                           ? Grabbed::kPicture
                                                                    : Grabbed::kDamaged;
    }

private:
    static v4l2_buffer blank()
    {
        v4l2_buffer buffer{};
        buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        buffer.memory = V4L2_MEMORY_MMAP;
        return buffer;
    }

    st4vla_status refused(const char *what) const
    {
        return fail(ST4VLA_SYSTEM, "%s: %s: %s", path_.c_str(), what, error_text().c_str());
    }

    st4vla_status check_capabilities()
    {
        v4l2_capability found{};
        if (calls_->ioctl(descriptor_, VIDIOC_QUERYCAP, &found) != 0) {
            return fail(ST4VLA_NO_CAMERA, "%s is no V4L2 device", path_.c_str());
        }
        const uint32_t has =
            (found.capabilities & V4L2_CAP_DEVICE_CAPS) != 0 ? found.device_caps : found.capabilities;
        const uint32_t wanted = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        if ((has & wanted) != wanted) {
            return fail(ST4VLA_NO_CAMERA, "%s gives no video; a camera often has a second device", path_.c_str());
        }
        return ST4VLA_OK;
    }

    /// MJPEG if the device has it, else RGB, in the size that is wanted: nothing is scaled here.
    st4vla_status choose_format()
    {
        for (const uint32_t pixels : {V4L2_PIX_FMT_MJPEG, V4L2_PIX_FMT_JPEG, V4L2_PIX_FMT_RGB24}) {
            v4l2_format format{};
            format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
            format.fmt.pix.width = width_;
            format.fmt.pix.height = height_;
            format.fmt.pix.pixelformat = pixels;
            format.fmt.pix.field = V4L2_FIELD_NONE;
            if (calls_->ioctl(descriptor_, VIDIOC_S_FMT, &format) != 0) {
                if (errno == EBUSY) {
                    return refused("somebody else uses it");
                }
                continue;
            }
            const v4l2_pix_format &got = format.fmt.pix;
            if (got.pixelformat == pixels && got.width == width_ && got.height == height_) {
                is_jpeg_ = pixels != V4L2_PIX_FMT_RGB24;
                stride_ = got.bytesperline;
                return ST4VLA_OK;
            }
        }
        return fail(ST4VLA_CAMERA_FORMAT, "%s offers neither MJPEG nor RGB24 of %u x %u; `v4l2-ctl -d %s "
                    "--list-formats-ext` lists what it has", path_.c_str(), width_, height_, path_.c_str());
    }

    /// A device without a rate to set keeps its own.
    st4vla_status set_rate()
    {
        if (rate_hz_ > 0) {
            v4l2_streamparm parameters{};
            parameters.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
            parameters.parm.capture.timeperframe = {1000, static_cast<uint32_t>(rate_hz_ * 1000)};
            calls_->ioctl(descriptor_, VIDIOC_S_PARM, &parameters);
        }
        return ST4VLA_OK;
    }

    st4vla_status map_buffers()
    {
        v4l2_requestbuffers request{};
        request.count = kBuffers;
        request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        request.memory = V4L2_MEMORY_MMAP;
        if (calls_->ioctl(descriptor_, VIDIOC_REQBUFS, &request) != 0 || request.count < 2) {
            return refused("no buffers to map");
        }
        for (uint32_t index = 0; index < std::min(request.count, kBuffers); ++index) {
            v4l2_buffer buffer = blank();
            buffer.index = index;
            if (calls_->ioctl(descriptor_, VIDIOC_QUERYBUF, &buffer) != 0) {
                return refused("a buffer cannot be asked for");
            }
            void *address = calls_->map(descriptor_, buffer.length, static_cast<long>(buffer.m.offset));
            if (address == MAP_FAILED) {
                return refused("a buffer cannot be mapped");
            }
            mappings_[mapped_++] = {address, buffer.length};
            if (calls_->ioctl(descriptor_, VIDIOC_QBUF, &buffer) != 0) {
                return refused("a buffer cannot be queued");
            }
        }
        int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        return calls_->ioctl(descriptor_, VIDIOC_STREAMON, &type) == 0 ? ST4VLA_OK : refused("it does not begin");
    }

    bool take(const v4l2_buffer &buffer, Picture &picture)
    {
        const auto *bytes = static_cast<const uint8_t *>(mappings_[buffer.index].address);
        picture.capture_ns = captured_ns(buffer);
        picture.height = static_cast<uint16_t>(height_);
        picture.width = static_cast<uint16_t>(width_);
        if (is_jpeg_) {
            picture.encoding = ST4VLA_IMAGE_JPEG;
            picture.data.assign(bytes, bytes + buffer.bytesused);
            uint16_t height = 0, width = 0;
            return st4vla_jpeg_size(bytes, buffer.bytesused, &height, &width) == ST4VLA_OK && height == height_ &&
                   width == width_;
        }
        const std::size_t row = std::size_t{3} * width_, stride = std::max<std::size_t>(stride_, row);
        if (buffer.bytesused < stride * (height_ - 1) + row) {
            return false;
        }
        picture.encoding = ST4VLA_IMAGE_RGB8;
        picture.data.resize(row * height_);
        for (uint32_t y = 0; y < height_; ++y) {
            std::memcpy(picture.data.data() + y * row, bytes + y * stride, row);
        }
        return true;
    }

    /// The driver's own time where it is of our clock; it is earlier than ours by what the picture took to get here.
    static int64_t captured_ns(const v4l2_buffer &buffer)
    {
        const int64_t now_ns = st4vla_monotonic_ns();
        if ((buffer.flags & V4L2_BUF_FLAG_TIMESTAMP_MASK) != V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC) {
            return now_ns;
        }
        const int64_t told_ns =
            int64_t{buffer.timestamp.tv_sec} * 1'000'000'000 + int64_t{buffer.timestamp.tv_usec} * 1'000;
        return told_ns > 0 ? std::min(told_ns, now_ns) : now_ns;
    }

    void close()
    {
        if (descriptor_ < 0) {
            return;
        }
        int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        calls_->ioctl(descriptor_, VIDIOC_STREAMOFF, &type);
        while (mapped_ != 0) {
            --mapped_;
            calls_->unmap(mappings_[mapped_].address, mappings_[mapped_].length);
        }
        calls_->close(descriptor_);
        descriptor_ = -1;
    }

    std::string path_;
    uint32_t height_, width_, stride_ = 0;
    double rate_hz_;
    std::unique_ptr<V4l2Calls> calls_;
    int descriptor_ = -1;
    bool is_jpeg_ = false;
    Mapping mappings_[kBuffers] = {};
    uint32_t mapped_ = 0;
    int64_t seen_ns_ = 0;
};

}  // namespace

std::unique_ptr<Source> make_v4l2(const st4vla_camera_config &config, std::unique_ptr<V4l2Calls> calls)
{
    return std::make_unique<V4l2>(config, std::move(calls));
}

std::unique_ptr<Source> make_v4l2(const st4vla_camera_config &config)
{
    return make_v4l2(config, system_v4l2_calls());
}

}  // namespace st4vla
