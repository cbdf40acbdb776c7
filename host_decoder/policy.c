/* SPDX-License-Identifier: MIT */
#include "policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool number(const char *text, uint32_t most, uint32_t *ret_number)
{
    char *end;
    unsigned long long n;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    n = strtoull(text, &end, 10);
    if (errno || *end || n > most)
        return false;
    *ret_number = (uint32_t)n;
    return true;
}

static const char *from_user(const char *text, struct policy_match *m)
{
    const struct passwd *found = getpwnam(text);

    if (found)
        m->number = found->pw_uid;
    else if (!number(text, UINT32_MAX - 1, &m->number))
        return "there is no such user";
    return NULL;
}

static const char *from_group(const char *text, struct policy_match *m)
{
    const struct group *found = getgrnam(text);

    if (found)
        m->number = found->gr_gid;
    else if (!number(text, UINT32_MAX - 1, &m->number))
        return "there is no such group";
    return NULL;
}

static const char *from_vm(const char *text, struct policy_match *m)
{
    if (!*text || strlen(text) >= VM_NAME_BYTES)
        return "write the machine's name, as its relay has it with --name";
    strcpy(m->text, text);
    return NULL;
}

static const char *from_cid(const char *text, struct policy_match *m)
{
    return number(text, UINT32_MAX - 1, &m->number) ? NULL : "write the machine's number";
}

static const char *from_address(const char *text, struct policy_match *m)
{
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    char host[INET6_ADDRSTRLEN];
    uint32_t bits, most = 128;

    if (n >= sizeof(host))
        return "write it as 10.1.2.3, 10.0.0.0/8 or fd00::/8";
    memcpy(host, text, n);
    host[n] = 0;
    if (inet_pton(AF_INET, host, m->address + 12) == 1) {
        memset(m->address + 10, 0xff, 2);
        most = 32;
    } else if (inet_pton(AF_INET6, host, m->address) != 1) {
        return "write it as 10.1.2.3, 10.0.0.0/8 or fd00::/8";
    }
    bits = most;
    if (slash && !number(slash + 1, most, &bits))
        return most == 32 ? "the network's length is 0 to 32" : "the network's length is 0 to 128";
    m->bits = 128 - most + bits;
    /* Who writes 10.1.2.3/8 meant something else, maybe one machine. */
    for (unsigned i = m->bits; i < 128; i++) {
        if (m->address[i / 8] & 0x80 >> i % 8)
            return "the address has bits behind the network's length";
    }
    return NULL;
}

static const char *from_proof(const char *text, struct policy_match *m)
{
    if (!*text || strlen(text) >= sizeof(m->text))
        return m->what == POLICY_SECRET ? "write the name that the secret has in its file"
                                        : "write a name that the certificate has";
    strcpy(m->text, text);
    return NULL;
}

static const struct {
    const char *prefix;
    const char *(*parse)(const char *text, struct policy_match *match);
} policy_kinds[] = {
    [POLICY_USER] = {"user:", from_user},
    [POLICY_GROUP] = {"group:", from_group},
    [POLICY_VM] = {"vm:", from_vm},
    [POLICY_CID] = {"cid:", from_cid},
    [POLICY_ADDRESS] = {"address:", from_address},
    [POLICY_CERTIFICATE] = {"certificate:", from_proof},
    [POLICY_SECRET] = {"secret:", from_proof},
};

const char *policy_from(const char *text, struct policy_match *ret_match)
{
    for (size_t i = 0; i < sizeof(policy_kinds) / sizeof(policy_kinds[0]); i++) {
        size_t n = strlen(policy_kinds[i].prefix);
        struct policy_match match = {.what = (enum policy_what)i};
        const char *wrong;

        if (strncmp(text, policy_kinds[i].prefix, n))
            continue;
        wrong = policy_kinds[i].parse(text + n, &match);
        if (!wrong)
            *ret_match = match;
        return wrong;
    }
    return "it starts with none of user:, group:, vm:, cid:, address:, certificate:, secret:";
}

/* Whether `text` is this kind alone, or with an address. */
static bool is_kind(const char *text, enum listen_kind kind)
{
    size_t n = strlen(listen_scheme(kind));

    return !strncmp(text, listen_scheme(kind), n) && (!text[n] || (text[n] == ':' && text[n + 1]));
}

const char *policy_on(const char *text)
{
    for (enum listen_kind kind = 0; kind < LISTEN_KINDS; kind++) {
        if (is_kind(text, kind))
            return kind == LISTEN_UNIX && strchr(text, ':') ? "write unix: there is one such socket"
                                                            : NULL;
    }
    return "write unix, vm, vsock, tcp or tls, or one of these as a listen = has it";
}

