/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <arpa/inet.h>
#include <policy.h>
#include <stdio.h>
#include <unistd.h>

static void test_from_text(void **state)
{
    /* What is wrong with it; NULL: nothing. */
    static const struct {
        const char *text, *wrong;
    } cases[] = {
        {"user:root", NULL},
        {"user:0", NULL},
        {"user:4000000000", NULL},
        {"user:nobody-of-this-name", "no such user"},
        {"user:", "no such user"},
        {"user:-1", "no such user"},
        {"user:4294967295", "no such user"},
        {"user:99999999999999999999", "no such user"},
        {"group:root", NULL},
        {"group:none-of-this-name", "no such group"},
        {"vm:web-*", NULL},
        {"vm:", "the machine's name"},
        {"vm:a-name-of-a-machine-that-is-longer-than-names-may-be", "the machine's name"},
        {"cid:3", NULL},
        {"cid:three", "the machine's number"},
        {"cid:3x", "the machine's number"},
        {"address:10.1.2.3", NULL},
        {"address:10.0.0.0/8", NULL},
        {"address:0.0.0.0/0", NULL},
        {"address:fd00::/8", NULL},
        {"address:::1", NULL},
        {"address:10.0.0.1/8", "bits behind"},
        {"address:10.0.0.0/33", "0 to 32"},
        {"address:fd00::/129", "0 to 128"},
        {"address:10.0.0", "write it as"},
        {"address:gpu.example.org", "write it as"},
        {"address:10.0.0.0/", "0 to 32"},
        {"certificate:*.office.example.org", NULL},
        {"certificate:", "a name that the certificate has"},
        {"secret:vm1", NULL},
        {"secret:", "the name that the secret has"},
        {"jellyfin", "starts with none of"},
        {"", "starts with none of"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct policy_match match;
        const char *wrong = policy_from(cases[i].text, &match);

        if (!wrong != !cases[i].wrong || (wrong && !strstr(wrong, cases[i].wrong)))
            fail_msg("%s: %s", cases[i].text, wrong ? wrong : "taken");
    }
}

static void test_on_text(void **state)
{
    static const struct {
        const char *text;
        bool right;
    } cases[] = {
        {"unix", true},     {"vm", true},   {"tls:*:7474", true}, {"vm:/run/vm.sock", true},
        {"unix:/x", false}, {"vm:", false}, {"http", false},      {"tcpx", false},
        {"", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(!policy_on(cases[i].text), cases[i].right);
}

static void set_address(struct listen_peer *peer, const char *text)
{
    peer->has_address = true;
    if (inet_pton(AF_INET, text, peer->address + 12) == 1)
        memset(peer->address + 10, 0xff, 2);
    else
        assert_int_equal(inet_pton(AF_INET6, text, peer->address), 1);
}

/* One rule of one match. */
static bool finds(const char *from, const struct listener *listener, const struct listen_peer *peer)
{
    struct policy *policy = calloc(1, sizeof(*policy));
    bool found;

    assert_non_null(policy);
    policy->count = 1;
    policy->rule[0].from_count = 1;
    assert_null(policy_from(from, &policy->rule[0].from[0]));
    found = policy_find(policy, listener, peer);
    free(policy);
    return found;
}

static void test_whom(void **state)
{
    static const struct {
        const char *from;
        enum listen_kind kind;
        unsigned uid, cid;
        const char *vm, *address;
        bool found;
    } cases[] = {
        {"user:1000", LISTEN_UNIX, 1000, 0, "", NULL, true},
        {"user:1000", LISTEN_UNIX, 1001, 0, "", NULL, false},
        {"user:1000", LISTEN_VM, 1000, 0, "", NULL, true},
        {"user:1000", LISTEN_TCP, 1000, 0, "", NULL, false},
        {"group:77", LISTEN_UNIX, 1000, 0, "", NULL, true},
        {"group:78", LISTEN_UNIX, 1000, 0, "", NULL, false},
        {"group:77", LISTEN_TLS, 1000, 0, "", NULL, false},
        {"vm:web1", LISTEN_VM, 0, 0, "web1", NULL, true},
        {"vm:web1", LISTEN_VM, 0, 0, "web10", NULL, false},
        {"vm:web*", LISTEN_VM, 0, 0, "web10", NULL, true},
        {"vm:*", LISTEN_VM, 0, 0, "", NULL, false},
        {"vm:*", LISTEN_UNIX, 0, 0, "", NULL, false},
        {"cid:3", LISTEN_VSOCK, 0, 3, "", NULL, true},
        {"cid:3", LISTEN_VSOCK, 0, 4, "", NULL, false},
        {"cid:0", LISTEN_UNIX, 0, 0, "", NULL, false},
        {"address:10.0.0.0/8", LISTEN_TLS, 0, 0, "", "10.255.0.1", true},
        {"address:10.0.0.0/8", LISTEN_TLS, 0, 0, "", "11.0.0.1", false},
        {"address:10.0.0.0/9", LISTEN_TLS, 0, 0, "", "10.127.0.1", true},
        {"address:10.0.0.0/9", LISTEN_TLS, 0, 0, "", "10.128.0.1", false},
        {"address:0.0.0.0/0", LISTEN_TLS, 0, 0, "", "192.0.2.1", true},
        {"address:0.0.0.0/0", LISTEN_TLS, 0, 0, "", "::1", false},
        {"address:::1", LISTEN_TCP, 0, 0, "", "::1", true},
        {"address:fd00::/8", LISTEN_TLS, 0, 0, "", "fd12::7", true},
        {"address:fd00::/8", LISTEN_TLS, 0, 0, "", "fe80::7", false},
        {"address:::/0", LISTEN_TLS, 0, 0, "", NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct listener listener = {.kind = cases[i].kind, .uri = "somewhere"};
        /* No such process, so only the group it says itself. */
        struct listen_peer peer = {.uid = cases[i].uid, .gid = 77, .pid = 0};

        peer.cid = cases[i].cid;
        strcpy(peer.vm, cases[i].vm);
        if (cases[i].address)
            set_address(&peer, cases[i].address);
        if (finds(cases[i].from, &listener, &peer) != cases[i].found)
            fail_msg("case %zu: %s", i, cases[i].from);
    }
}

/* Names of certificates and of secrets: only over TLS, each kind for itself, any of the names. */
static void test_proved(void **state)
{
    static const struct tls_proof certificate = {
        .kind = TLS_PROOF_CERTIFICATE, .count = 2, .name = {"Guest 1", "guest1.example.org"}};
    static const struct tls_proof secret = {
        .kind = TLS_PROOF_SECRET, .count = 1, .name = {"guest1"}};
    static const struct tls_proof nameless = {.kind = TLS_PROOF_CERTIFICATE};
    static const struct {
        const char *from;
        const struct tls_proof *proof;
        bool found;
    } cases[] = {
        {"certificate:guest1.example.org", &certificate, true},
        {"certificate:GUEST1.example.org", &certificate, true},
        {"certificate:*.example.org", &certificate, true},
        {"certificate:guest ?", &certificate, true},
        {"certificate:guest", &certificate, false},
        {"certificate:example.org", &certificate, false},
        {"certificate:*", &nameless, false},
        {"certificate:*", &secret, false},
        {"certificate:*", NULL, false},
        {"secret:guest1", &secret, true},
        {"secret:guest*", &secret, true},
        {"secret:Guest1", &secret, false},
        {"secret:guest", &secret, false},
        {"secret:*", &certificate, false},
        {"secret:*", NULL, false},
        {"vm:*", &certificate, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct listener tls = {.kind = LISTEN_TLS, .uri = "somewhere"};
        const struct listener vm = {.kind = LISTEN_VM, .uri = "elsewhere"};
        const struct listen_peer peer = {.proof = cases[i].proof};

        if (finds(cases[i].from, &tls, &peer) != cases[i].found)
            fail_msg("case %zu: %s", i, cases[i].from);
        assert_false(finds(cases[i].from, &vm, &peer));
    }
}

/* A handshake comes first only where the rule may depend on it. */
static void test_asks(void **state)
{
    static struct policy policy;
    const struct listener tls = {.kind = LISTEN_TLS, .uri = "tls:*:1"};
    const struct listener other = {.kind = LISTEN_TLS, .uri = "tls:*:2"};
    const struct listener tcp = {.kind = LISTEN_TCP, .uri = "tcp:*:3"};
    struct listen_peer near = {0}, far = {0};

    (void)state;
    set_address(&near, "10.0.0.1");
    set_address(&far, "192.0.2.1");
    assert_false(policy_asks(&policy, &tls, &near));
    policy.count = 3;
    assert_null(policy_from("address:10.0.0.0/8", &policy.rule[0].from[0]));
    policy.rule[0].from_count = 1;
    assert_null(policy_from("user:5", &policy.rule[1].from[0]));
    assert_null(policy_from("secret:a", &policy.rule[1].from[1]));
    policy.rule[1].from_count = 2;
    policy.rule[1].on[0] = tls.uri;
    policy.rule[1].on_count = 1;
    assert_false(policy_asks(&policy, &tls, &near));
    assert_true(policy_asks(&policy, &tls, &far));
    assert_false(policy_asks(&policy, &other, &far));
    assert_false(policy_asks(&policy, &tcp, &far));
    assert_ptr_equal(policy_find(&policy, &tls, &far), &policy.rule[2]);
}

/* The first that matches is it, all of its lines count, `on` narrows it. */
static void test_which(void **state)
{
    static struct policy policy;
    const struct listener own = {.kind = LISTEN_UNIX, .uri = "unix"};
    const struct listener near = {.kind = LISTEN_TCP, .uri = "tcp:127.0.0.1:1"};
    const struct listener other = {.kind = LISTEN_TCP, .uri = "tcp:127.0.0.1:2"};
    struct listen_peer peer = {.uid = 5}, second = {.uid = 6}, third = {.uid = 7};

    (void)state;
    assert_null(policy_find(&policy, &own, &peer));
    policy.count = 3;
    assert_null(policy_from("user:5", &policy.rule[0].from[0]));
    assert_null(policy_from("user:6", &policy.rule[0].from[1]));
    policy.rule[0].from_count = 2;
    policy.rule[1].on[0] = near.uri;
    policy.rule[1].on[1] = "unix";
    policy.rule[1].on_count = 2;
    policy.rule[2].on[0] = "vm";
    policy.rule[2].on_count = 1;
    assert_ptr_equal(policy_find(&policy, &own, &peer), &policy.rule[0]);
    assert_ptr_equal(policy_find(&policy, &own, &second), &policy.rule[0]);
    assert_ptr_equal(policy_find(&policy, &own, &third), &policy.rule[1]);
    assert_ptr_equal(policy_find(&policy, &near, &third), &policy.rule[1]);
    assert_null(policy_find(&policy, &other, &third));
    policy.rule[1].on[1] = "tcp";
    assert_ptr_equal(policy_find(&policy, &other, &third), &policy.rule[1]);
    assert_null(policy_find(&policy, &own, &third));
}

static void test_backends(void **state)
{
    static struct policy policy;
    const char *found[2];

    (void)state;
    policy.count = 5;
    policy.rule[1].backend = "dav1d";
    policy.rule[2].backend = "null";
    policy.rule[3].backend = "dav1d";
    assert_int_equal(policy_backends(&policy, found, 2), 2);
    assert_string_equal(found[0], "dav1d");
    assert_string_equal(found[1], "null");
    policy.rule[4].backend = "encode";
    assert_int_equal(policy_backends(&policy, found, 2), 2);
}

static void test_groups(void **state)
{
    gid_t groups[256];
    int count = getgroups(256, groups);

    (void)state;
    assert_true(policy_in_group(getpid(), 5, 5));
    for (int i = 0; i < count; i++)
        assert_true(policy_in_group(getpid(), (gid_t)-2, groups[i]));
    assert_false(policy_in_group(getpid(), 5, 4294967290u));
    assert_false(policy_in_group(0, 5, 6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_text), cmocka_unit_test(test_on_text),
        cmocka_unit_test(test_whom),      cmocka_unit_test(test_which),
        cmocka_unit_test(test_backends),  cmocka_unit_test(test_groups),
        cmocka_unit_test(test_proved),    cmocka_unit_test(test_asks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
