// The bridge for C++17: the C ABI of bridge.h with owners and exceptions. Headers only.
#ifndef ST4VLA_BRIDGE_HPP
#define ST4VLA_BRIDGE_HPP

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "st4vla/bridge.h"

namespace st4vla {

/// A call that came to another status than ST4VLA_OK.
class Error : public std::runtime_error {
public:
    explicit Error(st4vla_status status) : std::runtime_error(text(status)), status_(status) {}

    st4vla_status status() const noexcept { return status_; }

private:
    /// The detail where the call has left one, else what the status means.
    static std::string text(st4vla_status status)
    {
        const bool has_detail = status == ST4VLA_BAD_ARGUMENT || status == ST4VLA_SYSTEM ||
                                status == ST4VLA_BAD_ENDPOINT || status == ST4VLA_KEY_FILE ||
                                status == ST4VLA_NO_CAMERA || status == ST4VLA_CAMERA_FORMAT ||
                                status == ST4VLA_BAD_JPEG;
        const char *detail = has_detail ? st4vla_detail() : "";
        return *detail != '\0' ? detail : st4vla_status_text(status);
    }

    st4vla_status status_;
};

/// Throw Error on another status than ST4VLA_OK.
inline void check(st4vla_status status)
{
    if (status != ST4VLA_OK) {
        throw Error(status);
    }
}

/// Where a runtime is, and how to reach it.
struct BridgeOptions {
    std::string endpoint;
    std::string secret_key_file; ///< empty: no keys
    std::string server_key_file;
    int jpeg_quality = 0;                       ///< 0: raw pictures go out raw
    std::chrono::nanoseconds max_frame_age{0}; ///< 0: a chunk of a frame of any age is let in
    st4vla_chunk_callback on_chunk = nullptr;
    void *context = nullptr;
};

/// The way to one runtime.
class Bridge {
public:
    explicit Bridge(const BridgeOptions &options)
    {
        if (st4vla_abi_version() != ST4VLA_ABI_VERSION) {
            throw Error(ST4VLA_OTHER_ABI);
        }
        st4vla_bridge_config config = st4vla_bridge_defaults();
        config.endpoint = options.endpoint.c_str();
        config.secret_key_file = options.secret_key_file.empty() ? nullptr : options.secret_key_file.c_str();
        config.server_key_file = options.server_key_file.empty() ? nullptr : options.server_key_file.c_str();
        config.jpeg_quality = static_cast<uint32_t>(options.jpeg_quality);
        config.max_frame_age_ns = options.max_frame_age.count();
        config.on_chunk = options.on_chunk;
        config.context = options.context;
        st4vla_bridge *handle = nullptr;
        check(st4vla_bridge_open(&config, &handle));
        handle_.reset(handle);
    }

    /// Wait until the runtime has said what it serves; throws Error, whose status says why it has not.
    st4vla_welcome hello(std::chrono::milliseconds timeout)
    {
        st4vla_welcome welcome;
        check(st4vla_bridge_hello(handle_.get(), static_cast<int>(timeout.count()), &welcome));
        return welcome;
    }

    /// Send a frame and return its number, or nothing if it had to be dropped.
    std::optional<uint64_t> send(const st4vla_observation &observation)
    {
        uint64_t sequence = 0;
        const st4vla_status status = st4vla_bridge_send(handle_.get(), &observation, &sequence);
        if (status == ST4VLA_BUSY) {
            return std::nullopt;
        }
        check(status);
        return sequence;
    }

    /// Fill in the newest chunk that was not given yet; false if none came in time.
    bool receive(std::chrono::milliseconds timeout, st4vla_chunk &chunk)
    {
        const auto status = st4vla_bridge_receive(handle_.get(), static_cast<int>(timeout.count()), &chunk);
        if (status == ST4VLA_TIMEOUT) {
            return false;
        }
        check(status);
        return true;
    }

    std::optional<st4vla_clock_offset> clock() const { return news(st4vla_bridge_clock); }
    std::optional<st4vla_server_error> last_error() const { return news(st4vla_bridge_last_error); }
    std::optional<st4vla_plan> last_plan() const { return news(st4vla_bridge_last_plan); }

    uint64_t count(st4vla_counter counter) const noexcept { return st4vla_bridge_count(handle_.get(), counter); }

    /// For what this class does not offer.
    st4vla_bridge *handle() const noexcept { return handle_.get(); }

private:
    struct Close {
        void operator()(st4vla_bridge *bridge) const noexcept { st4vla_bridge_close(bridge); }
    };

    template <typename T>
    std::optional<T> news(st4vla_status (*ask)(const st4vla_bridge *, T *)) const
    {
        T value{};
        const st4vla_status status = ask(handle_.get(), &value);
        if (status == ST4VLA_TIMEOUT) {
            return std::nullopt;
        }
        check(status);
        return value;
    }

    std::unique_ptr<st4vla_bridge, Close> handle_;
};

/// Cameras that run.
class Cameras {
public:
    explicit Cameras(const std::vector<st4vla_camera_config> &configs) : views_(configs.size())
    {
        st4vla_cameras *handle = nullptr;
        check(st4vla_cameras_open(configs.data(), configs.size(), &handle));
        handle_.reset(handle);
    }

    /// The newest picture of each, or nothing if there was none in time. They stay until the next call.
    const std::vector<st4vla_view> *next(std::chrono::milliseconds timeout)
    {
        const auto status = st4vla_cameras_next(handle_.get(), static_cast<int>(timeout.count()), views_.data());
        if (status == ST4VLA_TIMEOUT) {
            return nullptr;
        }
        check(status);
        return &views_;
    }

    st4vla_camera_counts counts(std::size_t camera) const
    {
        st4vla_camera_counts counts;
        check(st4vla_cameras_counts(handle_.get(), camera, &counts));
        return counts;
    }

private:
    struct Close {
        void operator()(st4vla_cameras *cameras) const noexcept { st4vla_cameras_close(cameras); }
    };

    std::unique_ptr<st4vla_cameras, Close> handle_;
    std::vector<st4vla_view> views_;
};

/// An observation of these views; both must outlive it. Throws std::invalid_argument for none or too many.
inline st4vla_observation observe(const std::vector<st4vla_view> &views, std::string_view instruction)
{
    if (views.empty() || views.size() > ST4VLA_MAX_VIEWS) {
        throw std::invalid_argument("an observation has 1 to 8 views; got " + std::to_string(views.size()));
    }
    st4vla_observation observation{};
    observation.instruction = instruction.data();
    observation.instruction_bytes = static_cast<uint32_t>(instruction.size());
    observation.view_count = static_cast<uint32_t>(views.size());
    std::memcpy(observation.views, views.data(), views.size() * sizeof(st4vla_view));
    return observation;
}

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_HPP
