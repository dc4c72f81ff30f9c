/* Resizes pictures as Pillow does. Checksums of what Pillow makes of them: tests/runtime/golden_resize.py. */
#define _DEFAULT_SOURCE /* mmap */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "st4vla/crc32c.h"
#include "st4vla/resize.h"

enum { GUARD = 64, UNTOUCHED = 0xa5 };

static unsigned char *allocated(size_t size)
{
    unsigned char *bytes = (unsigned char *)malloc(size);
    CHECK(bytes != NULL);
    return bytes;
}

/* Memory that ends where reading faults. It is freed when the test ends. */
static unsigned char *allocated_at_a_cliff(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), used = (size + page - 1) / page * page;
    unsigned char *bytes =
        (unsigned char *)mmap(NULL, used + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(bytes != MAP_FAILED);
    CHECK(mprotect(bytes + used, page, PROT_NONE) == 0);
    return bytes + used - size;
}

/* The picture of tests/runtime/golden_resize.py: the top byte of each place times Knuth's multiplier. */
static unsigned char *made_picture(int height, int width)
{
    const size_t size = (size_t)height * (size_t)width * 3;
    unsigned char *pixels = allocated_at_a_cliff(size);
    size_t i;

    for (i = 0; i < size; ++i) {
        pixels[i] = (unsigned char)(((uint32_t)i * 2654435761u) >> 24);
    }
    return pixels;
}

/* Resize into the middle of guarded memory, read the picture top down or bottom up, and check what came out. */
static void check_resize(const int size[4], uint32_t expected, int bottom_up)
{
    const ptrdiff_t row = 3 * (ptrdiff_t)size[1], out_row = 3 * (ptrdiff_t)size[3], out_stride = out_row + 5;
    const size_t out_size = (size_t)(out_stride * size[2]);
    unsigned char *pixels = made_picture(size[0], size[1]);
    unsigned char *flipped = allocated((size_t)(row * size[0]));
    unsigned char *out = allocated(out_size + 2 * GUARD);
    st4vla_resizer *resizer;
    uint32_t crc = 0;
    int y;
    size_t i;

    memset(out, UNTOUCHED, out_size + 2 * GUARD);
    for (y = 0; y < size[0]; ++y) {
        memcpy(flipped + (size[0] - 1 - y) * row, pixels + y * row, (size_t)row);
    }
    CHECK(st4vla_resizer_create(size[0], size[1], size[2], size[3], &resizer) == ST4VLA_RESIZE_OK);
    CHECK(st4vla_resizer_run(resizer, bottom_up ? flipped + (size[0] - 1) * row : pixels, bottom_up ? -row : row,
                             out + GUARD, out_stride) == ST4VLA_RESIZE_OK);
    for (y = 0; y < size[2]; ++y) {
        crc = st4vla_crc32c(crc, out + GUARD + y * out_stride, (size_t)out_row);
        for (i = 0; i < 5; ++i) {
            CHECK(out[GUARD + y * out_stride + out_row + (ptrdiff_t)i] == UNTOUCHED);
        }
    }
    for (i = 0; i < GUARD; ++i) {
        CHECK(out[i] == UNTOUCHED && out[GUARD + out_size + i] == UNTOUCHED);
    }
    if (crc != expected) {
        fprintf(stderr, "%d x %d to %d x %d: CRC %08x, Pillow's is %08x\n", size[0], size[1], size[2], size[3],
                (unsigned)crc, (unsigned)expected);
        exit(1);
    }
    st4vla_resizer_destroy(resizer);
    free(out);
    free(flipped);
}

static void check_refusals(void)
{
    static const int bad[][4] = {{0, 1, 1, 1}, {1, -1, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, ST4VLA_RESIZE_MAX_SIDE + 1}};
    unsigned char pixel[3] = {1, 2, 3}, out[3];
    st4vla_resizer *resizer;
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
        CHECK(st4vla_resizer_create(bad[i][0], bad[i][1], bad[i][2], bad[i][3], &resizer) == ST4VLA_RESIZE_BAD_SIZE);
        CHECK(resizer == NULL);
    }
    CHECK(st4vla_resizer_create(1, 1, 1, 1, NULL) == ST4VLA_RESIZE_BAD_POINTER);
    CHECK(st4vla_resizer_create(1, 1, 1, 1, &resizer) == ST4VLA_RESIZE_OK);
    CHECK(st4vla_resizer_run(NULL, pixel, 3, out, 3) == ST4VLA_RESIZE_BAD_POINTER);
    CHECK(st4vla_resizer_run(resizer, NULL, 3, out, 3) == ST4VLA_RESIZE_BAD_POINTER);
    CHECK(st4vla_resizer_run(resizer, pixel, 3, NULL, 3) == ST4VLA_RESIZE_BAD_POINTER);
    CHECK(st4vla_resizer_run(resizer, pixel, 3, out, 3) == ST4VLA_RESIZE_OK);
    CHECK(memcmp(pixel, out, sizeof out) == 0);
    st4vla_resizer_destroy(resizer);
    st4vla_resizer_destroy(NULL);
    CHECK(strstr(st4vla_resize_message(ST4VLA_RESIZE_BAD_SIZE), "16384") != NULL);
    CHECK(strcmp(st4vla_resize_message((st4vla_resize_status)99), "not a status of this library") == 0);
}

int main(int argc, char **argv)
{
    FILE *golden;
    int size[4], count = 0;
    unsigned crc;

    CHECK(argc == 2);
    CHECK(st4vla_resize_abi_version() == ST4VLA_RESIZE_ABI_VERSION);
    golden = fopen(argv[1], "r");
    CHECK(golden != NULL);
    while (fscanf(golden, "%d %d %d %d %x", &size[0], &size[1], &size[2], &size[3], &crc) == 5) {
        check_resize(size, (uint32_t)crc, 0);
        check_resize(size, (uint32_t)crc, count % 2);
        ++count;
    }
    CHECK(feof(golden) && count > 10);
    fclose(golden);
    check_refusals();
    return 0;
}
