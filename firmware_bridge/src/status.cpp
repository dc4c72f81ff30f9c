// Texts of statuses, and the detail of the last one.
#include <cstdarg>
#include <cstdio>

#include "detail.h"

namespace st4vla {
namespace {

thread_local char detail[512] = "";

}  // namespace

st4vla_status fail(st4vla_status status, const char *format, ...) noexcept
{
    va_list values;
    va_start(values, format);
    std::vsnprintf(detail, sizeof detail, format, values);
    va_end(values);
    return status;
}

}  // namespace st4vla

extern "C" {

uint32_t st4vla_abi_version(void) { return ST4VLA_ABI_VERSION; }

const char *st4vla_detail(void) { return st4vla::detail; }

const char *st4vla_status_text(st4vla_status status)
{
    switch (status) {
    case ST4VLA_OK:
        return "no error";
    case ST4VLA_BAD_ARGUMENT:
        return "NULL was given where something is wanted, or a value outside of its range";
    case ST4VLA_OTHER_ABI:
        return "header and library are of different versions; compile against the headers that came with the library";
    case ST4VLA_NO_MEMORY:
        return "there is not enough memory";
    case ST4VLA_TOO_SMALL:
        return "there is more than the buffer holds; give a larger one";
    case ST4VLA_TIMEOUT:
        return "nothing came in time";
    case ST4VLA_SYSTEM:
        return "the operating system refused something that is needed";
    case ST4VLA_FOREIGN_MESSAGE:
        return "not a message of this protocol: it does not begin with ST4V";
    case ST4VLA_OTHER_WIRE:
        return "the other side speaks another version of the wire format; update the older side";
    case ST4VLA_TRUNCATED_MESSAGE:
        return "a message has fewer or more bytes than it announces";
    case ST4VLA_BAD_CHECKSUM:
        return "a message was altered on the way: its checksum does not fit its bytes";
    case ST4VLA_MALFORMED_MESSAGE:
        return "a field of a message holds a value that it may not hold";
    case ST4VLA_UNEXPECTED_KIND:
        return "a message of another kind than the one that was asked for";
    case ST4VLA_BAD_ENDPOINT:
        return "not an address that can be connected to; one looks like tcp://127.0.0.1:5555, or local:PATH";
    case ST4VLA_KEY_FILE:
        return "a key file cannot be used; `st4vla keys show FILE` says more, `st4vla keys make` makes a pair";
    case ST4VLA_NO_SERVER:
        return "nothing listens there; start a runtime with `st4vla serve BUNDLE`, or look at address and firewall";
    case ST4VLA_KEYS_WANTED:
        return "what listens there hangs up, as a runtime that wants keys does: give a secret key and the server's key";
    case ST4VLA_NOT_LET_IN:
        return "what listens there does not talk to this key: let it in with `st4vla keys allow`, and see that the "
               "server's key is the right one";
    case ST4VLA_SILENT:
        return "what listens there says nothing: is it a runtime of this project, and does it hang?";
    case ST4VLA_BUSY:
        return "all message buffers are on their way still; this frame was dropped, send the next one";
    case ST4VLA_NO_CAMERA:
        return "no such camera, or a folder without pictures";
    case ST4VLA_CAMERA_FORMAT:
        return "the camera offers neither MJPEG nor RGB of this size; `v4l2-ctl --list-formats-ext` lists what it has";
    case ST4VLA_CAMERA_FAILED:
        return "the camera has stopped giving pictures; look at its cable";
    case ST4VLA_BAD_JPEG:
        return "bytes that are no JPEG, or a picture that cannot be encoded as one";
    }
    return "not a status of this library";
}

}  // extern "C"
