/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <transport/serial_marks.h>
#include <transport/unix.h>
#include <unistd.h>
#include <vm/relay.h>

/*
 * A hostile guest at a virtio-serial port, and a service that answers, and leaves now and then. The
 * input is a list of pieces: a byte of what the service does, a byte of length, bytes.
 */

static void turn(struct relay *relay)
{
    struct pollfd polls[RELAY_POLL];

    for (int i = 0; i < 8; i++) {
        relay_poll(relay, polls);
        if (poll(polls, RELAY_POLL, 0) <= 0)
            return;
        if (relay_handle(relay, polls))
            abort(); /* the port is open */
    }
}

static void serve(int listener, int *fd, uint8_t what)
{
    static uint8_t bytes[16384];

    if (*fd < 0)
        *fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (*fd < 0)
        return;
    if (what & 1 && read(*fd, bytes, sizeof(bytes)) < 0 && errno != EAGAIN && errno != ECONNRESET)
        abort();
    if (what & 2) {
        /* Signs, to be marked as no such. */
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = serial_sign[i % SERIAL_SIGN_BYTES];
        send(*fd, bytes, what * 64u, MSG_NOSIGNAL);
    }
    if ((what & 0x30) == 0x30) {
        close(*fd);
        *fd = -1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    char path[48];
    struct relay_options options = {.name = "fuzz", .service = path};
    struct relay *relay;
    int before = fuzz_descriptors(), listener, fd = -1, pair[2];
    uint8_t bytes[512];

    snprintf(path, sizeof(path), "/tmp/viaduct-fuzz-relay-%d", (int)getpid());
    if (unix_listen(path, 0600, &listener) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
        relay_create(pair[0], &options, &relay))
        abort();
    for (int steps = 0; input.size && steps < 64; steps++) {
        uint8_t what = fuzz_byte(&input);
        size_t n = fuzz_byte(&input);

        fuzz_take(&input, bytes, n);
        if (what & 0x40) {
            serial_marks_make(bytes + n, what & 0x80 ? 'O' : 'C', NULL);
            n += SERIAL_MARK_BYTES - (what & 7);
        }
        if (n)
            send(pair[1], bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        turn(relay);
        serve(listener, &fd, what);
        turn(relay);
        if (what & 8)
            while (recv(pair[1], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
                turn(relay);
    }
    relay_destroy(&relay);
    close(pair[1]);
    if (fd >= 0)
        close(fd);
    close(listener);
    unlink(path);
    if (fuzz_descriptors() != before)
        abort();
    return 0;
}

/* Sessions, with bytes and signs in them. */
size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    struct fuzz_writer w = {buffer, 0, room};

    if (index >= 2)
        return 0;
    for (unsigned i = 0; i < 4; i++) {
        fuzz_put_byte(&w, 0xc8);
        fuzz_put_byte(&w, 0);
        fuzz_put_byte(&w, (uint8_t)(0x0b | (i == 3 && index ? 0x30 : 0)));
        fuzz_put_byte(&w, SERIAL_SIGN_BYTES + 1);
        fuzz_put(&w, serial_sign, SERIAL_SIGN_BYTES);
        fuzz_put_byte(&w, index ? 'L' : 'N');
        fuzz_put_byte(&w, 0x49);
        fuzz_put_byte(&w, 0);
    }
    return w.used;
}
