#include "stop.h"

#include <signal.h>

namespace st4vla::tool {
namespace {

volatile sig_atomic_t told = 0;

}  // namespace

void heed_signals()
{
    struct sigaction action = {};
    action.sa_handler = [](int) { told = 1; };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

bool told_to_stop() noexcept { return told != 0; }

}  // namespace st4vla::tool
