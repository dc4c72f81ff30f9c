/*
 * Pictures from another program of the same machine: how a file in memory holds the newest ones; C99 and C++17.
 *
 * A program that has pictures (a simulator, a GStreamer pipeline, a driver with its own library) makes one file a camera,
 * best in /dev/shm, and maps it. The bridge's camera loop maps it read-only. Nobody waits for anybody: the writer fills
 * the slot after the newest and then names it; a reader copies the newest slot out and checks its sum, and a slot that
 * was overwritten meanwhile does not pass.
 *
 * Little-endian. The file is a st4vla_frame_memory, then `slots` times a st4vla_frame_slot with `slot_bytes` behind it.
 */
#ifndef ST4VLA_FRAME_MEMORY_H
#define ST4VLA_FRAME_MEMORY_H

#include <stdint.h>

#include "st4vla/wire.h"

#define ST4VLA_FRAME_MEMORY_MAGIC UINT32_C(0x46345453) /* 'ST4F' as the first four bytes */
#define ST4VLA_FRAME_MEMORY_VERSION 1
#define ST4VLA_FRAME_MEMORY_MAX_SLOTS 16

typedef struct st4vla_frame_memory {
    uint32_t magic;      /* ST4F, written last */
    uint16_t version;    /* 1 */
    uint16_t slots;      /* 2 to 16 */
    uint32_t slot_bytes; /* room for a picture, a multiple of 64 */
    uint32_t newest;     /* index of the newest slot */
    uint8_t reserved[48];
} st4vla_frame_memory;
ST4VLA_WIRE_SIZE(st4vla_frame_memory, 64);

typedef struct st4vla_frame_slot {
    uint64_t count;      /* of the writer's pictures, from 1; 0: nothing was written yet */
    int64_t capture_ns;  /* CLOCK_MONOTONIC at capture */
    uint32_t bytes;      /* length of the picture */
    uint32_t crc32c;     /* CRC-32C of this struct with this field zero, then of the picture */
    uint16_t height;     /* pixels */
    uint16_t width;      /* pixels */
    uint16_t encoding;   /* one of st4vla_image */
    uint16_t reserved_0; /* 0 */
    uint8_t reserved[32];
} st4vla_frame_slot;
ST4VLA_WIRE_SIZE(st4vla_frame_slot, 64);

#endif /* ST4VLA_FRAME_MEMORY_H */
