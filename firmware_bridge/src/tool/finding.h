// What a check found, and what to do about it.
#ifndef ST4VLA_TOOL_FINDING_H
#define ST4VLA_TOOL_FINDING_H

#include <string>

namespace st4vla::tool {

enum class Verdict {
    kOk,
    kWarning, ///< it may do, but should be seen to
    kFailure, ///< an arm will stop because of it
    kUnknown  ///< could not be told, or was not asked for
};

struct Finding {
    std::string name;
    Verdict verdict;
    std::string found;
    std::string remedy; ///< empty where nothing is to be done
};

}  // namespace st4vla::tool

#endif  // ST4VLA_TOOL_FINDING_H
