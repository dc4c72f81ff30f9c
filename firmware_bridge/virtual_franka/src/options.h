// The command line.
#pragma once

#include <stdexcept>
#include <string>

#include "limits.h"

namespace virtual_franka {

struct Options {
    std::string bind = "127.0.0.1";
    const Limits *limits = &kFr3;
    Joints q;
    double floor = 0.0;
    std::string control, publish;
    int publish_every_ms = 10;
    double seconds = 0.0;  ///< 0: until it is told to end
    int cpu = -1;          ///< The core to stay on; -1: on any.
    bool hand = true, end_with_parent = false;
    enum class Print { kNothing, kHelp, kMjcf, kUrdf } print = Print::kNothing;

    Options();
};

extern const char *const kHelp;

/// A wrong command line; the message says what is allowed.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

Options parse_options(int count, const char *const *arguments);

}  // namespace virtual_franka
