/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wire/log.h>

/* Whether it works here, found out in a process of its own: drivers may crash or hang, and what
 * they have begun does not survive the forks that follow. */

/* The first start compiles and may load kernel modules. */
#define PROBE_MS 15000

static const char text[] = ".version 7.0\n"
                           ".target sm_80\n"
                           ".address_size 64\n"
                           ".visible .entry probe(.param .u64 to, .param .u32 add)\n"
                           "{\n"
                           "    .reg .b32 %r<4>;\n"
                           "    .reg .b64 %d<4>;\n"
                           "    ld.param.u64 %d1, [to];\n"
                           "    ld.param.u32 %r1, [add];\n"
                           "    cvta.to.global.u64 %d1, %d1;\n"
                           "    mov.u32 %r2, %tid.x;\n"
                           "    add.u32 %r1, %r1, %r2;\n"
                           "    mul.wide.u32 %d2, %r2, 4;\n"
                           "    add.u64 %d1, %d1, %d2;\n"
                           "    st.global.u32 [%d1], %r1;\n"
                           "    ret;\n"
                           "}\n";

/* 32 threads write what is then looked at: by the table, as a session does. 0 or a CUresult. */
static int run_kernel(void)
{
    const struct cuda_backend *b = &cuda_backend_native;
    struct cuda_device *device;
    struct cuda_context *context;
    struct cuda_module *module;
    struct cuda_queue *queue;
    struct {
        uint64_t to;
        uint32_t add, end;
    } parameters = {.add = 1000};
    uint32_t got[32] = {0};
    uint64_t number;
    int err = b->open(0, &device);

    if (!err)
        err = b->context_create(device, &context);
    if (!err)
        err = b->memory_create(device, context, sizeof(got), &parameters.to);
    if (!err)
        err = b->module_create(context, text, sizeof(text) - 1, NULL, 0, &module);
    if (!err)
        err = b->queue_create(context, 0, &queue);
    if (err)
        return err;
    if (module->kernel_count != 1 || module->kernels[0].parameter_count != 2)
        return CUDA_ERROR_NOT_SUPPORTED;
    b->submit(queue, &(struct cuda_command){.kind = CUDA_LAUNCH,
                                            .launch = {.kernel = module->kernels[0].kernel,
                                                       .grid = {1, 1, 1},
                                                       .block = {32, 1, 1},
                                                       .parameters = &parameters,
                                                       .parameter_bytes = 12}});
    number = b->submit(
        queue, &(struct cuda_command){
                   .kind = CUDA_COPY,
                   .copy = {.to = {.host = true, .address = (uintptr_t)got, .pitch = sizeof(got)},
                            .from = {.address = parameters.to, .pitch = sizeof(got)},
                            .width = sizeof(got),
                            .height = 1,
                            .depth = 1}});
    if (!number)
        return CUDA_ERROR_OUT_OF_MEMORY;
    b->wait(queue, number);
    err = context->error;
    for (uint32_t i = 0; i < 32 && !err; i++)
        if (got[i] != 1000 + i)
            err = CUDA_ERROR_ILLEGAL_INSTRUCTION;
    return err;
}

struct answer {
    int error;
    char text[128];
};

static void probe_child(int fd)
{
    struct answer answer = {.error = native_prepare()};
    struct cuda_properties p;
    unsigned n;

    if (!answer.error)
        answer.error = run_kernel();
    if (!answer.error && !cuda_backend_native.count(&n) && !cuda_backend_native.properties(0, &p))
        snprintf(answer.text, sizeof(answer.text), "%s%s", p.name, n > 1 ? " and others" : "");
    if (write(fd, &answer, sizeof(answer)) < 0)
        _exit(1);
}

int native_probe(char *ret_text, size_t size)
{
    struct answer answer = {.error = CUDA_ERROR_UNKNOWN};
    struct pollfd p;
    int ends[2], status;
    ssize_t n = 0;
    pid_t pid;

    if (pipe(ends) < 0)
        return CUDA_ERROR_OPERATING_SYSTEM;
    pid = fork();
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        probe_child(ends[1]);
        _exit(0);
    }
    close(ends[1]);
    if (pid > 0) {
        p = (struct pollfd){.fd = ends[0], .events = POLLIN};
        if (poll(&p, 1, PROBE_MS) > 0)
            n = read(ends[0], &answer, sizeof(answer));
        kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    close(ends[0]);
    if (n != sizeof(answer)) {
        log_warn("cuda: the driver crashed, or said nothing for %d s", PROBE_MS / 1000);
        return CUDA_ERROR_UNKNOWN;
    }
    answer.text[sizeof(answer.text) - 1] = '\0';
    snprintf(ret_text, size, "%s", answer.text);
    return answer.error;
}
