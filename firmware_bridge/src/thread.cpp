#include "thread.h"

#include <pthread.h>
#include <signal.h>

namespace st4vla {

void prepare_thread(const char *name) noexcept
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    pthread_setname_np(pthread_self(), name);
}

}  // namespace st4vla
