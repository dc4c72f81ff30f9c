// One line for programs.
#ifndef ST4VLA_TOOL_JSON_H
#define ST4VLA_TOOL_JSON_H

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <string>

namespace st4vla::tool {

/// Text as a JSON string, quotes included.
inline std::string quoted(const std::string &text)
{
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
            out += code;
        } else {
            out += c;
        }
    }
    return out + '"';
}

/// An object, built a member at a time.
class JsonObject {
public:
    JsonObject &raw(const std::string &name, const std::string &value)
    {
        text_ += (text_.empty() ? "" : ",") + quoted(name) + ":" + value;
        return *this;
    }
    JsonObject &text(const std::string &name, const std::string &value) { return raw(name, quoted(value)); }
    JsonObject &whole(const std::string &name, uint64_t value) { return raw(name, std::to_string(value)); }
    JsonObject &flag(const std::string &name, bool value) { return raw(name, value ? "true" : "false"); }
    JsonObject &number(const std::string &name, double value)
    {
        char digits[32];
        std::snprintf(digits, sizeof digits, "%.3f", value);
        return raw(name, digits);
    }

    std::string str() const { return "{" + text_ + "}"; }

private:
    std::string text_;
};

}  // namespace st4vla::tool

#endif  // ST4VLA_TOOL_JSON_H
