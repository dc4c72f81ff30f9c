// st4vla-bridge: the library at the command line.
#include <cstdio>
#include <cstring>
#include <exception>

#include "commands.h"
#include "st4vla/bridge.h"

namespace {

constexpr const char *kHelp = R"(usage: st4vla-bridge COMMAND [OPTIONS]

  stream   send pictures of cameras to a runtime, and say what comes back
  check    say whether this machine can command an arm each millisecond
  ping     say how long a runtime takes to answer

st4vla-bridge COMMAND --help says more. The last line of standard output is JSON.
)";

int run(int argc, char **argv)
{
    if (argc < 2) {
        throw st4vla::tool::UsageError("a command is wanted: stream, check or ping");
    }
    const char *command = argv[1];
    const st4vla::tool::Arguments rest(argc - 2, argv + 2);
    if (std::strcmp(command, "stream") == 0) {
        return st4vla::tool::stream(rest);
    }
    if (std::strcmp(command, "check") == 0) {
        return st4vla::tool::check(rest);
    }
    if (std::strcmp(command, "ping") == 0) {
        return st4vla::tool::ping(rest);
    }
    if (std::strcmp(command, "--help") == 0) {
        std::fputs(kHelp, stdout);
        return 0;
    }
    throw st4vla::tool::UsageError(std::string("there is no command '") + command + "'; there are stream, check and ping");
}

}  // namespace

int main(int argc, char **argv)
{
    if (st4vla_abi_version() != ST4VLA_ABI_VERSION) {
        std::fprintf(stderr, "st4vla-bridge: %s\n", st4vla_status_text(ST4VLA_OTHER_ABI));
        return 1;
    }
    try {
        return run(argc, argv);
    } catch (const st4vla::tool::UsageError &error) {
        std::fprintf(stderr, "st4vla-bridge: %s\n", error.what());
        return 2;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "st4vla-bridge: %s\n", error.what());
        return 1;
    }
}
