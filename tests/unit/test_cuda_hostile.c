/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#include <compute/cuda/cuda.h>
#include <compute/cuda/device.h>
#include <transport/arena.h>
#include <transport/message.h>
#include <viaduct/errors.h>
#include <wire/dispatch.h>

#include "engine.h"
#include "session.h"

/*
 * A program for CUDA whose host lies. The host is a real one; somebody between the two changes one
 * of its messages, closes, or scribbles into the memory that both share. The program, a process of
 * its own, must come to an end by itself, with an error where the lie cannot be overlooked.
 */

#define SECONDS 30 /* that a program may take; none needs one */

#define OK(call) assert_int_equal(call, CUDA_SUCCESS)

enum lie {
    LIE_NONE,
    LIE_CLOSE,   /* instead of it */
    LIE_HALF,    /* its header, then the end */
    LIE_SHORT,   /* eight bytes are missing, and its header says so */
    LIE_LONG,    /* it says that there is more, then the end */
    LIE_HUGE,    /* it says that it is larger than any message */
    LIE_SERIAL,  /* the answer to another question */
    LIE_OP,      /* of another kind */
    LIE_EVENT,   /* an event that there is not, before it */
    LIE_TAIL,    /* more elements than there are */
    LIE_TWICE,   /* it comes twice */
    LIE_STATUS,  /* an error that there is not */
    LIE_ONES,    /* all bits of its body are set */
    LIE_RANDOM,  /* its body is random */
    LIE_STAGING, /* what it refers to in staging memory is random */
    LIE_WORDS,   /* from it on, words of the status change by themselves */
    LIE_MORE, /* it and all later ones say that another belongs with them: there is no last one */
    LIE_KINDS,
};

/* Those that the program cannot overlook. */
static bool is_plain(enum lie lie)
{
    return lie != LIE_NONE && lie != LIE_TWICE && lie != LIE_RANDOM && lie != LIE_STAGING &&
           lie != LIE_WORDS;
}

static struct {
    bool in_band;
    uint32_t op; /* the message that is changed, as it is in its header */
    uint32_t nth;
    enum lie lie;
    uint64_t random;
} plan;

static struct {
    struct channel *guest, *relay, *host;
    struct arena arena; /* not in band */
    pthread_t ends[3], scribbler;
    _Atomic bool over, scribbling;
} man;

/* The program. */

static const char text[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".global .align 4 .u32 counter = 7;\n"
    ".global .align 1 .b8 words[4] = {104, 105, 10, 0};\n"
    ".extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b);\n"
    ".visible .entry put(.param .u64 out, .param .u32 value) {\n"
    "  .reg .b32 %r<3>; .reg .b64 %d<3>;\n"
    "  ld.param.u64 %d1, [out]; ld.param.u32 %r1, [value]; st.global.u32 [%d1], %r1;\n"
    "  mov.u64 %d2, words; cvta.global.u64 %d2, %d2;\n"
    "  { .param .b64 a; .param .b64 b; .param .b32 r;\n"
    "  st.param.b64 [a], %d2; st.param.b64 [b], 0;\n"
    "  call.uni (r), vprintf, (a, b); ld.param.b32 %r2, [r]; } ret; }\n"
    ".visible .entry bad() { .reg .b64 %d; mov.u64 %d, 16; st.global.u32 [%d], 0; ret; }\n";

static void nothing(void *user)
{
    (void)user;
}

#define TRY(call)     \
    do {              \
        if ((call))   \
            _exit(1); \
    } while (0)

/* Every message once. Exit codes: 0 all went well, 1 an error, 2 other bytes than there should be.
 */
static void program(void)
{
    unsigned words[64], back[64], value = 41;
    CUdeviceptr d, global;
    void *parameters[] = {&d, &value};
    size_t size, available;
    CUcontext context;
    CUmodule module;
    CUfunction f;
    CUstream s;
    CUevent e[2];
    float ms;
    void *pinned;

    memset(words, 3, sizeof(words));
    memset(back, 0, sizeof(back));
    TRY(cuInit(0));
    TRY(cuCtxCreate_v2(&context, 0, 0));
    TRY(cuModuleLoadData(&module, text));
    TRY(cuModuleGetFunction(&f, module, "put"));
    TRY(cuModuleGetGlobal_v2(&global, &size, module, "counter"));
    TRY(cuMemAlloc_v2(&d, sizeof(words)));
    TRY(cuMemGetInfo_v2(&available, &size));
    TRY(cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, 1 << 20));
    TRY(cuMemHostAlloc(&pinned, 10000, 0));
    TRY(cuStreamCreate(&s, 0));
    TRY(cuEventCreate(&e[0], 0));
    TRY(cuEventCreate(&e[1], 0));
    for (unsigned i = 0; i < 20; i++) {
        TRY(cuEventRecord(e[0], s));
        TRY(cuMemcpyHtoDAsync_v2(d, words, sizeof(words), s));
        TRY(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, s, parameters, NULL));
        TRY(cuLaunchHostFunc(s, nothing, NULL));
        TRY(cuMemcpyDtoHAsync_v2(pinned, d, sizeof(words), s));
        TRY(cuEventRecord(e[1], s));
        TRY(cuStreamSynchronize(s));
        TRY(cuEventElapsedTime(&ms, e[0], e[1]));
    }
    TRY(cuMemcpyDtoH_v2(back, d, sizeof(back)));
    words[0] = value;
    if (memcmp(words, back, sizeof(words)) || memcmp(words, pinned, sizeof(words)))
        _exit(2);
    TRY(cuMemFreeAsync(d, s));
    TRY(cuMemFreeHost(pinned));
    TRY(cuModuleGetFunction(&f, module, "bad"));
    TRY(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    TRY(cuCtxSynchronize() != CUDA_ERROR_ILLEGAL_ADDRESS);
    TRY(cuCtxDestroy_v2(context));
    _exit(0);
}

