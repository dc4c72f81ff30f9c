/* Cameras, each in a thread of its own, whose newest pictures make one observation; C99 and C++17. */
#ifndef ST4VLA_CAMERAS_H
#define ST4VLA_CAMERAS_H

#include <stddef.h>
#include <stdint.h>

#include "st4vla/message.h"
#include "st4vla/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum st4vla_source {
    ST4VLA_SOURCE_V4L2 = 1,   /* a device; MJPEG is passed through undecoded, RGB24 as it is */
    ST4VLA_SOURCE_FOLDER = 2, /* JPEG files in the order of their names, passed through undecoded, over and over */
    ST4VLA_SOURCE_PATTERN = 3, /* a moving picture, raw */
    ST4VLA_SOURCE_MEMORY = 4   /* what another program of this machine leaves in memory: frame_memory.h */
} st4vla_source;

typedef struct st4vla_camera_config {
    const char *name; /* of the view, as the runtime's bundle has it */
    const char *path; /* the device, folder or memory's file; pattern: not looked at */
    uint32_t source;  /* one of enum st4vla_source */
    uint32_t height;  /* pixels; V4L2 and pattern only */
    uint32_t width;
    uint32_t reserved; /* 0 */
    double rate_hz;    /* pictures a second; V4L2: what is asked of the device, 0: its own; memory: not looked at */
} st4vla_camera_config;

/* What one camera has done. */
typedef struct st4vla_camera_counts {
    uint64_t frames;     /* pictures taken */
    uint64_t superseded; /* replaced by a newer one before anybody looked */
    uint64_t damaged;    /* not a whole JPEG, or marked so by the driver */
    uint64_t failures;   /* times that it had to be opened again */
} st4vla_camera_counts;

/* 1 to ST4VLA_MAX_VIEWS cameras that run. Used by one thread at a time. */
typedef struct st4vla_cameras st4vla_cameras;

/* Open all cameras and begin; *cameras is NULL unless the status is ST4VLA_OK. */
ST4VLA_API st4vla_status st4vla_cameras_open(const st4vla_camera_config *configs, size_t count,
                                             st4vla_cameras **cameras);

/*
 * Wait until the first camera has a picture that was not given yet and the others have any, and up to half a period
 * longer where another one's next picture fits better than its last; give each one's newest, in the order of the
 * configs. The pictures stay where they are until the next call. ST4VLA_TIMEOUT: not in time;
 * ST4VLA_CAMERA_FAILED: not in time, and a camera that gave pictures before does no more.
 */
ST4VLA_API st4vla_status st4vla_cameras_next(st4vla_cameras *cameras, int timeout_ms, st4vla_view *views);

/* Read what a camera has done. */
ST4VLA_API st4vla_status st4vla_cameras_counts(const st4vla_cameras *cameras, size_t camera,
                                               st4vla_camera_counts *counts);

/* Stop and free all; NULL is no error. */
ST4VLA_API void st4vla_cameras_close(st4vla_cameras *cameras);

/* Read height and width of a JPEG from its header. ST4VLA_BAD_JPEG: it is none. */
ST4VLA_API st4vla_status st4vla_jpeg_size(const uint8_t *data, size_t bytes, uint16_t *height, uint16_t *width);

#ifdef __cplusplus
}
#endif

#endif /* ST4VLA_CAMERAS_H */
