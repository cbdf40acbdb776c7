/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <arpa/inet.h>
#include <doors.h>
#include <ipc.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <viaduct/errors.h>

/* The listener's side of handshakes; this test is the nursery and its porters. */
struct doors_test {
    struct doors doors;
    int nursery, far; /* the far end is the nursery's */
    int porter[VD_MAX_DOORS];
    uint32_t shut; /* how many doors the nursery was told to shut, and the last one */
    uint32_t last_shut;
};

static const struct listener tls = {.kind = LISTEN_TLS, .uri = "tls:*:1"};

static int setup(void **state)
{
    struct doors_test *t = calloc(1, sizeof(*t));
    int pair[2];

    if (!t || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    t->nursery = pair[0];
    t->far = pair[1];
    memset(t->porter, -1, sizeof(t->porter));
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct doors_test *t = *state;

    doors_clear(&t->doors);
    for (size_t i = 0; i < VD_MAX_DOORS; i++) {
        if (t->porter[i] >= 0)
            close(t->porter[i]);
    }
    close(t->nursery);
    close(t->far);
    free(t);
    return 0;
}

/* What the listener has asked for: porters keep their end of the proof's socket. */
static void be_nursery(struct doors_test *t)
{
    struct ipc_client request;
    int fds[3];

    while (!ipc_recv(t->far, &request, sizeof(request), fds, 3)) {
        assert_true(request.slot < VD_MAX_DOORS);
        if (request.what == IPC_SHUT) {
            t->shut++;
            t->last_shut = request.slot;
            continue;
        }
        assert_int_equal(request.what, IPC_SHAKE);
        close(fds[0]);
        close(fds[1]);
        if (t->porter[request.slot] >= 0)
            close(t->porter[request.slot]);
        t->porter[request.slot] = fds[2];
    }
}

static int open_one(struct doors_test *t, const char *address, uint64_t now)
{
    struct listen_peer peer = {.has_address = true};
    int pair[2], err;

    memset(peer.address + 10, 0xff, 2);
    if (inet_pton(AF_INET, address, peer.address + 12) != 1)
        assert_int_equal(inet_pton(AF_INET6, address, peer.address), 1);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    err = door_open(&t->doors, t->nursery, &tls, &peer, pair[0], 0, now);
    close(pair[0]);
    close(pair[1]);
    be_nursery(t);
    return err;
}

/* One address gets its share; of IPv6 a network is one. */
static void test_share(void **state)
{
    struct doors_test *t = *state;
    char address[64];

    for (unsigned i = 0; i < VD_MAX_DOORS_ADDRESS; i++) {
        assert_int_equal(open_one(t, "10.0.0.1", 0), 0);
        snprintf(address, sizeof(address), "2001:db8:0:1::%x", i);
        assert_int_equal(open_one(t, address, 0), 0);
    }
    assert_int_equal(open_one(t, "10.0.0.1", 0), VD_ERR_BUSY);
    assert_int_equal(open_one(t, "2001:db8:0:1::99", 0), VD_ERR_BUSY);
    assert_int_equal(open_one(t, "10.0.0.2", 0), 0);
    assert_int_equal(open_one(t, "2001:db8:0:2::1", 0), 0);
    assert_int_equal(t->shut, 0);
}

/* Who comes when all are taken gets the place of the oldest of those who have the most. */
static void test_full(void **state)
{
    struct doors_test *t = *state;
    unsigned opened = 0;
    char address[64];

    for (; opened < VD_MAX_DOORS - 3; opened++) {
        snprintf(address, sizeof(address), "10.0.1.%u", opened);
        assert_int_equal(open_one(t, address, 0), 0);
    }
    for (; opened < VD_MAX_DOORS; opened++)
        assert_int_equal(open_one(t, "10.0.0.1", 0), 0);
    assert_int_equal(t->shut, 0);
    assert_int_equal(open_one(t, "10.0.0.2", 0), 0);
    assert_int_equal(t->shut, 1);
    assert_int_equal(t->last_shut, VD_MAX_DOORS - 3);
    assert_int_equal(open_one(t, "10.0.0.3", 0), 0);
    assert_int_equal(t->last_shut, VD_MAX_DOORS - 2);
    /* All have one now: the oldest of all. */
    assert_int_equal(open_one(t, "10.0.0.4", 0), 0);
    assert_int_equal(t->shut, 3);
    assert_int_equal(t->last_shut, 0);
}

static void test_time(void **state)
{
    struct doors_test *t = *state;
    struct pollfd p[VD_MAX_DOORS];

    assert_int_equal(doors_poll(&t->doors, p, 1000), -1);
    assert_int_equal(open_one(t, "10.0.0.1", 1000), 0);
    assert_int_equal(open_one(t, "10.0.0.1", 3000), 0);
    assert_in_range(doors_poll(&t->doors, p, 4000), 7000, 10000);
    assert_true(p[0].fd >= 0 && p[1].fd >= 0 && p[2].fd < 0);
    assert_int_equal(doors_poll(&t->doors, p, 1000000), 0);
    door_shut(&t->doors, t->nursery, &t->doors.at[0]);
    be_nursery(t);
    assert_int_equal(t->shut, 1);
    doors_poll(&t->doors, p, 4000);
    assert_true(p[0].fd < 0 && p[1].fd >= 0);
    /* One that was told no has a little left. */
    close(t->doors.at[1].plain);
    door_refused(&t->doors.at[1], 4000);
    assert_in_range(doors_poll(&t->doors, p, 4000), 1000, 5000);
}

/* What a porter says is looked at as what a stranger says. */
static void test_proof(void **state)
{
    static struct tls_proof proofs[5];
    struct doors_test *t = *state;
    struct tls_proof got;

    proofs[0] = (struct tls_proof){.kind = TLS_PROOF_SECRET + 1};
    proofs[1] = (struct tls_proof){.count = VD_MAX_PROOF_NAMES + 1};
    proofs[2] = (struct tls_proof){.count = 1};
    memset(proofs[2].name[0], 'a', sizeof(proofs[2].name[0]));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(open_one(t, "10.0.0.1", 0), 0);
        assert_int_equal(door_read(&t->doors.at[i], &got), VD_ERR_TIMEOUT);
        assert_int_equal(ipc_send(t->porter[i], &proofs[i], sizeof(proofs[i]), NULL, 0), 0);
        assert_int_equal(door_read(&t->doors.at[i], &got), VD_ERR_GONE);
    }
    /* Too short. */
    assert_int_equal(open_one(t, "10.0.0.1", 0), 0);
    assert_int_equal(ipc_send(t->porter[3], "x", 1, NULL, 0), 0);
    assert_int_equal(door_read(&t->doors.at[3], &got), VD_ERR_GONE);
    /* Gone. */
    assert_int_equal(open_one(t, "10.0.0.1", 0), 0);
    close(t->porter[4]);
    t->porter[4] = -1;
    assert_int_equal(door_read(&t->doors.at[4], &got), VD_ERR_GONE);
    /* Right, but once. */
    proofs[4] = (struct tls_proof){.kind = TLS_PROOF_SECRET, .count = 1, .name = {"vm1"}};
    assert_int_equal(open_one(t, "10.0.0.1", 0), 0);
    assert_int_equal(ipc_send(t->porter[5], &proofs[4], sizeof(proofs[4]), NULL, 0), 0);
    assert_int_equal(door_read(&t->doors.at[5], &got), 0);
    assert_string_equal(got.name[0], "vm1");
    close(t->doors.at[5].plain);
    door_refused(&t->doors.at[5], 0);
    assert_int_equal(ipc_send(t->porter[5], &proofs[4], sizeof(proofs[4]), NULL, 0), 0);
    assert_int_equal(door_read(&t->doors.at[5], &got), VD_ERR_GONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_share, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_proof, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
