/*
 * A camera's picture in the size that a bundle takes, as its policy saw pictures in training; C99 and C++17.
 *
 * The whole picture is squeezed with the antialiased bicubic filter of Pillow (Keys' cubic with a = -0.5, stretched by
 * the scale when shrinking; weights with 22 fractional bits; rows first, rounded to 8 bits in between), bit for bit.
 */
#ifndef ST4VLA_RESIZE_H
#define ST4VLA_RESIZE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define ST4VLA_RESIZE_API __attribute__((visibility("default")))
#else
#define ST4VLA_RESIZE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a function below changes. */
#define ST4VLA_RESIZE_ABI_VERSION 1u
/* Rows and columns of a picture, at most. */
#define ST4VLA_RESIZE_MAX_SIDE 16384

typedef enum st4vla_resize_status {
    ST4VLA_RESIZE_OK = 0,
    ST4VLA_RESIZE_BAD_SIZE = 1,    /* a side below 1 or above ST4VLA_RESIZE_MAX_SIDE */
    ST4VLA_RESIZE_BAD_POINTER = 2, /* NULL where a picture or a resizer was wanted */
    ST4VLA_RESIZE_NO_MEMORY = 3
} st4vla_resize_status;

/* Weights and scratch for pictures of one size. Its scratch is used by one thread at a time. */
typedef struct st4vla_resizer st4vla_resizer;

/* The version that the library was built with; compare it with ST4VLA_RESIZE_ABI_VERSION before the first call. */
ST4VLA_RESIZE_API uint32_t st4vla_resize_abi_version(void);

/* What a status means, in English; never NULL. */
ST4VLA_RESIZE_API const char *st4vla_resize_message(st4vla_resize_status status);

/*
 * Make a resizer from `in_height` x `in_width` to `out_height` x `out_width` pixels; the only call that allocates.
 * *resizer is NULL unless the status is ST4VLA_RESIZE_OK.
 */
ST4VLA_RESIZE_API st4vla_resize_status st4vla_resizer_create(int in_height, int in_width, int out_height,
                                                             int out_width, st4vla_resizer **resizer);

/*
 * Resize an RGB picture of 8 bits, three bytes a pixel. `stride` and `out_stride` are the bytes from one row's first
 * byte to the next row's, negative for a picture that is stored bottom up. The two pictures may not overlap.
 */
ST4VLA_RESIZE_API st4vla_resize_status st4vla_resizer_run(st4vla_resizer *resizer, const uint8_t *pixels,
                                                          ptrdiff_t stride, uint8_t *out, ptrdiff_t out_stride);

/* Free a resizer; NULL is no error. */
ST4VLA_RESIZE_API void st4vla_resizer_destroy(st4vla_resizer *resizer);

#ifdef __cplusplus
}
#endif

#endif /* ST4VLA_RESIZE_H */
