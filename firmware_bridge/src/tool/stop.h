// Being told to end.
#ifndef ST4VLA_TOOL_STOP_H
#define ST4VLA_TOOL_STOP_H

namespace st4vla::tool {

/// Heed SIGINT and SIGTERM from now on.
void heed_signals();

/// Whether one has come.
bool told_to_stop() noexcept;

}  // namespace st4vla::tool

#endif  // ST4VLA_TOOL_STOP_H
