// Cameras that need no device: folders, patterns, and how their pictures are joined.
#include <sys/stat.h>
#include <turbojpeg.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "st4vla/bridge.hpp"

namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;
using std::chrono::milliseconds;

/// A folder that is gone when the test ends.
class Folder {
public:
    Folder()
    {
        std::string name = (fs::temp_directory_path() / "st4vla_cameras_XXXXXX").string();
        CHECK(mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    ~Folder() { fs::remove_all(path_); }

    void put(const std::string &name, const Bytes &data) const
    {
        std::ofstream(path_ / name, std::ios::binary)
            .write(reinterpret_cast<const char *>(data.data()), static_cast<std::streamsize>(data.size()));
    }
    std::string path() const { return path_.string(); }

private:
    fs::path path_;
};

Bytes jpeg(int height, int width, uint8_t grey)
{
    const Bytes pixels(static_cast<std::size_t>(3 * height * width), grey);
    tjhandle handle = tjInitCompress();
    unsigned char *out = nullptr;
    unsigned long size = 0;
    CHECK(tjCompress2(handle, pixels.data(), width, 0, height, TJPF_RGB, &out, &size, TJSAMP_420, 90, 0) == 0);
    Bytes bytes(out, out + size);
    tjFree(out);
    tjDestroy(handle);
    return bytes;
}

st4vla_camera_config folder_camera(const char *name, const std::string &path, double rate_hz = 200.0)
{
    return {name, path.c_str(), ST4VLA_SOURCE_FOLDER, 0, 0, 0, rate_hz};
}

st4vla_camera_config pattern(const char *name, double rate_hz)
{
    return {name, nullptr, ST4VLA_SOURCE_PATTERN, 12, 16, 0, rate_hz};
}

st4vla_status refusal(const std::vector<st4vla_camera_config> &configs)
{
    try {
        st4vla::Cameras cameras(configs);
    } catch (const st4vla::Error &error) {
        return error.status();
    }
    return ST4VLA_OK;
}

void size_of_a_jpeg_is_read_and_of_nothing_else()
{
    uint16_t height = 0, width = 0;
    const Bytes good = jpeg(30, 41, 7);
    CHECK(st4vla_jpeg_size(good.data(), good.size(), &height, &width) == ST4VLA_OK && height == 30 && width == 41);
    // The frame's marker, its length, precision, height and width; whatever is cut off of that is missed.
    const uint8_t frame[] = {0xff, 0xc0};
    const auto marker = std::search(good.begin(), good.end(), std::begin(frame), std::end(frame)) - good.begin();
    const auto needed = static_cast<std::size_t>(marker) + 2 + 17;
    for (std::size_t size = 1; size < good.size(); ++size) {
        const Bytes part(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
        const st4vla_status expected = size < needed ? ST4VLA_BAD_JPEG : ST4VLA_OK;
        CHECK(st4vla_jpeg_size(part.data(), part.size(), &height, &width) == expected);
    }
    CHECK(st4vla_jpeg_size(reinterpret_cast<const uint8_t *>("\x89PNG\r\n\x1a\n"), 8, &height, &width) ==
          ST4VLA_BAD_JPEG);
    const uint8_t endless[] = {0xff, 0xd8, 0xff, 0xe0, 0x00, 0x00, 0xff, 0xe0, 0x00, 0x00};
    CHECK(st4vla_jpeg_size(endless, sizeof endless, &height, &width) == ST4VLA_BAD_JPEG);
}

void folder_is_passed_through_in_order_and_over_again()
{
    Folder folder;
    const Bytes first = jpeg(8, 16, 10), second = jpeg(8, 16, 200);
    folder.put("b.JPG", second);
    folder.put("a.jpeg", first);
    folder.put("notes.txt", {'x'});
    st4vla::Cameras cameras({folder_camera("agentview", folder.path(), 50.0)});
    std::set<bool> seen;
    for (int i = 0; i < 8; ++i) {
        const auto *views = cameras.next(milliseconds(2000));
        CHECK(views != nullptr && views->size() == 1);
        const st4vla_view &view = views->front();
        CHECK(std::string(view.name) == "agentview" && view.encoding == ST4VLA_IMAGE_JPEG);
        CHECK(view.height == 8 && view.width == 16 && view.capture_ns <= st4vla_monotonic_ns());
        const Bytes got(view.data, view.data + view.bytes);
        CHECK(got == first || got == second);
        seen.insert(got == first);
    }
    CHECK(seen.size() == 2);
}

void damaged_files_are_counted_and_passed_over()
{
    Folder folder;
    folder.put("a.jpg", jpeg(8, 16, 10));
    folder.put("b.jpg", {'n', 'o', 'n', 'e'});
    folder.put("c.jpg", {});
    st4vla::Cameras cameras({folder_camera("agentview", folder.path())});
    for (int i = 0; i < 4; ++i) {
        CHECK(cameras.next(milliseconds(2000)) != nullptr);
    }
    CHECK(cameras.counts(0).damaged >= 4 && cameras.counts(0).frames >= 4);
}

void wrong_cameras_are_refused_by_name()
{
    Folder empty;
    CHECK(refusal({folder_camera("a", "/nowhere/at/all")}) == ST4VLA_NO_CAMERA);
    CHECK(refusal({folder_camera("a", empty.path())}) == ST4VLA_NO_CAMERA);
    CHECK(std::strstr(st4vla_detail(), empty.path().c_str()) != nullptr);
    CHECK(refusal({pattern("seventeen_letters", 30.0)}) == ST4VLA_BAD_ARGUMENT);
    CHECK(refusal({pattern("", 30.0)}) == ST4VLA_BAD_ARGUMENT);
    CHECK(refusal({pattern("a", 0.0)}) == ST4VLA_BAD_ARGUMENT);
    CHECK(refusal({{"a", nullptr, ST4VLA_SOURCE_PATTERN, 0, 16, 0, 30.0}}) == ST4VLA_BAD_ARGUMENT);
    CHECK(refusal({{"a", nullptr, ST4VLA_SOURCE_FOLDER, 0, 0, 0, 30.0}}) == ST4VLA_BAD_ARGUMENT);
    CHECK(refusal({{"a", "x", 9, 8, 8, 0, 30.0}}) == ST4VLA_BAD_ARGUMENT);
    CHECK(refusal({{"a", "/dev/null", ST4VLA_SOURCE_V4L2, 8, 8, 0, 30.0}}) == ST4VLA_NO_CAMERA);
    CHECK(refusal({{"a", "/dev/video-none", ST4VLA_SOURCE_V4L2, 8, 8, 0, 30.0}}) == ST4VLA_NO_CAMERA);
    CHECK(refusal(std::vector<st4vla_camera_config>(9, pattern("a", 30.0))) == ST4VLA_BAD_ARGUMENT);
}

void pictures_of_one_observation_are_of_one_time()
{
    // Without waiting for the fitting picture, the second camera's would be a whole period old half of the time.
    st4vla::Cameras cameras({pattern("agentview", 20.0), pattern("wrist", 20.0)});
    std::vector<int64_t> apart_ns;
    for (int i = 0; i < 12; ++i) {
        const auto *views = cameras.next(milliseconds(2000));
        CHECK(views != nullptr);
        apart_ns.push_back(std::abs((*views)[0].capture_ns - (*views)[1].capture_ns));
    }
    std::sort(apart_ns.begin() + 2, apart_ns.end());
    CHECK(apart_ns[7] < 30'000'000);
}

void newest_picture_wins()
{
    st4vla::Cameras cameras({pattern("agentview", 200.0)});
    CHECK(cameras.next(milliseconds(2000)) != nullptr);
    usleep(200'000);
    const auto *views = cameras.next(milliseconds(2000));
    CHECK(views != nullptr && st4vla_monotonic_ns() - views->front().capture_ns < 100'000'000);
    CHECK(cameras.counts(0).superseded >= 10);
}

void nothing_comes_of_a_camera_that_is_not_due()
{
    st4vla::Cameras cameras({pattern("agentview", 0.5)});
    CHECK(cameras.next(milliseconds(2000)) != nullptr);
    const int64_t began_ns = st4vla_monotonic_ns();
    CHECK(cameras.next(milliseconds(50)) == nullptr);
    CHECK(st4vla_monotonic_ns() - began_ns >= 50'000'000);
}

}  // namespace

int main()
{
    size_of_a_jpeg_is_read_and_of_nothing_else();
    folder_is_passed_through_in_order_and_over_again();
    damaged_files_are_counted_and_passed_over();
    wrong_cameras_are_refused_by_name();
    pictures_of_one_observation_are_of_one_time();
    newest_picture_wins();
    nothing_comes_of_a_camera_that_is_not_due();
    return 0;
}
