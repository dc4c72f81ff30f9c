#include "options.h"

#include <sched.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "arm.h"

namespace virtual_franka {

const char *const kHelp =
    "usage: st4vla-virtual-franka [OPTIONS]\n"
    "\n"
    "A Franka arm with its hand, simulated, for unmodified libfranka clients (Franka Control Interface, version 10).\n"
    "It runs until Ctrl-C and prints one line of JSON when it is ready and one when it ends.\n"
    "\n"
    "  --bind ADDRESS       IPv4 address of this machine to be reached at, on the ports 1337 and 1338 that libfranka\n"
    "                       uses (default: 127.0.0.1); several robots: 127.0.0.1, 127.0.0.2, ...\n"
    "  --robot fr3|panda    whose limits hold (default: fr3)\n"
    "  --q Q1,...,Q7        where the joints are at first, rad (default: Franka's ready pose)\n"
    "  --floor Z            height of the floor in the base's frame, m (default: 0)\n"
    "  --no-hand-server     do not listen on port 1338\n"
    "  --control PATH       listen for faults and questions on this Unix socket\n"
    "  --publish HOST:PORT  send joint positions there by UDP\n"
    "  --publish-every MS   how often (default: 10)\n"
    "  --seconds S          end after so long\n"
    "  --cpu N              stay on this core (default: on any)\n"
    "  --end-with-parent    end when the process that started it has ended\n"
    "  --print-mjcf         print the arm as MuJoCo runs it, and end\n"
    "  --print-urdf         print the arm as clients are given it, and end\n"
    "  --help\n";

namespace {

double number(const std::string &option, const std::string &text, double least, double most)
{
    char *end = nullptr;
    const double out = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(out >= least && out <= most)) {
        char range[64];
        std::snprintf(range, sizeof range, "a number from %g to %g", least, most);
        throw UsageError(option + " " + text + ": " + range + " is needed");
    }
    return out;
}

Joints joints(const std::string &text, const Limits &limits)
{
    Joints out;
    std::size_t at = 0;
    for (int i = 0; i < kJoints; ++i) {
        const std::size_t comma = text.find(',', at);
        if ((comma == std::string::npos) != (i == kJoints - 1)) {
            throw UsageError("--q " + text + ": seven numbers with commas between them are needed");
        }
        out[i] = number("--q, joint " + std::to_string(i + 1) + ":", text.substr(at, comma - at), limits.lower[i],
                        limits.upper[i]);
        at = comma + 1;
    }
    return out;
}

}  // namespace

Options::Options() : q(kReadyPose) {}

Options parse_options(int count, const char *const *arguments)
{
    Options out;
    std::string q;
    for (int i = 1; i < count; ++i) {
        const std::string option = arguments[i];
        const auto value = [&]() -> std::string {
            if (i + 1 >= count) {
                throw UsageError(option + " needs a value");
            }
            return arguments[++i];
        };
        if (option == "--help" || option == "-h") {
            out.print = Options::Print::kHelp;
        } else if (option == "--print-mjcf") {
            out.print = Options::Print::kMjcf;
        } else if (option == "--print-urdf") {
            out.print = Options::Print::kUrdf;
        } else if (option == "--no-hand-server") {
            out.hand = false;
        } else if (option == "--end-with-parent") {
            out.end_with_parent = true;
        } else if (option == "--bind") {
            out.bind = value();
        } else if (option == "--control") {
            out.control = value();
        } else if (option == "--publish") {
            out.publish = value();
        } else if (option == "--q") {
            q = value();
        } else if (option == "--floor") {
            out.floor = number(option, value(), -10.0, 0.1);
        } else if (option == "--publish-every") {
            out.publish_every_ms = static_cast<int>(number(option, value(), 1, 10000));
        } else if (option == "--seconds") {
            out.seconds = number(option, value(), 0.001, 1e9);
        } else if (option == "--cpu") {
            out.cpu = static_cast<int>(number(option, value(), 0, CPU_SETSIZE - 1));
        } else if (option == "--robot") {
            const std::string name = value();
            if (name != kFr3.name && name != kPanda.name) {
                throw UsageError("--robot " + name + ": known are fr3, panda");
            }
            out.limits = name == kFr3.name ? &kFr3 : &kPanda;
        } else {
            throw UsageError("unknown option " + option + "; --help lists them");
        }
    }
    if (!q.empty()) {
        out.q = joints(q, *out.limits);
    }
    return out;
}

}  // namespace virtual_franka
