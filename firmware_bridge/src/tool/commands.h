// The commands of st4vla-bridge. Each returns an exit status: 0, or 1 for what went wrong; a command line that was not
// understood is thrown as UsageError.
#ifndef ST4VLA_TOOL_COMMANDS_H
#define ST4VLA_TOOL_COMMANDS_H

#include "arguments.h"

namespace st4vla::tool {

int stream(Arguments arguments);
int check(Arguments arguments);
int ping(Arguments arguments);

}  // namespace st4vla::tool

#endif  // ST4VLA_TOOL_COMMANDS_H
