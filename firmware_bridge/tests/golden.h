// The golden messages of tests/data/wire.
#ifndef ST4VLA_TESTS_GOLDEN_H
#define ST4VLA_TESTS_GOLDEN_H

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "check.h"
#include "st4vla/crc32c.h"
#include "st4vla/wire.h"

using Bytes = std::vector<unsigned char>;

inline Bytes load(const std::string &directory, const std::string &name)
{
    std::ifstream file(directory + "/" + name + ".bin", std::ios::binary);
    CHECK(file.good());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Make length and checksum of a changed message right again, so that what was changed is looked at.
inline void seal(Bytes &message)
{
    st4vla_wire_header header;
    std::memcpy(&header, message.data(), sizeof header);
    header.payload_bytes = static_cast<uint32_t>(message.size() - sizeof header);
    std::memcpy(message.data(), &header, sizeof header);
    header.crc32c = st4vla_message_checksum(message.data(), message.size());
    std::memcpy(message.data(), &header, sizeof header);
}

/// A message with one field overwritten, sealed.
template <typename Value>
Bytes with(Bytes message, std::size_t offset, Value value)
{
    CHECK(offset + sizeof value <= message.size());
    std::memcpy(message.data() + offset, &value, sizeof value);
    seal(message);
    return message;
}

#endif  // ST4VLA_TESTS_GOLDEN_H
