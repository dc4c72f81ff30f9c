// Options of a command line, one after another.
#ifndef ST4VLA_TOOL_ARGUMENTS_H
#define ST4VLA_TOOL_ARGUMENTS_H

#include <stdexcept>
#include <string>
#include <vector>

namespace st4vla::tool {

/// A command line that was not understood; the text says what is.
class UsageError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class Arguments {
public:
    Arguments(int count, char **texts) : texts_(texts, texts + count) {}

    /// Go to the next option, if there is one. Throws UsageError for what does not begin with two dashes.
    bool next();

    /// The option's name, as in "--rate".
    const std::string &name() const { return name_; }

    /// What follows it, as in "--rate 30" or "--rate=30".
    std::string value();

    /// The same as a number within bounds.
    double number(double least, double most);
    long whole(long least, long most);

    /// End with what is allowed.
    [[noreturn]] void unknown(const char *command) const;

private:
    std::vector<std::string> texts_;
    std::size_t at_ = 0;
    std::string name_;
    std::string attached_;
    bool has_attached_ = false;
};

}  // namespace st4vla::tool

#endif  // ST4VLA_TOOL_ARGUMENTS_H
