/* SPDX-License-Identifier: MIT */
#include "doors.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "ipc.h"

/* A porter gives a handshake 10 s (TLS_HANDSHAKE_MS), and says so; this ends one that does not. */
#define DOOR_MS 12000
/* More than a porter takes to bring a client its refusal (PORTER_END_S). */
#define DOOR_LEAVE_MS 3000

/* Of IPv6 a machine has 64 bits to choose from. */
static bool same_address(const struct listen_peer *a, const struct listen_peer *b)
{
    static const uint8_t four[12] = {[10] = 0xff, 0xff};
    bool is_four = !memcmp(a->address, four, sizeof(four));

    return !memcmp(a->address, b->address, is_four ? 16 : 8);
}

static uint32_t count_of(const struct doors *doors, const struct listen_peer *peer)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < VD_MAX_DOORS; i++)
        count += doors->at[i].used && same_address(&doors->at[i].peer, peer);
    return count;
}

/* A free door, or the oldest of those who have the most. */
static struct door *choose(struct doors *doors)
{
    struct door *found = NULL;
    uint32_t most = 0;

    for (uint32_t i = 0; i < VD_MAX_DOORS; i++) {
        struct door *door = &doors->at[i];
        uint32_t count;

        if (!door->used)
            return door;
        count = count_of(doors, &door->peer);
        if (!found || count > most || (count == most && door->opened < found->opened)) {
            found = door;
            most = count;
        }
    }
    return found;
}

static void finish(struct door *door)
{
    if (door->proof >= 0)
        close(door->proof);
    if (door->plain >= 0)
        close(door->plain);
    *door = (struct door){.proof = -1, .plain = -1};
}

int door_open(struct doors *doors, int nursery, const struct listener *listener,
              const struct listen_peer *peer, int client, int refusal, uint64_t now)
{
    struct ipc_client request = {.what = IPC_SHAKE, .kind = LISTEN_TLS};
    int proof[2] = {-1, -1}, plain[2] = {-1, -1};
    struct door *door;
    int err = VD_ERR_IO;

    if (count_of(doors, peer) >= VD_MAX_DOORS_ADDRESS)
        return VD_ERR_BUSY;
    door = choose(doors);
    if (door->used)
        door_shut(doors, nursery, door);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, proof) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, plain) < 0)
        goto out;
    request.slot = (uint32_t)(door - doors->at);
    err = ipc_send(nursery, &request, sizeof(request), (int[]){client, plain[1], proof[1]}, 3);
    if (err)
        goto out;
    *door = (struct door){
        .used = true,
        .refusal = refusal,
        .proof = proof[0],
        .plain = plain[0],
        .opened = doors->opened++,
        .until = now + DOOR_MS,
        .listener = listener,
        .peer = *peer,
    };
    proof[0] = plain[0] = -1;
out:
    for (int i = 0; i < 2; i++) {
        if (proof[i] >= 0)
            close(proof[i]);
        if (plain[i] >= 0)
            close(plain[i]);
    }
    return err;
}

/* A porter reads what strangers send: what it says is looked at as if it were theirs. */
static bool is_valid(const struct tls_proof *proof)
{
    bool valid = proof->kind <= TLS_PROOF_SECRET && proof->count <= VD_MAX_PROOF_NAMES;

    for (uint32_t i = 0; valid && i < proof->count; i++)
        valid = memchr(proof->name[i], 0, sizeof(proof->name[i]));
    return valid;
}

int door_read(struct door *door, struct tls_proof *ret_proof)
{
    struct tls_proof proof;
    int err = ipc_recv(door->proof, &proof, sizeof(proof), NULL, 0);

    if (err)
        return err;
    /* It says it once. */
    if (door->leaving || !is_valid(&proof))
        return VD_ERR_GONE;
    *ret_proof = proof;
    return 0;
}

void door_refused(struct door *door, uint64_t now)
{
    door->plain = -1;
    door->leaving = true;
    door->until = now + DOOR_LEAVE_MS;
}

void door_leave(struct door *door)
{
    finish(door);
}

void door_shut(struct doors *doors, int nursery, struct door *door)
{
    struct ipc_client request = {.what = IPC_SHUT, .slot = (uint32_t)(door - doors->at)};

    ipc_send(nursery, &request, sizeof(request), NULL, 0);
    finish(door);
}

int doors_poll(struct doors *doors, struct pollfd *p, uint64_t now)
{
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 0; i < VD_MAX_DOORS; i++) {
        const struct door *door = &doors->at[i];

        p[i] = (struct pollfd){.fd = door->used ? door->proof : -1, .events = POLLIN};
        if (door->used && door->until < least)
            least = door->until;
    }
    if (least == UINT64_MAX)
        return -1;
    return least > now ? (int)(least - now) : 0;
}

void doors_clear(struct doors *doors)
{
    for (uint32_t i = 0; i < VD_MAX_DOORS; i++) {
        if (doors->at[i].used)
            finish(&doors->at[i]);
    }
}
