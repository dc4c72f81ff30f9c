// st4vla-virtual-franka: a Franka arm that unmodified libfranka clients can be tried on.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <optional>

#include "control_socket.h"
#include "gripper_server.h"
#include "options.h"
#include "pose_stream.h"

namespace {

using namespace virtual_franka;

volatile std::sig_atomic_t g_ended = 0;

int run(const Options &options)
{
    Simulation arm(*options.limits, options.floor, options.q);
    Robot robot(*options.limits, arm, options.q);
    Hand hand;
    FciServer server(options.bind, robot);
    std::optional<GripperServer> gripper;
    if (options.hand) {
        gripper.emplace(options.bind, hand);
    }
    std::optional<ControlSocket> control;
    if (!options.control.empty()) {
        control.emplace(options.control);
    }
    std::optional<PoseStream> stream;
    if (!options.publish.empty()) {
        stream.emplace(options.publish, options.publish_every_ms);
    }
    for (const int signal : {SIGINT, SIGTERM}) {
        std::signal(signal, [](int) { g_ended = 1; });
    }
    if (options.cpu >= 0) {
        stay_on(options.cpu);
    }
    const bool first = ask_for_priority();
    std::printf("{\"ready\": true, \"address\": \"%s\", \"robot\": \"%s\", \"scheduler\": \"%s\"}\n",
                options.bind.c_str(), options.limits->name, first ? "fifo" : "other");
    std::fflush(stdout);

    const pid_t parent = getppid();
    Pacer pacer;
    Controlled controlled = {robot, server, hand, pacer};
    while (!g_ended && !(options.end_with_parent && getppid() != parent) &&
           (options.seconds == 0.0 || pacer.seconds() < options.seconds)) {
        pacer.wait();
        server.serve();
        const auto command = server.receive_command();
        robot.advance(command ? &*command : nullptr);
        arm.set_fingers(hand.width());
        server.send_state();
        server.reply();
        if (gripper) {
            gripper->serve(server.faults().unplugged());
        }
        if (control) {
            control->serve(controlled);
        }
        if (stream) {
            stream->publish(arm, hand.width(), server.now());
        }
    }
    std::printf("{\"ok\": true, %s}\n", describe(controlled).c_str());
    return 0;
}

}  // namespace

int main(int count, char **arguments)
{
    try {
        const Options options = parse_options(count, arguments);
        switch (options.print) {
        case Options::Print::kHelp:
            std::fputs(kHelp, stdout);
            return 0;
        case Options::Print::kMjcf:
            std::fputs(arm_mjcf(*options.limits, options.floor).c_str(), stdout);
            return 0;
        case Options::Print::kUrdf:
            std::fputs(arm_urdf(*options.limits).c_str(), stdout);
            return 0;
        case Options::Print::kNothing:
            return run(options);
        }
    } catch (const UsageError &error) {
        std::fprintf(stderr, "st4vla-virtual-franka: %s\n", error.what());
        return 2;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "st4vla-virtual-franka: %s\n", error.what());
    }
    return 1;
}
