// CURVE keys from their files: those that runtime/st4vla/runtime/key_files.py writes, refused for the same reasons.
#ifndef ST4VLA_BRIDGE_KEY_FILES_H
#define ST4VLA_BRIDGE_KEY_FILES_H

#include <string>

#include "st4vla/status.h"

namespace st4vla {

/// This client's own pair and the server's public key, each 40 characters of Z85; empty where there are none.
struct ClientKeys {
    std::string own_public;
    std::string own_secret;
    std::string server_public;
};

/// Read a client's secret key file and the server's public one. The detail never holds a character of a secret key.
st4vla_status read_client_keys(const char *secret_file, const char *server_file, ClientKeys &keys);

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_KEY_FILES_H
