/* SPDX-License-Identifier: Apache-2.0
 * Scaling by enabled / running: rounded, monotonic, never beyond 64 bits. */
#include "check.h"
#include "count.h"

typedef unsigned __int128 wide;

static uint64_t random_bits(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state >> (*state % 64); /* of every size */
}

TEST(scale_leaves_what_ran_all_the_time)
{
    CHECK_EQ(kp_scale(123, 1000, 1000), 123);
    CHECK_EQ(kp_scale(UINT64_MAX, 7, 7), UINT64_MAX);
    CHECK_EQ(kp_scale(0, 1000, 1), 0);
}

TEST(scale_without_running_time)
{
    CHECK_EQ(kp_scale(0, 1000, 0), 0);
    CHECK_EQ(kp_scale(5, 0, 0), 5);
}

TEST(scale_rounds_to_nearest)
{
    CHECK_EQ(kp_scale(10, 3, 2), 15);
    CHECK_EQ(kp_scale(1, 4, 3), 1);
    CHECK_EQ(kp_scale(1, 5, 3), 2);
    CHECK_EQ(kp_scale(1, 3, 2), 2);
}

TEST(scale_stops_at_the_largest)
{
    CHECK(kp_scale(UINT64_MAX, UINT64_MAX, 1) == UINT64_MAX);
    CHECK(kp_scale(UINT64_MAX, 2, 1) == UINT64_MAX);
    CHECK(kp_scale(UINT64_MAX / 2, 2, 1) == UINT64_MAX - 1);
}

TEST(scale_of_many)
{
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (int i = 0; i < repeat(200000); i++) {
        uint64_t value = random_bits(&state), enabled = random_bits(&state);
        uint64_t running = random_bits(&state);
        if (running == 0 || running > enabled)
            continue;
        uint64_t scaled = kp_scale(value, enabled, running);
        CHECK(scaled >= value);
        CHECK(value == 0 || kp_scale(value - 1, enabled, running) <= scaled);
        if (scaled == UINT64_MAX)
            continue;
        wide exact = (wide)value * enabled, back = (wide)scaled * running;
        wide apart = exact > back ? exact - back : back - exact;
        CHECK(apart <= running / 2 + running % 2);
    }
}
