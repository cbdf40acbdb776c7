/* SPDX-License-Identifier: MIT */
#include "check.h"

#include "vpp/vpp_blend_rows.h"
#include "vpp/vpp_lut_rows.h"
#include "vpp/vpp_rows.h"

/* The loops for this processor give what those for any give, at any length and address. */

#define MOST 80

struct rows {
    uint8_t in[2][16 * MOST], out[3][16 * MOST];
};

static void fill(struct rows *rows, uint64_t seed)
{
    uint8_t *bytes = (uint8_t *)rows;

    for (size_t i = 0; i < sizeof(*rows); i++)
        bytes[i] = (uint8_t)check_random(&seed);
}

/* All loops of one table, one after the other. */
static void run_all(const struct vpp_rows *r, struct rows *rows, size_t n, size_t at, int which)
{
    static const int32_t turn[4] = {15000, -6000, 6000, 15000};
    uint8_t *a = rows->out[0] + at, *b = rows->out[1] + at, *c = rows->out[2] + at;
    const uint8_t *x = rows->in[0] + at, *y = rows->in[1] + at;
    uint16_t table[1024];

    for (size_t i = 0; i < COUNT(table); i++)
        table[i] = (uint16_t)(i * 77);
    switch (which) {
    case 0:
        r->split8(a, b, x, n);
        break;
    case 1:
        r->split16(a, b, x, n, 6);
        break;
    case 2:
        r->down16(a, x, n, 4);
        break;
    case 3:
        r->mask16(a, x, n, 1023);
        break;
    case 4:
        r->narrow(a, x, n, 10);
        r->narrow(b, x, n, 16);
        break;
    case 5:
        r->widen(a, x, n, 0xffc0);
        break;
    case 6:
        r->mean8(a, x, y, n);
        r->mean16(b, x, y, n);
        break;
    case 7:
        r->unpack8(a, b, c, x, n);
        break;
    case 8:
        r->unpack10(a, b, c, x, n);
        break;
    case 9:
        r->unpack21x(a, b, c, x, n, 6);
        break;
    case 13:
        r->unpack41x(a, b, c, x, n);
        break;
    case 10:
        r->look8(a, x, n, table);
        r->look16(b, x, n, table, 1023);
        break;
    case 11:
        r->turn8(a, b, x, y, n, turn);
        break;
    default:
        r->turn16(a, b, x, y, n, turn, 10);
        break;
    }
}

static void test_rows(void **state)
{
    static struct rows one, other;

    (void)state;
    for (size_t n = 0; n <= MOST; n++) {
        for (int which = 0; which < 13; which++) {
            fill(&one, n);
            other = one;
            run_all(vpp_rows(), &one, n, n % 8, which);
            run_all(&vpp_rows_any, &other, n, n % 8, which);
            assert_memory_equal(&one, &other, sizeof(one));
        }
    }
}

/* Within one: the last step of one pixel may be rounded in another place. */
static void test_lut_rows(void **state)
{
    static uint64_t table[LUT_WORDS];
    uint16_t y[MOST + 2], u[MOST + 2], v[MOST + 2];
    uint8_t one[2 * MOST], other[2 * MOST];
    uint64_t seed = 4;

    (void)state;
    for (size_t i = 0; i < LUT_WORDS; i++)
        /* From 0 to 1: more between neighbours there never is. */
        table[i] = check_random(&seed) & 0x1fff1fff1fff1fffull;
    for (int i = 0; i < 300; i++) {
        size_t n = check_random(&seed) % MOST;
        int bits = i % 3 == 0 ? 8 : i % 3 == 1 ? 10 : 16;

        for (size_t j = 0; j < MOST; j++) {
            y[j] = (uint16_t)check_random(&seed);
            u[j] = (uint16_t)check_random(&seed);
            v[j] = (uint16_t)check_random(&seed);
        }
        memset(one, 1, sizeof(one));
        memset(other, 1, sizeof(other));
        vpp_lut_rows()->look(one, y, u, v, n, table, bits);
        vpp_lut_rows_any.look(other, y, u, v, n, table, bits);
        for (size_t j = 0; j < n; j++) {
            uint16_t a = one[j], b = other[j];

            if (bits > 8) {
                memcpy(&a, one + 2 * j, 2);
                memcpy(&b, other + 2 * j, 2);
            }
            assert_true(abs(a - b) <= (bits == 16 ? 32 : 1));
        }
        n = n * (bits > 8 ? 2 : 1);
        assert_memory_equal(one + n, other + n, sizeof(one) - n);
    }
}

static void test_blend_rows(void **state)
{
    static struct rows rows;
    float alphas[2][MOST], values[2][MOST];

    (void)state;
    for (int kind = 0; kind < 24; kind++) {
        const struct blend_source source = {
            .alpha = rows.in[0],
            .value = rows.in[1],
            .step = kind % 3 == 0   ? 1
                    : kind % 3 == 1 ? 4
                                    : 2,
            .wide = kind % 3 == 2,
            .weigh = kind / 3 % 2,
            .black = kind / 3 % 2 ? 0 : 16,
            .most = 255,
            .pixels = kind % 3 != 1 && kind / 6 % 2 ? 2 : 1,
        };
        const struct blend_target target = {
            .step = kind % 2 ? 2 : 1, .bits = 8, .scale = 0.9f / (255.0f * (float)source.pixels)};
        struct blend_target a = target, b = target;

        fill(&rows, (uint64_t)kind);
        memset(alphas, 0, sizeof(alphas));
        memset(values, 0, sizeof(values));
        vpp_blend_rows()->add(alphas[0], values[0], &source, MOST);
        vpp_blend_rows_any.add(alphas[1], values[1], &source, MOST);
        assert_memory_equal(alphas[0], alphas[1], sizeof(alphas[0]));
        assert_memory_equal(values[0], values[1], sizeof(values[0]));
        if (source.wide)
            continue;
        memcpy(rows.out[1], rows.out[0], sizeof(rows.out[0]));
        a.first = rows.out[0];
        b.first = rows.out[1];
        vpp_blend_rows()->apply(&a, alphas[0], values[0], MOST);
        vpp_blend_rows_any.apply(&b, alphas[1], values[1], MOST);
        assert_memory_equal(rows.out[0], rows.out[1], sizeof(rows.out[0]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_lut_rows),
        cmocka_unit_test(test_blend_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
