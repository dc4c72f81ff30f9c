// What `st4vla-bridge stream` is told.
#ifndef ST4VLA_TOOL_STREAM_OPTIONS_H
#define ST4VLA_TOOL_STREAM_OPTIONS_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arguments.h"
#include "st4vla/bridge.hpp"

namespace st4vla::tool {

struct CameraOptions {
    st4vla_source source;
    std::string name; ///< empty: the bundle's next view
    std::string path;
};

struct StreamOptions {
    BridgeOptions bridge;
    std::vector<CameraOptions> cameras;
    std::string instruction = "lift the red cube";
    uint32_t height = 0; ///< 0: what the bundle wants
    uint32_t width = 0;
    double rate_hz = 30.0;
    double seconds = 0.0; ///< 0: until told to stop
    int wait_ms = 5000;
    uint64_t seed = 0;
    int64_t deadline_ns = 0;
};

/// Nothing where help was asked for. Throws UsageError.
std::optional<StreamOptions> read_stream_options(Arguments &arguments);

extern const char *const kStreamHelp;

}  // namespace st4vla::tool

#endif  // ST4VLA_TOOL_STREAM_OPTIONS_H
