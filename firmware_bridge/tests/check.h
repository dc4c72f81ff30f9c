/* CHECK: unlike assert(), it stays in release builds; it says where it failed and ends the test. */
#ifndef ST4VLA_TESTS_CHECK_H
#define ST4VLA_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

#endif /* ST4VLA_TESTS_CHECK_H */
