// What each thread of this library does first.
#ifndef ST4VLA_THREAD_H
#define ST4VLA_THREAD_H

namespace st4vla {

/// Give the calling thread a name of at most 15 characters, and leave all signals to the threads of the program.
void prepare_thread(const char *name) noexcept;

}  // namespace st4vla

#endif  // ST4VLA_THREAD_H