/* In the middle. */

static struct vd_cuda_status *status_of(void)
{
    return (struct vd_cuda_status *)(man.arena.base + man.arena.upload_offset);
}

/* Words that the host writes, for a moment each; but for `sleeping`: a host that has to be woken
 * and says that it has not is one that does nothing. */
static void *scribble(void *arg)
{
    struct vd_cuda_status *s = status_of();
    uint64_t random = plan.random;

    (void)arg;
    while (!man.over) {
        uint32_t value = (uint32_t)check_random(&random);
        /* Who waits for progress that was none looks again after a second: once is enough. */
        uint32_t *words[] = {&s->taken,
                             &s->printed,
                             &s->errors[value % 2],
                             &s->queues[value % 4].done,
                             (uint32_t *)&s->stamps[value % 4],
                             plan.random == 1 ? &s->progress : &s->printed};
        uint32_t *word = words[value >> 8 & 3 ? (value >> 16) % 6 : 3];
        uint32_t was = __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);

        usleep(20);
        /* Who is never told that work is over waits, as for a kernel that does not end. */
        __atomic_compare_exchange_n(word, &value, was, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        usleep(20);
    }
    return NULL;
}

static void spoil_staging(void)
{
    uint64_t at = man.arena.upload_offset + sizeof(struct vd_cuda_status);
    uint64_t random = plan.random;

    for (unsigned i = 0; i < 200; i++)
        man.arena.base[at + check_random(&random) % 4096] = (uint8_t)check_random(&random);
    /* The description of the module is behind its text and the compiler's log. */
    for (unsigned i = 0; i < 60; i++)
        man.arena.base[at + sizeof(text) + check_random(&random) % 2048] ^=
            (uint8_t)check_random(&random);
}

static void send_all(const void *bytes, size_t size, int fd)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, size};

    man.guest->ops->send(man.guest, &iov, 1, fd, 5000);
}

/* Sends a message of the host's in another form. */
static void lie(uint8_t *bytes, size_t size, int fd)
{
    struct vd_header *h = (struct vd_header *)bytes;
    struct vd_header event = {.size = sizeof(event), .op = 99 | VD_EVENT};
    uint64_t random = plan.random;
    bool end = false;

    switch (plan.lie) {
    case LIE_CLOSE:
        size = 0;
        end = true;
        break;
    case LIE_HALF:
        size = sizeof(*h);
        end = true;
        break;
    case LIE_SHORT:
        size -= 8;
        h->size = (uint32_t)size;
        break;
    case LIE_LONG:
        h->size += 64;
        end = true;
        break;
    case LIE_HUGE:
        h->size = VD_MAX_MESSAGE + 8;
        break;
    case LIE_SERIAL:
        h->serial++;
        break;
    case LIE_OP:
        h->op ^= 1;
        break;
    case LIE_EVENT:
        send_all(&event, sizeof(event), -1);
        break;
    case LIE_TAIL:
        h->tail += 1;
        break;
    case LIE_TWICE:
        send_all(bytes, size, -1);
        break;
    case LIE_STATUS:
        memset(bytes + sizeof(*h), 1, 1);
        break;
    case LIE_ONES:
        memset(bytes + sizeof(*h), 0xff, size - sizeof(*h));
        break;
    case LIE_RANDOM:
        for (size_t i = sizeof(*h); i < size; i++)
            bytes[i] = (uint8_t)check_random(&random);
        /* Of calls the answer that all went well, so that the rest is believed. */
        if (h->op & VD_REPLY)
            memset(bytes + sizeof(*h), 0, 4);
        break;
    case LIE_STAGING:
        spoil_staging();
        break;
    case LIE_WORDS:
        if (!man.scribbling)
            man.scribbling = !pthread_create(&man.scribbler, NULL, scribble, NULL);
        break;
    case LIE_MORE:
        ((struct vd_cuda_queue_event *)(void *)(bytes + sizeof(*h)))->flags |= VD_CUDA_QUEUE_MORE;
        plan.nth++;
        break;
    default:
        break;
    }
    if (size)
        send_all(bytes, size, fd);
    if (end)
        man.guest->ops->shut(man.guest);
}

