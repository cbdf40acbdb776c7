/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_CUBE_H
#define VIADUCT_PTX_CUBE_H

#include <math.h>
#include <stdint.h>

/*
 * Cube maps: the face that a vector points to, and where on it. Faces are +x, -x, +y, -y, +z, -z
 * (CUDA C++ Programming Guide, "Cubemap Textures").
 */

struct cube_face {
    struct {
        uint8_t axis;
        int8_t sign;
    } s, t, major;
};

static const struct cube_face cube_faces[6] = {
    {{2, -1}, {1, -1}, {0, 1}}, {{2, 1}, {1, -1}, {0, -1}}, {{0, 1}, {2, 1}, {1, 1}},
    {{0, 1}, {2, -1}, {1, -1}}, {{0, 1}, {1, -1}, {2, 1}},  {{0, -1}, {1, -1}, {2, -1}},
};

static inline unsigned cube_face(const float *v)
{
    if (fabsf(v[0]) >= fabsf(v[1]) && fabsf(v[0]) >= fabsf(v[2]))
        return v[0] < 0;
    if (fabsf(v[1]) >= fabsf(v[2]))
        return 2 + (v[1] < 0);
    return 4 + (v[2] < 0);
}

/* Where a vector meets the plane of a face: 0 to 1 on it. */
static inline void cube_project(const float *v, unsigned face, float *ret_at)
{
    const struct cube_face *f = &cube_faces[face];
    float m = (float)f->major.sign * v[f->major.axis];

    ret_at[0] = ((float)f->s.sign * v[f->s.axis] / m + 1) / 2;
    ret_at[1] = ((float)f->t.sign * v[f->t.axis] / m + 1) / 2;
}

/* How far that place moves when the vector moves by `d`. */
static inline void cube_slope(const float *v, const float *d, unsigned face, float *ret_slope)
{
    const struct cube_face *f = &cube_faces[face];
    float m = (float)f->major.sign * v[f->major.axis], dm = (float)f->major.sign * d[f->major.axis];

    ret_slope[0] = (float)f->s.sign * (d[f->s.axis] * m - v[f->s.axis] * dm) / (2 * m * m);
    ret_slope[1] = (float)f->t.sign * (d[f->t.axis] * m - v[f->t.axis] * dm) / (2 * m * m);
}

/* Texel x, y of a face with n × n, -1 or n in one dimension, is another face's. */
static inline void cube_cross(int64_t n, unsigned *face, int64_t *x, int64_t *y)
{
    const struct cube_face *f = &cube_faces[*face];
    float v[3], at[2];

    v[f->s.axis] = (float)f->s.sign * ((2 * (float)*x + 1) / (float)n - 1);
    v[f->t.axis] = (float)f->t.sign * ((2 * (float)*y + 1) / (float)n - 1);
    v[f->major.axis] = f->major.sign;
    *face = cube_face(v);
    cube_project(v, *face, at);
    *x = (int64_t)(at[0] * (float)n);
    *y = (int64_t)(at[1] * (float)n);
    *x = *x < 0 ? 0 : *x >= n ? n - 1 : *x;
    *y = *y < 0 ? 0 : *y >= n ? n - 1 : *y;
}

#endif
