#include "stream_options.h"

#include <cstdio>

namespace st4vla::tool {

const char *const kStreamHelp = R"(usage: st4vla-bridge stream --endpoint ADDRESS CAMERA... [OPTIONS]

Send the newest pictures of all cameras to a runtime at the pace of the first one, and say each second what comes back.

  --endpoint ADDRESS        of the runtime, as in tcp://192.168.1.2:5555, or local:PATH of `st4vla serve --local PATH`

cameras, one to eight; NAME is the bundle's view, and where none is given the cameras take the views in their order
  --v4l2 [NAME=]DEVICE      as in --v4l2 wrist=/dev/video0; MJPEG is passed through
  --folder [NAME=]FOLDER    JPEG files in the order of their names, over and over
  --pattern [NAME]          a moving picture; `--pattern=` for one without a name

  --size HEIGHTxWIDTH       of V4L2 cameras and patterns; else the size that the bundle wants
  --rate HZ                 pictures a second of each camera (30)
  --jpeg QUALITY            send raw pictures as JPEG, 1 to 100
  --instruction TEXT        what to do (lift the red cube)
  --seed NUMBER             of the sampler's noise (0)
  --deadline-ms MS          an answer is of no use after that
  --max-frame-age-ms MS     let in no chunk of an older frame
  --key FILE                this client's secret key, as `st4vla keys make` writes it
  --server-key FILE         the runtime's public key
  --wait S                  for the runtime to answer (5)
  --seconds S               how long to stream; else until it is told to stop
)";

namespace {

CameraOptions camera(st4vla_source source, const std::string &value)
{
    if (source == ST4VLA_SOURCE_PATTERN) {
        return {source, value, ""};
    }
    const std::size_t equals = value.find('=');
    if (equals == std::string::npos) {
        return {source, "", value};
    }
    return {source, value.substr(0, equals), value.substr(equals + 1)};
}

void read_size(const std::string &value, StreamOptions &options)
{
    unsigned height = 0, width = 0;
    char more = 0;
    const bool fits = std::sscanf(value.c_str(), "%ux%u%c", &height, &width, &more) == 2 && height >= 1 &&
                      height <= ST4VLA_MAX_IMAGE_SIDE && width >= 1 && width <= ST4VLA_MAX_IMAGE_SIDE;
    if (!fits) {
        throw UsageError("--size takes HEIGHTxWIDTH as in 480x640; got '" + value + "'");
    }
    options.height = height;
    options.width = width;
}

void read_option(Arguments &arguments, StreamOptions &options)
{
    const std::string &name = arguments.name();
    if (name == "--endpoint") {
        options.bridge.endpoint = arguments.value();
    } else if (name == "--v4l2") {
        options.cameras.push_back(camera(ST4VLA_SOURCE_V4L2, arguments.value()));
    } else if (name == "--folder") {
        options.cameras.push_back(camera(ST4VLA_SOURCE_FOLDER, arguments.value()));
    } else if (name == "--pattern") {
        options.cameras.push_back(camera(ST4VLA_SOURCE_PATTERN, arguments.value()));
    } else if (name == "--size") {
        read_size(arguments.value(), options);
    } else if (name == "--rate") {
        options.rate_hz = arguments.number(0.01, 1000.0);
    } else if (name == "--jpeg") {
        options.bridge.jpeg_quality = static_cast<int>(arguments.whole(1, 100));
    } else if (name == "--instruction") {
        options.instruction = arguments.value();
    } else if (name == "--seed") {
        options.seed = static_cast<uint64_t>(arguments.whole(0, INT64_MAX));
    } else if (name == "--deadline-ms") {
        options.deadline_ns = static_cast<int64_t>(arguments.number(0.001, 1e6) * 1e6);
    } else if (name == "--max-frame-age-ms") {
        const auto age_ns = static_cast<int64_t>(arguments.number(0.001, 1e6) * 1e6);
        options.bridge.max_frame_age = std::chrono::nanoseconds(age_ns);
    } else if (name == "--key") {
        options.bridge.secret_key_file = arguments.value();
    } else if (name == "--server-key") {
        options.bridge.server_key_file = arguments.value();
    } else if (name == "--wait") {
        options.wait_ms = static_cast<int>(arguments.number(0.0, 1e5) * 1e3);
    } else if (name == "--seconds") {
        options.seconds = arguments.number(0.001, 1e9);
    } else {
        arguments.unknown("stream");
    }
}

}  // namespace

std::optional<StreamOptions> read_stream_options(Arguments &arguments)
{
    StreamOptions options;
    while (arguments.next()) {
        if (arguments.name() == "--help") {
            return std::nullopt;
        }
        read_option(arguments, options);
    }
    if (options.bridge.endpoint.empty()) {
        throw UsageError("--endpoint is wanted, as in --endpoint tcp://127.0.0.1:5555");
    }
    if (options.cameras.empty() || options.cameras.size() > ST4VLA_MAX_VIEWS) {
        throw UsageError("1 to 8 cameras are wanted: --v4l2, --folder or --pattern; got " +
                         std::to_string(options.cameras.size()));
    }
    if (options.bridge.secret_key_file.empty() != options.bridge.server_key_file.empty()) {
        throw UsageError("--key and --server-key go together");
    }
    return options;
}

}  // namespace st4vla::tool
