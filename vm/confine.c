/* SPDX-License-Identifier: MIT */
#include "confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "config.h"

#if HAVE_SECCOMP && CONFINE
#include <seccomp.h>

static const int confine_allowed[] = {
    SCMP_SYS(accept4),
    SCMP_SYS(bind),
    SCMP_SYS(brk),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(close),
    SCMP_SYS(connect),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(fcntl),
    SCMP_SYS(fstat),
    SCMP_SYS(futex),
    SCMP_SYS(getpid),
    SCMP_SYS(getrandom),
    SCMP_SYS(getsockopt),
    SCMP_SYS(madvise),
    SCMP_SYS(mremap),
    SCMP_SYS(munmap),
    SCMP_SYS(newfstatat),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(shutdown),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(write),
    SCMP_SYS(writev),
};

/* Whoever calls these has taken the process over. */
static const int confine_fatal[] = {
    SCMP_SYS(bpf),    SCMP_SYS(clone3), SCMP_SYS(execve),           SCMP_SYS(execveat),
    SCMP_SYS(fork),   SCMP_SYS(mount),  SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
    SCMP_SYS(ptrace), SCMP_SYS(setns),  SCMP_SYS(unshare),          SCMP_SYS(userfaultfd),
    SCMP_SYS(vfork),
};

#define PROT_EXEC_BIT 4

static int add_rules(scmp_filter_ctx filter)
{
    int err = 0;

    for (size_t i = 0; i < sizeof(confine_allowed) / sizeof(int) && !err; i++)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, confine_allowed[i], 0);
    for (size_t i = 0; i < sizeof(confine_fatal) / sizeof(int) && !err; i++)
        err = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, confine_fatal[i], 0);
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                               SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC_BIT, 0));
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC_BIT, 0));
    return err;
}

static int close_filter(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int err = filter ? add_rules(filter) : -ENOMEM;

    if (!err)
        err = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    if (err) {
        log_error("cannot close the system call filter: %s", strerror(-err));
        return VD_ERR_IO;
    }
    return 0;
}
#endif

bool confine_has_filter(void)
{
    return HAVE_SECCOMP && CONFINE;
}

/* Root keeps its name, for sockets that are its own, and no power. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];

    memset(none, 0, sizeof(none));
    if (syscall(SYS_capset, &header, none) < 0) {
        log_error("cannot give capabilities up: %s", strerror(errno));
        return VD_ERR_IO;
    }
    return 0;
}

int confine_enter(unsigned descriptors)
{
    int err = drop_capabilities();

#if CONFINE
    struct rlimit files = {descriptors, descriptors}, core = {0, 0}, had;

    if (!getrlimit(RLIMIT_NOFILE, &had) && had.rlim_max < files.rlim_max)
        files.rlim_cur = files.rlim_max = had.rlim_max;
    if (!err && (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &core) < 0)) {
        log_error("cannot set limits: %s", strerror(errno));
        err = VD_ERR_IO;
    }
#else
    (void)descriptors;
#endif
    if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        log_error("cannot give new privileges up: %s", strerror(errno));
        err = VD_ERR_IO;
    }
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#if HAVE_SECCOMP && CONFINE
    if (!err)
        err = close_filter();
#endif
    return err;
}
