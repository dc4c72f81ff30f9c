// ZeroMQ's certificates: ZPL (rfc.zeromq.org/spec/4), the keys in its section `curve`.
#include "key_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <system_error>

#include "../detail.h"
#include "../wire/utf8.h"

namespace st4vla {
namespace {

/// No certificate is longer; a path may lead to anything.
constexpr std::size_t kMaxBytes = 1 << 16;
constexpr std::size_t kKeyCharacters = 40, kKeyBytes = 32;
constexpr const char *kBlanks = " \t\r\f\v";

using Fields = std::map<std::string, std::string>;

st4vla_status malformed(const char *path, const char *why, const char *what)
{
    return fail(ST4VLA_KEY_FILE,
                "%s is not a ZeroMQ CURVE certificate: %s%s; copy it again, or make one with `st4vla keys make`", path,
                why, what);
}

/// Text and permission bits of one and the same file, whatever is put in its place meanwhile.
st4vla_status read_file(const char *path, std::string &text, unsigned &mode)
{
    // A named pipe would be waited for.
    const int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) {
        return fail(ST4VLA_KEY_FILE, "%s cannot be read: %s; `st4vla keys make NAME --out FOLDER` makes a key", path,
                    std::generic_category().message(errno).c_str());
    }
    struct stat status = {};
    ssize_t got = -1;
    text.resize(kMaxBytes);
    if (fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)) {
        got = read(descriptor, text.data(), text.size());
    }
    close(descriptor);
    if (got < 0) {
        return fail(ST4VLA_KEY_FILE, "%s is not a file that can be read", path);
    }
    text.resize(static_cast<std::size_t>(got));
    mode = status.st_mode & 0777;
    const auto *bytes = reinterpret_cast<const unsigned char *>(text.data());
    return is_utf8(bytes, text.size()) ? ST4VLA_OK : malformed(path, "it is not text", "");
}

std::string stripped(const std::string &text, const char *of)
{
    const std::size_t first = text.find_first_not_of(of);
    return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(of) - first + 1);
}

/// The properties of a certificate's section `curve`.
st4vla_status read_fields(const char *path, const std::string &text, Fields &fields)
{
    std::string section;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string line = stripped(text.substr(at, end - at), kBlanks);
        at = end + 1;
        if (line.empty() || line[0] == '#') {
            continue;
        }
        const std::size_t equals = line.find('=');
        if (equals == std::string::npos) {
            section = line;
        } else if (section == "curve") {
            const std::string name = stripped(line.substr(0, equals), kBlanks);
            // Neither kind of quote is a character of Z85.
            if (!fields.emplace(name, stripped(stripped(line.substr(equals + 1), kBlanks), "\"'")).second) {
                return malformed(path, "it says twice ", name == "secret-key" ? "secret-key" : "the same property");
            }
        }
    }
    return ST4VLA_OK;
}

st4vla_status take_key(const char *path, const Fields &fields, const char *name, std::string &key)
{
    const auto found = fields.find(name);
    if (found == fields.end()) {
        return malformed(path, "its section `curve` has no ", name);
    }
    unsigned char bytes[kKeyBytes];
    if (found->second.size() != kKeyCharacters || zmq_z85_decode(bytes, found->second.c_str()) == nullptr) {
        return malformed(path, "40 characters of Z85 are wanted for its ", name);
    }
    key = found->second;
    return ST4VLA_OK;
}

st4vla_status read_secret(const char *path, ClientKeys &keys)
{
    std::string text;
    unsigned mode = 0;
    Fields fields;
    st4vla_status status = read_file(path, text, mode);
    if (status == ST4VLA_OK && (mode & 077) != 0) {
        return fail(ST4VLA_KEY_FILE,
                    "%s has mode %03o, so that others than its owner can get at the secret key in it; close it with "
                    "`chmod 600 %s`, and if others use this machine, make a new key",
                    path, mode, path);
    }
    status = status != ST4VLA_OK ? status : read_fields(path, text, fields);
    if (status == ST4VLA_OK && fields.count("secret-key") == 0) {
        return fail(ST4VLA_KEY_FILE, "%s holds a public key only; name the file that ends in .key_secret", path);
    }
    status = status != ST4VLA_OK ? status : take_key(path, fields, "public-key", keys.own_public);
    status = status != ST4VLA_OK ? status : take_key(path, fields, "secret-key", keys.own_secret);
    char of_secret[kKeyCharacters + 1];
    if (status == ST4VLA_OK &&
        (zmq_curve_public(of_secret, keys.own_secret.c_str()) != 0 || keys.own_public != of_secret)) {
        return fail(ST4VLA_KEY_FILE,
                    "%s: its public key is not that of its secret key; make a new pair with `st4vla keys make`", path);
    }
    return status;
}

st4vla_status read_public(const char *path, std::string &key)
{
    std::string text;
    unsigned mode = 0;
    Fields fields;
    st4vla_status status = read_file(path, text, mode);
    status = status != ST4VLA_OK ? status : read_fields(path, text, fields);
    if (status == ST4VLA_OK && fields.count("secret-key") != 0) {
        return fail(ST4VLA_KEY_FILE,
                    "%s holds a secret key; use the public file that was made with it, and keep this one where it was "
                    "made",
                    path);
    }
    return status != ST4VLA_OK ? status : take_key(path, fields, "public-key", key);
}

}  // namespace

st4vla_status read_client_keys(const char *secret_file, const char *server_file, ClientKeys &keys)
{
    if (zmq_has("curve") == 0) {
        return fail(ST4VLA_KEY_FILE, "this build of libzmq has no CURVE; install one with libsodium, as Debian's has");
    }
    const st4vla_status status = read_secret(secret_file, keys);
    return status != ST4VLA_OK ? status : read_public(server_file, keys.server_public);
}

}  // namespace st4vla
