/* What a call of the bridge's library came to, and which version of its ABI it has; C99 and C++17. */
#ifndef ST4VLA_STATUS_H
#define ST4VLA_STATUS_H

#include <stdint.h>

#if defined(__GNUC__)
#define ST4VLA_API __attribute__((visibility("default")))
#else
#define ST4VLA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a struct or a function of the ABI changes. */
#define ST4VLA_ABI_VERSION 1u

typedef enum st4vla_status {
    ST4VLA_OK = 0,
    ST4VLA_BAD_ARGUMENT = 1, /* NULL, or a value outside of its range */
    ST4VLA_OTHER_ABI = 2,    /* header and library are of different versions */
    ST4VLA_NO_MEMORY = 3,
    ST4VLA_TOO_SMALL = 4, /* more than the caller's buffer holds */
    ST4VLA_TIMEOUT = 5,   /* nothing came in time */
    ST4VLA_SYSTEM = 6,    /* the operating system refused something */
    /* Bytes that are no message. */
    ST4VLA_FOREIGN_MESSAGE = 20,   /* not our magic */
    ST4VLA_OTHER_WIRE = 21,        /* another version of the wire format */
    ST4VLA_TRUNCATED_MESSAGE = 22, /* fewer or more bytes than announced */
    ST4VLA_BAD_CHECKSUM = 23,      /* altered on the way */
    ST4VLA_MALFORMED_MESSAGE = 24, /* a field holds a value that it may not hold */
    ST4VLA_UNEXPECTED_KIND = 25,   /* a message, but not of the kind that was asked for */
    /* The way to the runtime. */
    ST4VLA_BAD_ENDPOINT = 40, /* no address */
    ST4VLA_KEY_FILE = 41,     /* a key file that cannot be used */
    ST4VLA_NO_SERVER = 42,    /* nothing listens there */
    ST4VLA_KEYS_WANTED = 43,  /* what listens there hangs up on a client without keys */
    ST4VLA_NOT_LET_IN = 44,   /* what listens there does not talk to this client's key */
    ST4VLA_SILENT = 45,       /* what listens there says nothing */
    ST4VLA_BUSY = 46,         /* every message buffer is on its way still; the frame was dropped */
    /* Pictures. */
    ST4VLA_NO_CAMERA = 60,     /* no such device or folder, or one without pictures */
    ST4VLA_CAMERA_FORMAT = 61, /* the camera offers neither MJPEG nor RGB, or not in this size */
    ST4VLA_CAMERA_FAILED = 62, /* it worked, and does no more */
    ST4VLA_BAD_JPEG = 63       /* bytes that are no JPEG, or a picture that could not be encoded */
} st4vla_status;

/* The version that the library was built with; compare it with ST4VLA_ABI_VERSION before the first call. */
ST4VLA_API uint32_t st4vla_abi_version(void);

/* What a status means and what to do about it, in English; never NULL. */
ST4VLA_API const char *st4vla_status_text(st4vla_status status);

/*
 * What this thread's last call that failed found: the value, what is allowed, what to do. Empty where the status says
 * it all. It is overwritten by the thread's next call that fails. No secret key is ever in it.
 */
ST4VLA_API const char *st4vla_detail(void);

#ifdef __cplusplus
}
#endif

#endif /* ST4VLA_STATUS_H */
