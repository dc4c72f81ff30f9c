#include "arguments.h"

#include <cerrno>
#include <cmath>
#include <cstdlib>

namespace st4vla::tool {

bool Arguments::next()
{
    if (has_attached_) {
        throw UsageError(name_ + " takes no value");
    }
    if (at_ == texts_.size()) {
        return false;
    }
    const std::string &text = texts_[at_++];
    if (text.rfind("--", 0) != 0) {
        throw UsageError("'" + text + "' is no option; options begin with --");
    }
    const std::size_t equals = text.find('=');
    name_ = text.substr(0, equals);
    has_attached_ = equals != std::string::npos;
    attached_ = has_attached_ ? text.substr(equals + 1) : "";
    return true;
}

std::string Arguments::value()
{
    if (has_attached_) {
        has_attached_ = false;
        return attached_;
    }
    if (at_ == texts_.size()) {
        throw UsageError(name_ + " needs a value");
    }
    return texts_[at_++];
}

double Arguments::number(double least, double most)
{
    const std::string text = value();
    char *end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(number >= least && number <= most)) {
        throw UsageError(name_ + " takes a number from " + std::to_string(least) + " to " + std::to_string(most) +
                         "; got '" + text + "'");
    }
    return number;
}

long Arguments::whole(long least, long most)
{
    const std::string text = value();
    char *end = nullptr;
    errno = 0;
    const long number = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || errno != 0 || number < least || number > most) {
        throw UsageError(name_ + " takes a whole number from " + std::to_string(least) + " to " +
                         std::to_string(most) + "; got '" + text + "'");
    }
    return number;
}

void Arguments::unknown(const char *command) const
{
    throw UsageError("there is no option " + name_ + "; st4vla-bridge " + command + " --help lists them");
}

}  // namespace st4vla::tool
