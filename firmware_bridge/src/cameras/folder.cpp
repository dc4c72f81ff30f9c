// A folder of JPEG files, passed through undecoded, over and over.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "../detail.h"
#include "source.h"
#include "st4vla/bridge.h"

namespace st4vla {
namespace {

namespace fs = std::filesystem;

/// No picture of a robot's camera is larger.
constexpr std::uintmax_t kMaxBytes = 32u << 20;

bool is_jpeg_name(const fs::path &path)
{
    std::string suffix = path.extension().string();
    std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
    return suffix == ".jpg" || suffix == ".jpeg";
}

class Folder : public Source {
public:
    explicit Folder(const st4vla_camera_config &config) : folder_(config.path), pacer_(config.rate_hz) {}

    st4vla_status open() override
    {
        std::error_code error;
        files_.clear();
        for (fs::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
            if (is_jpeg_name(entry->path()) && entry->is_regular_file(error)) {
                files_.push_back(entry->path());
            }
        }
        if (error) {
            return fail(ST4VLA_NO_CAMERA, "folder '%s': %s", folder_.c_str(), error.message().c_str());
        }
        if (files_.empty()) {
            return fail(ST4VLA_NO_CAMERA, "folder '%s' has no file that ends in .jpg or .jpeg", folder_.c_str());
        }
        std::sort(files_.begin(), files_.end());
        next_ = 0;
        return ST4VLA_OK;
    }

    Grabbed grab(Picture &picture) override
    {
        if (!pacer_.wait()) {
            return Grabbed::kNothing;
        }
        const fs::path &path = files_[next_];
        next_ = (next_ + 1) % files_.size();
        picture.capture_ns = st4vla_monotonic_ns();
        picture.encoding = ST4VLA_IMAGE_JPEG;
        const std::vector<uint8_t> &data = picture.data;
        const bool is_whole =
            read(path, picture.data) &&
            st4vla_jpeg_size(data.data(), data.size(), &picture.height, &picture.width) == ST4VLA_OK;
        return is_whole ? Grabbed::kPicture : Grabbed::kDamaged;
    }

private:
    static bool read(const fs::path &path, std::vector<uint8_t> &data)
    {
        std::error_code error;
        const std::uintmax_t size = fs::file_size(path, error);
        if (error || size > kMaxBytes) {
            return false;
        }
        data.resize(static_cast<std::size_t>(size));
        std::ifstream file(path, std::ios::binary);
        file.read(reinterpret_cast<char *>(data.data()), static_cast<std::streamsize>(data.size()));
        return file.good();
    }

    std::string folder_;
    Pacer pacer_;
    std::vector<fs::path> files_;
    std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<Source> make_folder(const st4vla_camera_config &config) { return std::make_unique<Folder>(config); }

}  // namespace st4vla
