/* SPDX-License-Identifier: MIT */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * What the steps of `viaduct doctor` found out and later ones want to know. doctor.c asks the
 * host and libva, doctor_system.c this machine.
 */
struct doctor {
    bool failed;
    bool served;          /* a host service answered */
    bool null_backend;    /* which decodes nothing */
    uint64_t frame_bytes; /* of the arena */
    uint64_t arena_bytes;
    char driver[PATH_MAX]; /* the file libva will load, "" if none */
};

/*
 * One line. `advice` may be NULL. "ok" lines tell what was found, "warn" what may be meant so,
 * "FAIL" what keeps programs from decoding.
 */
enum doctor_verdict { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };
void doctor_say(struct doctor *doctor, enum doctor_verdict verdict, const char *advice,
                const char *format, ...) __attribute__((format(printf, 4, 5)));

/* doctor_system.c */
void doctor_system_environment(struct doctor *doctor);
void doctor_system_driver(struct doctor *doctor);
void doctor_system_node(struct doctor *doctor);
void doctor_system_memory(struct doctor *doctor);

#endif
