/* SPDX-License-Identifier: MIT */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "config.h"

#if HAVE_SECCOMP && CONFINE
#include <seccomp.h>
#endif

#define SANDBOX_NOBODY 65534

#if CONFINE
static int set_limit(int what, const char *name, rlim_t most)
{
    struct rlimit limit;

    if (getrlimit(what, &limit) < 0)
        return VD_ERR_IO;
    if (limit.rlim_max > most)
        limit.rlim_max = most;
    if (limit.rlim_cur > limit.rlim_max)
        limit.rlim_cur = limit.rlim_max;
    if (setrlimit(what, &limit) < 0) {
        log_error("cannot limit %s of a worker: %s", name, strerror(errno));
        return VD_ERR_IO;
    }
    return 0;
}

#endif

static int drop_root(bool devices)
{
    if (geteuid() != 0)
        return 0;
    /* No network and an empty root even if the filter had a hole; not everywhere allowed. */
    if (unshare(CLONE_NEWNET | CLONE_NEWIPC) < 0)
        log_debug("no private network for workers: %s", strerror(errno));
    /* Drivers of devices look for files late. */
    if (devices)
        log_debug("worker keeps its root for a device");
    else if (chroot("/proc/self/fdinfo") < 0 || chdir("/") < 0)
        log_debug("no private root for workers: %s", strerror(errno));
    if (setgroups(0, NULL) < 0 || setresgid(SANDBOX_NOBODY, SANDBOX_NOBODY, SANDBOX_NOBODY) < 0 ||
        setresuid(SANDBOX_NOBODY, SANDBOX_NOBODY, SANDBOX_NOBODY) < 0) {
        log_error("a worker cannot give up root: %s", strerror(errno));
        return VD_ERR_IO;
    }
    return 0;
}

#if HAVE_SECCOMP && CONFINE
/* Memory, threads, clocks, signals of its own, the open socket and the trace. */
static const int sandbox_allowed[] = {
    SCMP_SYS(brk),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(close),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(fallocate),
    SCMP_SYS(flock),
    SCMP_SYS(fstat),
    SCMP_SYS(futex),
    SCMP_SYS(getpid),
    SCMP_SYS(getrandom),
    SCMP_SYS(gettid),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getuid),
    SCMP_SYS(lseek),
    SCMP_SYS(madvise),
    SCMP_SYS(membarrier),
    SCMP_SYS(mremap),
    SCMP_SYS(munmap),
    SCMP_SYS(nanosleep),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(read),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rseq),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(shutdown),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(tgkill),
    SCMP_SYS(write),
    SCMP_SYS(writev),
};

/*
 * What no library of ours ever wants: who calls these has taken the process over. All other calls
 * fail with EPERM, which libraries that probe their machine can live with.
 */
static const int sandbox_fatal[] = {
    SCMP_SYS(bpf),
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(init_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(keyctl),
    SCMP_SYS(mount),
    SCMP_SYS(pivot_root),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(ptrace),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(vfork),
};

/*
 * What drivers of devices want in addition: their device, files, memory of other kinds, questions
 * about the machine. Files are opened as nobody (if the service is root); what the device needs
 * with more rights was opened before.
 */
static const int sandbox_device[] = {
    SCMP_SYS(access),
    SCMP_SYS(clock_getres),
    SCMP_SYS(dup),
    SCMP_SYS(dup3),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(eventfd2),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(fcntl),
    SCMP_SYS(fstatfs),
    SCMP_SYS(ftruncate),
    SCMP_SYS(get_mempolicy),
    SCMP_SYS(getcpu),
    SCMP_SYS(getdents64),
    SCMP_SYS(getegid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getrusage),
    SCMP_SYS(ioctl),
    SCMP_SYS(kcmp),
    SCMP_SYS(lstat),
    SCMP_SYS(mbind),
    SCMP_SYS(memfd_create),
    SCMP_SYS(mincore),
    SCMP_SYS(mlock),
    SCMP_SYS(munlock),
    SCMP_SYS(newfstatat),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(pipe2),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(sched_get_priority_max),
    SCMP_SYS(sched_get_priority_min),
    SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_getscheduler),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(sched_setscheduler),
    SCMP_SYS(stat),
    SCMP_SYS(statfs),
    SCMP_SYS(statx),
    SCMP_SYS(sysinfo),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(uname),
};

#define SANDBOX_PROT_EXEC 4

static int add_rules(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
    int err = 0;

    for (size_t i = 0; i < count && !err; i++)
        err = seccomp_rule_add(filter, action, calls[i], 0);
    return err;
}

#define ADD_RULES(filter, action, list) \
    add_rules(filter, action, list, sizeof(list) / sizeof(list[0]))

static int enter_filter(bool devices)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int err = filter ? 0 : -ENOMEM;

    if (!err)
        err = ADD_RULES(filter, SCMP_ACT_ALLOW, sandbox_allowed);
    if (!err)
        err = ADD_RULES(filter, SCMP_ACT_KILL_PROCESS, sandbox_fatal);
    /* Drivers ask for daemons of their own, and live without. */
    if (!err && !devices)
        err = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(connect), 0);
    if (!err && devices)
        err = ADD_RULES(filter, SCMP_ACT_ALLOW, sandbox_device);
    /* Threads that a driver has started are in, too. */
    if (!err && devices)
        err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    /* Its flags cannot be seen by a filter; libc then falls back to clone. */
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    /* Threads, not processes. */
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                               SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    /* No new code; drivers load parts of themselves late. */
    if (!err && devices)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 0);
    else if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, SANDBOX_PROT_EXEC, 0));
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, SANDBOX_PROT_EXEC, 0));
    if (!err)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                               SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
    /* Imported memory is asked for its seals. */
    if (!err && !devices)
        err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                               SCMP_A1(SCMP_CMP_EQ, F_GET_SEALS, 0));
    if (!err)
        err = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    if (err) {
        log_error("a worker cannot close its seccomp filter: %s", strerror(-err));
        return VD_ERR_IO;
    }
    return 0;
}
#endif

int sandbox_has_filter(void)
{
    return HAVE_SECCOMP && CONFINE;
}

int sandbox_enter(uint64_t max_memory, bool devices)
{
    int err = drop_root(devices);

    /* After the change of user, which clears it: no worker outlives the service. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#if CONFINE
    if (!err)
        err = set_limit(RLIMIT_CORE, "core dumps", 0);
    if (!err)
        err = set_limit(RLIMIT_NOFILE, "descriptors", devices ? 1024 : 64);
    /* Drivers reserve address space by the terabyte. */
    if (!err && !devices)
        err = set_limit(RLIMIT_AS, "memory", max_memory);
#else
    (void)max_memory;
#endif
    if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        log_error("a worker cannot give up new privileges: %s", strerror(errno));
        err = VD_ERR_IO;
    }
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#if HAVE_SECCOMP && CONFINE
    if (!err)
        err = enter_filter(devices);
#endif
    return err;
}
