/* SPDX-License-Identifier: MIT */
#ifndef CLI_CLI_H
#define CLI_CLI_H

/*
 * `viaduct`: one file a command, main.c has the table of them. A command gets its own name as
 * argv[0] and returns the exit code: 0, 1 for "it did not work", 2 for "called wrongly".
 */
int exec_run(int argc, char **argv);
int info_run(int argc, char **argv);
int doctor_run(int argc, char **argv);
int top_run(int argc, char **argv);
int bench_run(int argc, char **argv);
int npu_command_run(int argc, char **argv);

#define CLI_OK    0
#define CLI_FAIL  1
#define CLI_USAGE 2

#endif