static void *downwards(void *arg)
{
    struct message_reader reader;
    const uint8_t *bytes;
    uint8_t *copy = malloc(VD_MAX_MESSAGE);
    uint32_t seen = 0;
    size_t size;
    int fd = -1;

    (void)arg;
    message_init(&reader, man.relay);
    while (!message_read(&reader, -1, &bytes, &size, &fd)) {
        const struct vd_header *h = (const struct vd_header *)bytes;

        memcpy(copy, bytes, size);
        if (fd >= 0 && !man.arena.base)
            arena_open(&man.arena, dup(fd), (const void *)(copy + sizeof(*h)));
        if (h->op == plan.op && seen++ == plan.nth)
            lie(copy, size, fd);
        else
            send_all(copy, size, fd);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    man.guest->ops->shut(man.guest);
    message_finish(&reader);
    free(copy);
    return NULL;
}

static void *upwards(void *arg)
{
    static uint8_t bytes[65536];
    size_t size;
    int fd;

    (void)arg;
    while (!man.guest->ops->recv(man.guest, bytes, sizeof(bytes), &size, &fd, -1)) {
        struct iovec iov = {bytes, size};

        if (fd >= 0)
            close(fd);
        if (man.relay->ops->send(man.relay, &iov, 1, -1, 5000))
            break;
    }
    man.relay->ops->shut(man.relay);
    return NULL;
}

static void *serve(void *arg)
{
    static const struct backend_set null = {
        .at = {{.backend = &backend_null}}, .count = 1, .name = "null"};
    static const struct session_limits limits = {.contexts = 1,
                                                 .surfaces = 1,
                                                 .bytes = 4 << 20,
                                                 .cuda = &cuda_backend_ptx,
                                                 .cuda_bytes = 64 << 20};
    struct backend_options options = {.threads = 1};
    struct stats_counters stats = {0};

    (void)arg;
    session_serve(man.host, &null, &options, &limits, &stats, NULL, NULL);
    man.host->ops->shut(man.host);
    return NULL;
}

/* A socket that a guest finds by the environment. */
static int listener(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    socklen_t size = sizeof(in);
    char uri[160];
    int fd = socket(plan.in_band ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (plan.in_band) {
        assert_int_equal(bind(fd, (struct sockaddr *)&in, size), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
        snprintf(uri, sizeof(uri), "tcp:127.0.0.1:%u", ntohs(in.sin_port));
    } else {
        snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/viaduct-hostile-%d", (int)getpid());
        unlink(un.sun_path);
        assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
        snprintf(uri, sizeof(uri), "unix:%s", un.sun_path);
    }
    assert_int_equal(listen(fd, 1), 0);
    setenv("VIADUCT_HOST", uri, 1);
    return fd;
}

/* How the program ends; -1: it does not. */
static int ending(pid_t child)
{
    int status, tries = SECONDS * 1000;

    while (tries-- && waitpid(child, &status, WNOHANG) == 0)
        usleep(1000);
    if (tries < 0) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* One program with one lie. Its exit code. */
static int play(bool in_band, uint32_t op, uint32_t nth, enum lie lie, uint64_t random)
{
    void *(*const ends[3])(void *) = {serve, upwards, downwards};
    int fd, accepted, result;
    pid_t child;

    memset(&man, 0, sizeof(man));
    man.arena.fd = -1;
    plan.in_band = in_band;
    plan.op = op;
    plan.nth = nth;
    plan.lie = lie;
    plan.random = random;
    fd = listener();
    child = fork();
    if (!child) {
        /* What it prints is nobody's. */
        if (freopen("/dev/null", "w", stdout))
            execl("/proc/self/exe", "test_cuda_hostile", "program", (char *)NULL);
        _exit(3);
    }
    accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    close(fd);
    assert_true(accepted >= 0);
    if (in_band)
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    assert_int_equal(in_band ? tcp_create(accepted, &man.guest) : unix_create(accepted, &man.guest),
                     0);
    assert_int_equal(in_band ? mem_create_pair_in_band(&man.relay, &man.host)
                             : mem_create_pair(&man.relay, &man.host),
                     0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&man.ends[i], NULL, ends[i], NULL), 0);
    result = ending(child);
    man.over = true;
    man.guest->ops->shut(man.guest);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(man.ends[i], NULL);
    if (man.scribbling)
        pthread_join(man.scribbler, NULL);
    channel_destroy(&man.guest);
    channel_destroy(&man.relay);
    channel_destroy(&man.host);
    arena_finish(&man.arena);
    return result;
}

static void check_play(bool in_band, uint32_t op, uint32_t nth, enum lie lie, uint64_t random)
{
    int got = play(in_band, op, nth, lie, random);

    if (got < 0 || got > 2 || (is_plain(lie) && got != 1))
        fail_msg("%s, op 0x%x, lie %d, random %llu: the program ends with %d",
                 in_band ? "in band" : "shared", op, (int)lie, (unsigned long long)random, got);
}

/* Without a lie all is well: else nothing here would mean anything. */
static void test_honest(void **state)
{
    (void)state;
    assert_int_equal(play(false, 0, 0, LIE_NONE, 0), 0);
    assert_int_equal(play(true, 0, 0, LIE_NONE, 0), 0);
}

static const uint32_t calls[] = {
    VD_OP_hello,
    VD_OP_cuda_open,
    VD_OP_cuda_context_create,
    VD_OP_cuda_memory_map,
    VD_OP_cuda_memory_info,
    VD_OP_cuda_memory_create,
    VD_OP_cuda_module_create,
};

/* Each answer in each wrong form; where the same code reads them once more, some. */
static void test_answers(void **state)
{
    (void)state;
    for (unsigned in_band = 0; in_band < 2; in_band++)
        for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
            for (enum lie lie = LIE_CLOSE; lie <= LIE_ONES; lie++) {
                if ((in_band ? i % 3 != 1 : i == 3 || i == 4) ||
                    /* A mirror's first message is this one. */
                    (lie == LIE_TWICE && calls[i] == VD_OP_hello))
                    continue;
                check_play(in_band, calls[i] | VD_REPLY, 0, lie, 0);
            }
}

static void test_random_answers(void **state)
{
    (void)state;
    for (unsigned in_band = 0; in_band < 2; in_band++)
        for (unsigned i = 1; i < sizeof(calls) / sizeof(calls[0]); i++)
            for (uint64_t random = 1; random < 3; random++)
                if (!in_band || calls[i] != VD_OP_cuda_memory_map)
                    check_play(in_band, calls[i] | VD_REPLY, 0, LIE_RANDOM, random * 77);
}

/* Answers to questions that come when all else is over. */
static void test_late_answers(void **state)
{
    static const uint32_t late[] = {VD_OP_cuda_print, VD_OP_cuda_fault};

    (void)state;
    for (unsigned i = 0; i < 2; i++)
        for (enum lie lie = LIE_CLOSE; lie <= LIE_RANDOM; lie++) {
            int got = play(i, late[i] | VD_REPLY, 0, lie, 5);

            assert_true(got == 0 || got == 1);
        }
}

static void test_descriptions(void **state)
{
    (void)state;
    for (uint64_t random = 1; random < 9; random++)
        check_play(false, VD_OP_cuda_module_create | VD_REPLY, 0, LIE_STAGING, random);
}

static void test_words(void **state)
{
    (void)state;
    for (uint64_t random = 1; random < 4; random++)
        check_play(false, VD_OP_cuda_module_create | VD_REPLY, 0, LIE_WORDS, random);
}

/* What is told unasked, in band. */
static void test_events(void **state)
{
    static const uint32_t events[] = {VD_EVENT_cuda_queue, VD_EVENT_cuda_stamp,
                                      VD_EVENT_cuda_bytes};

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        for (enum lie lie = LIE_CLOSE; lie <= LIE_RANDOM; lie++)
            /* It has no status, and may say the same twice. */
            if (lie != LIE_STATUS)
                check_play(true, events[i], 3, lie, 9);
    check_play(true, VD_EVENT_cuda_queue, 3, LIE_MORE, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_honest),         cmocka_unit_test(test_answers),
        cmocka_unit_test(test_random_answers), cmocka_unit_test(test_late_answers),
        cmocka_unit_test(test_descriptions),   cmocka_unit_test(test_words),
        cmocka_unit_test(test_events),
    };

    if (argc == 2 && !strcmp(argv[1], "program"))
        program();
    setenv("VIADUCT_CUDA", "remote", 1);
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
