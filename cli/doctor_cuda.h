/* SPDX-License-Identifier: MIT */
#ifndef CLI_DOCTOR_CUDA_H
#define CLI_DOCTOR_CUDA_H

#include "doctor.h"

/* Says which runtime of CUDA is in a program, since not every one works here. Only text is looked
 * for, so a program that prints these names is taken for one that uses them. */
void doctor_cuda_program(struct doctor *doctor, const char *path);

#endif
