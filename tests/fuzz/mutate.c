/* SPDX-License-Identifier: Apache-2.0
 * A fuzzer for where there is no libFuzzer: mutates the seeds in a fixed order of pseudo-random
 * steps, so that every run of the same length does the same.
 *
 * usage: mutate LAST ROUNDS SECONDS SEED...
 * LAST is a file that holds the input in use: behind a crash, the one that caused it. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_SEEDS = 256, MOST_BYTES = 1 << 16, MOST_STEPS = 6, HANGS_AFTER = 20 };

struct input {
    uint64_t size;
    uint8_t bytes[MOST_BYTES];
};

static struct input seeds[MOST_SEEDS];
static struct input *last;
static size_t n_seeds;
static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return below == 0 ? 0 : state % below;
}

/* ---- steps: each changes the input in one place ---- */

static void flip_bit(struct input *input)
{
    if (input->size > 0)
        input->bytes[draw(input->size)] ^= (uint8_t)(1u << draw(8));
}

static void set_byte(struct input *input)
{
    if (input->size > 0)
        input->bytes[draw(input->size)] = (uint8_t)draw(256);
}

/* A number of some width that tends to break sums. */
static void set_number(struct input *input)
{
    static const uint64_t numbers[] = {0,
                                       1,
                                       7,
                                       8,
                                       0x7f,
                                       0x80,
                                       0xff,
                                       0xffff,
                                       0x7fffffff,
                                       0x80000000,
                                       UINT32_MAX,
                                       INT64_MAX,
                                       (uint64_t)INT64_MIN,
                                       UINT64_MAX,
                                       UINT64_MAX - 7,
                                       (uint64_t)-512,
                                       (uint64_t)-128};
    size_t width = (size_t)1 << draw(4);
    uint64_t number = numbers[draw(sizeof(numbers) / sizeof(numbers[0]))];
    if (input->size < width)
        return;
    uint64_t at = draw(input->size - width + 1);
    memcpy(input->bytes + (draw(4) ? at / width * width : at), &number, width);
}

static void cut_end(struct input *input)
{
    input->size = draw(input->size + 1);
}

static void remove_words(struct input *input)
{
    uint64_t words = input->size / 8;
    if (words < 2)
        return;
    uint64_t at = draw(words) * 8, n = (1 + draw(4)) * 8;
    n = n < input->size - at ? n : input->size - at;
    memmove(input->bytes + at, input->bytes + at + n, input->size - at - n);
    input->size -= n;
}

/* Words from anywhere in a seed, over what stands here, or between. */
static void insert_words(struct input *input)
{
    const struct input *other = &seeds[draw(n_seeds)];
    uint64_t n = (1 + draw(16)) * 8, to = draw(input->size / 8 + 1) * 8;
    if (other->size < n || input->size + n > MOST_BYTES)
        return;
    uint64_t from = draw((other->size - n) / 8 + 1) * 8;
    if (draw(2)) {
        memmove(input->bytes + to + n, input->bytes + to, input->size - to);
        input->size += n;
    } else if (to + n > input->size) {
        return;
    }
    memcpy(input->bytes + to, other->bytes + from, n);
}

static void (*const steps[])(struct input *) = {flip_bit, set_byte,     set_number,
                                                cut_end,  remove_words, insert_words};

/* ---- running ---- */

static void load(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || n_seeds == MOST_SEEDS) {
        fprintf(stderr, "cannot take %s\n", path);
        exit(2);
    }
    struct input *seed = &seeds[n_seeds++];
    seed->size = fread(seed->bytes, 1, sizeof(seed->bytes), file);
    fclose(file);
}

static void try_last(void)
{
    /* Of the exact size on the heap, where a byte too far is told. */
    uint8_t *data = malloc(last->size + 1);
    if (data == NULL)
        exit(2);
    memcpy(data + 1, last->bytes, last->size);
    alarm(HANGS_AFTER);
    LLVMFuzzerTestOneInput(data + 1, last->size);
    free(data);
}

static void mutate(void)
{
    *last = seeds[draw(n_seeds)];
    for (uint64_t n = 1 + draw(MOST_STEPS); n > 0; n--)
        steps[draw(sizeof(steps) / sizeof(steps[0]))](last);
}

static double seconds_since(const struct timespec *begin)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - begin->tv_sec) + (double)(now.tv_nsec - begin->tv_nsec) / 1e9;
}

int main(int argc, char **argv)
{
    struct timespec begin;
    if (argc < 5)
        return 2;
    int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(*last)) != 0)
        return 2;
    last = mmap(NULL, sizeof(*last), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (last == MAP_FAILED)
        return 2;
    for (int i = 4; i < argc; i++)
        load(argv[i]);
    for (size_t i = 0; i < n_seeds; i++) {
        *last = seeds[i];
        try_last();
    }
    long rounds = atol(argv[2]), done = 0;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (; done < rounds && seconds_since(&begin) < atof(argv[3]); done++) {
        mutate();
        try_last();
    }
    printf("%ld inputs\n", done + (long)n_seeds);
    return 0;
}