bool policy_in_group(pid_t pid, gid_t own, gid_t wanted)
{
    char path[64], line[4096];
    bool found = own == wanted;
    FILE *file;

    /* SO_PEERCRED has the primary group only; the others stand in /proc. */
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = found ? NULL : fopen(path, "re");
    while (file && !found && fgets(line, sizeof(line), file)) {
        char *at = line + 7;

        if (strncmp(line, "Groups:", 7))
            continue;
        for (;;) {
            char *end;
            unsigned long gid = strtoul(at, &end, 10);

            if (end == at)
                break;
            found = found || gid == wanted;
            at = end;
        }
    }
    if (file)
        fclose(file);
    return found;
}

static bool in_network(const uint8_t *address, const struct policy_match *m)
{
    unsigned bytes = m->bits / 8, rest = m->bits % 8;

    return !memcmp(address, m->address, bytes) &&
           (!rest || !((address[bytes] ^ m->address[bytes]) >> (8 - rest)));
}

static bool proves(const struct tls_proof *proof, enum tls_proof_kind kind, const char *pattern)
{
    bool found = false;

    /* Names of hosts and of mail are the same in capitals (RFC 4343); those of secrets are ours. */
    for (uint32_t i = 0; proof && proof->kind == kind && i < proof->count; i++)
        found = found ||
                !fnmatch(pattern, proof->name[i], kind == TLS_PROOF_CERTIFICATE ? FNM_CASEFOLD : 0);
    return found;
}

static bool matches(const struct policy_match *m, enum listen_kind kind,
                    const struct listen_peer *peer)
{
    bool has_user = kind == LISTEN_UNIX || kind == LISTEN_VM;

    switch (m->what) {
    case POLICY_USER:
        return has_user && peer->uid == m->number;
    case POLICY_GROUP:
        return has_user && policy_in_group(peer->pid, peer->gid, m->number);
    case POLICY_VM:
        return kind == LISTEN_VM && *peer->vm && !fnmatch(m->text, peer->vm, 0);
    case POLICY_CID:
        return kind == LISTEN_VSOCK && peer->cid == m->number;
    case POLICY_ADDRESS:
        return peer->has_address && in_network(peer->address, m);
    case POLICY_CERTIFICATE:
        return kind == LISTEN_TLS && proves(peer->proof, TLS_PROOF_CERTIFICATE, m->text);
    case POLICY_SECRET:
        return kind == LISTEN_TLS && proves(peer->proof, TLS_PROOF_SECRET, m->text);
    }
    return false;
}

static bool comes_in(const struct policy_rule *rule, const struct listener *listener)
{
    const char *scheme = listen_scheme(listener->kind);

    for (int i = 0; i < rule->on_count; i++) {
        if (!strcmp(rule->on[i], scheme) || (listener->uri && !strcmp(rule->on[i], listener->uri)))
            return true;
    }
    return !rule->on_count;
}

static bool is_for(const struct policy_rule *rule, const struct listener *listener,
                   const struct listen_peer *peer)
{
    bool found = !rule->from_count;

    for (int i = 0; i < rule->from_count && !found; i++)
        found = matches(&rule->from[i], listener->kind, peer);
    return found && comes_in(rule, listener);
}

bool policy_asks(const struct policy *policy, const struct listener *listener,
                 const struct listen_peer *peer)
{
    /* Rules behind one that matches anyway do not count. */
    for (int i = 0; i < policy->count && listener->kind == LISTEN_TLS; i++) {
        const struct policy_rule *rule = &policy->rule[i];

        if (is_for(rule, listener, peer))
            return false;
        for (int j = 0; j < rule->from_count; j++) {
            enum policy_what what = rule->from[j].what;

            if ((what == POLICY_CERTIFICATE || what == POLICY_SECRET) && comes_in(rule, listener))
                return true;
        }
    }
    return false;
}

const struct policy_rule *policy_find(const struct policy *policy, const struct listener *listener,
                                      const struct listen_peer *peer)
{
    for (int i = 0; i < policy->count; i++) {
        if (is_for(&policy->rule[i], listener, peer))
            return &policy->rule[i];
    }
    return NULL;
}

int policy_backends(const struct policy *policy, const char **ret_backends, int room)
{
    int count = 0;

    for (int i = 0; i < policy->count; i++) {
        const char *backend = policy->rule[i].backend;
        bool seen = !backend;

        for (int j = 0; j < count; j++)
            seen = seen || !strcmp(ret_backends[j], backend);
        if (!seen && count < room)
            ret_backends[count++] = backend;
    }
    return count;
}
