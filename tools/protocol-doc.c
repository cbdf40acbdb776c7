/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <viaduct/protocol.h>
#include <wire/dispatch.h>

/*
 * Prints one table of docs/PROTOCOL.md in Markdown, from the .def files that the programs are
 * compiled from. tools/update-protocol-doc puts the tables into the document.
 */

/* What the tables of the protocol do not say about a call. */
static const struct {
    const char *name;
    const char *purpose;
    const char *errors;
} doc_calls[] = {
    {"hello",
     "Opens the session. The reply carries what the guest needs to answer every query by itself, "
     "and the arena's descriptor.",
     "`VERSION` (other major version, or no feature in common), `DENIED` (the host's policy), "
     "`BUSY` (clients at the limit). The session stays closed then. A wrong `magic` ends it."},
    {"context_create", "Opens a decoder, an encoder, or a place where pictures are processed.",
     "`UNSUPPORTED` (profile, entry point or format), `RESOLUTION`, `PARAMETER` (rate control or "
     "packed headers that are not offered), `LIMIT`, `MEMORY`. "
     "A slot that is taken ends the session."},
    {"context_destroy",
     "Closes it. Pictures that are not complete are given up, so the guest waits for them "
     "before.",
     "None. An unknown id ends the session."},
    {"surface_create",
     "Makes surfaces known, all or none. They get memory when they are first used.",
     "`UNSUPPORTED` (format), `RESOLUTION`, `LIMIT`, `MEMORY`. A slot that is taken ends the "
     "session."},
    {"surface_destroy",
     "Forgets surfaces. One that a picture in flight needs goes when that picture is complete.",
     "None. An unknown id ends the session."},
    {"surface_back",
     "Gives a surface memory before its first picture, for a guest that writes to it.",
     "`LIMIT`, `MEMORY`. An unknown id ends the session."},
    {"submit", "One picture: all buffers that the app rendered, by reference into the upload zone.",
     "In the surface's slot, with the picture's completion: `DECODE`, `PARAMETER`, `LIMIT`, "
     "`RESOLUTION`, `UNSUPPORTED`, `MEMORY`, `ENCODE`, `ROOM`. An unknown id, a reference outside "
     "the upload zone, "
     "a wrong `submission` or too many pictures in flight end the session."},
    {"kick",
     "Somebody waits for a picture: finish it and all before it without waiting for more input.",
     "None. An unknown context ends the session."},
    {"surface_import",
     "Memory of the app's own for a surface; its descriptor comes with the message. Each picture "
     "is copied into it when it is complete.",
     "`PARAMETER` (the planes do not fit into the memory, the memory could shrink, or the surface "
     "has some already), `MEMORY`. An unknown id or a missing descriptor ends the session."},
    {"surface_export",
     "The memory of a device that a surface's pictures are in, as dma-bufs, of which one comes "
     "with "
     "each reply. The guest asks for `object` 0 and, if there are more, for the others.",
     "`UNSUPPORTED` (the surface is not on a device, or the device's driver exports nothing: the "
     "guest goes other ways), `PARAMETER` (no such piece of memory), `LIMIT`, `MEMORY`. An unknown "
     "id ends the session."},
    {"arena_write", "In-band sessions: bytes for the upload zone.",
     "None. Bytes outside the zone end the session."},
    {"surface_write",
     "In-band sessions: what the guest wrote to a surface, which gets memory if it has none.",
     "None. An unknown id, and bytes outside the surface's memory, end the session."},
    {"region",
     "Sessions with `VD_FEATURE_REGION`: which of the machine's devices is the arena. The guest "
     "maps it from its start on, writes random numbers of its own to `region`, and says them in a "
     "second call.",
     "None. In other sessions it ends the session, and so do numbers that are not in the arena."},
    {"npu_devices", "What this host runs models on; nothing if it has no inference.", "None."},
    {"npu_create", "Announces a model and where it should run.",
     "`UNSUPPORTED` (no inference here, or with `VD_NPU_REQUIRE` none of the devices), `LIMIT` "
     "(models, bytes), `MEMORY`. A slot that is taken ends the session."},
    {"npu_data", "The next bytes of a model.",
     "None. More than was announced, an unknown id and bytes outside the upload zone end the "
     "session."},
    {"npu_have", "A model that was loaded before, by its hash.",
     "None: not known is no error. An unknown id, and a model of which bytes were sent, end the "
     "session."},
    {"npu_load", "Reads the model and makes it ready.",
     "In the result: `PARAMETER` (a broken model), `UNSUPPORTED`, `MEMORY`, `LIMIT`, `ROOM`. A "
     "model whose bytes are not all there ends the session."},
    {"npu_run", "One inference.",
     "In the result: `PARAMETER` (inputs that the model does not take), `UNSUPPORTED`, `MEMORY`, "
     "`LIMIT`, `TIMEOUT`, `GONE` (cancelled), `ROOM` (outputs are kept for a fetch), `INTERNAL`. "
     "Values that cannot be, references outside the upload zone, a wrong `job` and too many jobs "
     "end the session."},
    {"npu_fetch", "Outputs, or a model's description, that had no room.",
     "In the result: `ID` (nothing is kept for that job), `ROOM`. As for npu_run."},
    {"npu_cancel", "Gives a job up.", "None. An unknown model ends the session."},
    {"npu_kick", "Somebody waits for a job that pictures go into.",
     "None. An unknown model ends the session."},
    {"npu_destroy", "Forgets a model.", "None. An unknown model ends the session."},
    {"cuda_open", "What devices there are, and what this client may have of them.",
     "`INTERNAL` (a device cannot be asked)."},
    {"cuda_context_create", "Makes a context on a device, which is opened with the first.",
     "Its CUresult: `DEVICE_UNAVAILABLE`, `OUT_OF_MEMORY`. A slot that is taken and a device that "
     "is not there end the session."},
    {"cuda_context_destroy",
     "Ends a context with all its queues and modules. The guest waits for its work before; what is "
     "left is stopped.",
     "None. A slot that is free ends the session."},
    {"cuda_memory_create", "Device memory, zeroed or not as the device has it.",
     "Its CUresult: `OUT_OF_MEMORY`, also by the host's limit. Size 0 and a device that is not "
     "there end the session."},
    {"cuda_memory_destroy", "Frees device memory. May wait for a kernel.",
     "None. An address that memory_create did not give ends the session."},
    {"cuda_memory_map",
     "A piece of the frame zone becomes memory that kernels reach at the address that the guest "
     "has it at.",
     "Its CUresult: `INVALID_VALUE` (addresses are taken), `NOT_SUPPORTED` (the device can reach "
     "it only at the host's address). A range outside the frame zone ends the session."},
    {"cuda_memory_unmap", "Undoes that.",
     "None. An address that neither memory_map nor memory_import had ends the session."},
    {"cuda_virtual_reserve", "Addresses of a device, for memory that is mapped there later.",
     "Its CUresult: `OUT_OF_MEMORY`, also by the host's limits, `INVALID_VALUE`, `NOT_SUPPORTED`. "
     "A "
     "device that is not there ends the session, here and below."},
    {"cuda_virtual_release", "Gives them back.",
     "Its CUresult: `INVALID_VALUE` (none of that place and size, or something is mapped there)."},
    {"cuda_virtual_map", "Maps memory at reserved addresses; kernels may not access it yet.",
     "Its CUresult: `INVALID_VALUE` (not reserved, taken, or outside of the memory), "
     "`OUT_OF_MEMORY`. A free slot ends the session."},
    {"cuda_virtual_unmap", "Undoes that. May wait for a kernel.",
     "Its CUresult: `INVALID_VALUE` (there are other than whole mappings)."},
    {"cuda_virtual_allow", "What kernels and copies may do there.",
     "Its CUresult, as for virtual_unmap."},
    {"cuda_physical_create", "Memory of a device that has no address yet, zeroed.",
     "Its CUresult: `OUT_OF_MEMORY`, also by the host's limit, `INVALID_HANDLE` (memory behind a "
     "descriptor that is too small, or may shrink), `NOT_SUPPORTED`. A slot that is taken ends the "
     "session."},
    {"cuda_memory_share",
     "Device memory whose bytes are to be another program's, too: they go to the memory behind the "
     "descriptor, and are there from now on.",
     "Its CUresult: `INVALID_HANDLE` (too small, or may shrink), `OUT_OF_MEMORY`, `NOT_SUPPORTED`. "
     "An address that memory_create did not give, and no descriptor, end the session."},
    {"cuda_physical_destroy", "Frees it.",
     "None. A free slot and memory that is mapped end the session."},
    {"cuda_memory_info", "How much device memory is free.", "None but its CUresult."},
    {"cuda_module_create",
     "Compiles PTX. The guest may use the memory that it gave again after the reply.",
     "Its CUresult: `INVALID_PTX` with a log, `OUT_OF_MEMORY`. Slots, sizes and memory that cannot "
     "be end the session."},
    {"cuda_module_info", "The description of a module again, with more room.",
     "Its CUresult: `INVALID_VALUE`, still not enough room. A free slot ends the session."},
    {"cuda_module_destroy",
     "Unloads a module, once its context's queues are done with what they have.",
     "None. A free slot ends the session."},
    {"cuda_heap", "Memory for the kernels' malloc, before the first that uses it.",
     "None but its CUresult."},
    {"cuda_queue_create", "Makes a queue of commands.",
     "None. A slot that is taken ends the session."},
    {"cuda_queue_destroy", "Ends a queue whose commands are all done.",
     "None. A free slot and commands that are not done end the session."},
    {"cuda_launch", "Runs a kernel.",
     "Those of commands, below. Too few parameters and a kernel that is not there end the "
     "session."},
    {"cuda_copy",
     "Copies a box of bytes; where something is copied to or from the host, it is the arena.",
     "Those of commands. Sides outside the arena end the session."},
    {"cuda_set", "Fills rows with a value.", "Those of commands."},
    {"cuda_wait", "Waits for a command of another queue.",
     "Those of commands. A queue that waits for itself ends the session."},
    {"cuda_stamp", "Writes the time into the stamp's slot.", "Those of commands."},
    {"cuda_value", "Writes a value to memory that the device reaches, or waits until there is one.",
     "Those of commands."},
    {"cuda_free",
     "Frees device memory when the queue comes to it. Nothing may name it from now on.",
     "Those of commands."},
    {"cuda_nothing", "A number that comes to pass when all before it have.", "Those of commands."},
    {"cuda_print",
     "Takes what kernels printed, as much as fits. The host sets `printed` of the status when "
     "there is some.",
     "None."},
    {"cuda_kick", "Wakes a host that sleeps though the ring is not empty.", "None."},
    {"cuda_memory_import",
     "Memory of a sealed memfd or a dma-buf becomes memory that kernels reach at the guest's "
     "address, and counts as device memory; cuda_memory_unmap undoes it.",
     "Its CUresult: `INVALID_HANDLE` (no such memory, or it could be taken away), `INVALID_VALUE` "
     "(addresses are taken), `NOT_SUPPORTED` (the device cannot have it there), `OUT_OF_MEMORY`. "
     "No "
     "descriptor ends the session."},
    {"cuda_fault",
     "The sentence on what poisoned a context: which kernel, where, why. The guest asks when it "
     "finds "
     "one poisoned, and puts it into its log.",
     "No bytes where the host knows no more than the error. An unknown context ends the session."},
    {"cuda_array_create",
     "An array of a device that has its own (VD_CUDA_DEVICE_TEXTURELESS). Its addresses are names, "
     "for copies and textures.",
     "Its CUresult: `NOT_SUPPORTED` (the device has none, or none of this kind), `INVALID_VALUE`, "
     "`OUT_OF_MEMORY`. An unknown context ends the session."},
    {"cuda_texture_create",
     "A texture or a surface over an array or device memory, as the device has them: what kernels "
     "take.",
     "Its CUresult: `NOT_SUPPORTED`, `INVALID_VALUE` (also where memory is not the guest's). An "
     "unknown context ends the session."},
    {"cuda_texture_destroy", "Its end. The guest has waited for kernels that use it.",
     "An unknown context ends the session."},
};

static const struct {
    const char *name;
    const char *purpose;
} doc_events[] = {
    {"surface", "A picture of a surface is complete. Of several that the guest has not been told "
                "of, the last one counts."},
    {"context", "Pictures of a context are complete. Comes after the events of their surfaces and "
                "coded buffers."},
    {"pixels", "What a surface holds: after `surface_back`, before the reply; or, where the guest "
               "looked at the surface's last pictures, unasked, before the picture's event."},
    {"coded", "What was encoded into a coded buffer, its head included."},
    {"cuda_queue", "Sessions for CUDA: commands of a queue are over."},
    {"cuda_stamp", "Sessions for CUDA: the time that a queue has taken."},
    {"cuda_bytes", "Sessions for CUDA: what came to staging memory."},
    {"wake",
     "`VD_FEATURE_REGION`: a word of the status page that had `waiters` was written; futexes do "
     "not reach another kernel. Several changes may be one event."},
};

#define DOC_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A cell of a table: a bar would end it. */
static void print_text(const char *text)
{
    for (; *text; text++)
        printf("%s%c", *text == '|' ? "\\" : "", *text);
}

static void print_type(const struct dispatch_field *f)
{
    switch (f->kind) {
    case DISPATCH_U64:
        printf("u64");
        break;
    case DISPATCH_U32N:
        printf("u32[%u]", f->count);
        break;
    case DISPATCH_TEXT:
        printf("text[%u]", f->count);
        break;
    case DISPATCH_FLAGS:
        printf("flags");
        break;
    default:
        printf("u32");
        break;
    }
}

static void print_struct(const struct dispatch_struct *s)
{
    uint32_t at = 0;

    printf("| offset | type | field | meaning |\n|---:|---|---|---|\n");
    for (uint32_t i = 0; i < s->field_count; i++) {
        const struct dispatch_field *f = &s->fields[i];

        printf("| %u | ", at);
        print_type(f);
        printf(" | `%s` | ", f->name);
        print_text(f->kind == DISPATCH_ZERO ? "must be zero" : f->doc);
        if (f->kind == DISPATCH_FLAGS)
            printf("; known bits: %#x", f->count);
        printf(" |\n");
        at += f->size;
    }
    printf("\n%u bytes.\n", s->size);
}

static void print_states(uint32_t states)
{
    const char *comma = "";

    if (states & VD_STATE_NEW)
        printf("NEW"), comma = ", ";
    if (states & VD_STATE_READY)
        printf("%sREADY", comma), comma = ", ";
    if (states & VD_STATE_CUDA)
        printf("%sCUDA", comma);
}

static void print_tail(const struct dispatch_struct *tail, uint32_t most)
{
    if (tail)
        printf("`%s`, at most %u", tail->name, most);
    else
        printf("none");
}

static void print_calls(void)
{
    const struct dispatch_call *c;

    printf("| number | call | since | kind | legal in | request tail | reply tail |\n"
           "|---:|---|---|---|---|---|---|\n");
    for (size_t i = 0; (c = dispatch_at(i)); i++) {
        printf("| %u | [`%s`](#%s) | %u.%u | %s | ", c->number, c->name, c->name, VD_MAJOR,
               c->since, c->kind == DISPATCH_CALL ? "call" : "one-way");
        print_states(c->states);
        printf(" | ");
        print_tail(c->req_tail, c->req_tail_max);
        printf(" | ");
        if (c->rep)
            print_tail(c->rep_tail, c->rep_tail_max);
        else
            printf("no reply");
        printf(" |\n");
    }
}

static void print_call(const struct dispatch_call *c)
{
    size_t i = 0;

    while (i < DOC_COUNT(doc_calls) && strcmp(doc_calls[i].name, c->name))
        i++;
    if (i == DOC_COUNT(doc_calls)) {
        fprintf(stderr, "protocol-doc: say in tools/protocol-doc.c what %s is for\n", c->name);
        exit(1);
    }
    printf("### %s\n\n%s\n\n", c->name, doc_calls[i].purpose);
    printf("Request:\n\n");
    print_struct(c->req);
    if (c->req_tail) {
        printf("\nRequest tail: ");
        print_tail(c->req_tail, c->req_tail_max);
        printf(".\n");
    }
    if (c->rep) {
        printf("\nReply:\n\n");
        print_struct(c->rep);
    }
    if (c->rep && c->rep_tail) {
        printf("\nReply tail: ");
        print_tail(c->rep_tail, c->rep_tail_max);
        printf(".\n");
    }
    printf("\nErrors: %s\n", doc_calls[i].errors);
}

static void print_call_details(void)
{
    const struct dispatch_call *c;

    for (size_t i = 0; (c = dispatch_at(i)); i++) {
        if (i)
            printf("\n");
        print_call(c);
    }
}

static void print_events(void)
{
    const struct dispatch_event *e;

    for (size_t i = 0; (e = dispatch_event_at(i)); i++) {
        size_t j = 0;

        while (j < DOC_COUNT(doc_events) && strcmp(doc_events[j].name, e->name))
            j++;
        if (j == DOC_COUNT(doc_events)) {
            fprintf(stderr, "protocol-doc: say in tools/protocol-doc.c what event %s is\n",
                    e->name);
            exit(1);
        }
        printf("%s### %s\n\nNumber %u. %s\n\n", i ? "\n" : "", e->name, e->number & ~VD_EVENT,
               doc_events[j].purpose);
        print_struct(e->fixed);
        if (e->tail) {
            printf("\nTail: ");
            print_tail(e->tail, e->tail_max);
            printf(".\n");
        }
    }
}

static void print_header(void)
{
    print_struct(dispatch_struct_at(0));
}

static bool in_calls(const struct dispatch_struct *s)
{
    const struct dispatch_call *c;
    bool used = false;

    for (size_t i = 0; (c = dispatch_at(i)); i++)
        used = used || c->req == s || c->rep == s || c->req_tail == s || c->rep_tail == s;
    for (size_t i = 0; dispatch_event_at(i); i++)
        used = used || dispatch_event_at(i)->fixed == s || dispatch_event_at(i)->tail == s;
    return used;
}

/* Structs that lie in the upload zone. */
static void print_zone(void)
{
    const struct dispatch_struct *s;

    /* The first one is the header. */
    for (size_t i = 1; (s = dispatch_struct_at(i)); i++) {
        if (in_calls(s))
            continue;
        printf("`%s`, %u bytes:\n\n", s->name, (unsigned)s->size);
        print_struct(s);
        printf("\n");
    }
}

/* Structs that are tail elements, each once. */
static void print_tails(void)
{
    const struct dispatch_struct *s;
    const char *gap = "";

    for (size_t i = 0; (s = dispatch_struct_at(i)); i++) {
        const struct dispatch_call *c;
        int used = 0;

        for (size_t j = 0; (c = dispatch_at(j)); j++)
            used |= c->req_tail == s || c->rep_tail == s;
        if (!used)
            continue;
        printf("%s`%s`:\n\n", gap, s->name);
        print_struct(s);
        gap = "\n";
    }
}

static void print_va_structs(void)
{
    printf(
        "| codec | buffer type | how many | struct of libva | bytes |\n|---|---|---|---|---:|\n");
#define VD_VA_STRUCT(codec, type, kind, name, size, slot)                              \
    printf("| " #codec " | `" #type "` (%d) | %s | `" #name "` | %d |\n", (int)(type), \
           strcmp(#kind, "PARAM") ? "one a slice" : "the last one", (size));
#include <viaduct/va_structs.def>
}

static void print_va_encode(void)
{
    printf(
        "| codec | buffer type | how many | struct of libva | bytes |\n|---|---|---|---|---:|\n");
#define VD_VA_ENCODE(codec, type, kind, name, size, slot)                              \
    printf("| " #codec " | `" #type "` (%d) | %s | `" #name "` | %d |\n", (int)(type), \
           strcmp(#kind, "PARAM") ? "one a slice" : "the last one", (size));
#define VD_VA_CODED(codec, name, field)
#include <viaduct/va_encode.def>
}

static void print_va_fields(void)
{
    printf("| struct | field | rule |\n|---|---|---|\n");
#define VD_VA_MAX(s, field, most) \
    printf("| `" #s "` | `" #field "` | at most %llu |\n", (unsigned long long)(most));
#define VD_VA_ID(s, field, count, stride)                                                     \
    printf("| `" #s "` | `" #field "`%s | %d surface id%s |\n", (count) > 1 ? " and on" : "", \
           (int)(count), (count) > 1 ? "s" : "");
#include <viaduct/va_fields.def>
}

static void print_profiles(void)
{
    printf("| VAProfile | number | codec | name |\n|---|---:|---|---|\n");
#define VD_PROFILE(profile, codec, number, name) \
    printf("| `" #profile "` | %d | " #codec " | %s |\n", (number), (name));
#include <viaduct/profiles.def>
}

static void print_formats(void)
{
    printf("| fourcc | render target format | bytes a sample | planes | layout |\n"
           "|---|---|---:|---:|---|\n");
#define VD_FORMAT(name, rt, bytes, bpp, planes, s0, w0, h0, s1, w1, h1, s2, w2, h2, swap) \
    printf("| `" #name "` | `VA_RT_FORMAT_" #rt                                           \
           "` | %d | %d | luma; chroma 1/%d wide, 1/%d high, "                            \
           "%s |\n",                                                                      \
           (bytes), (planes), 1 << (w1), 1 << (h1),                                       \
           (planes) == 2 ? ((swap) ? "V and U interleaved" : "U and V interleaved")       \
                         : ((swap) ? "V, then U" : "U, then V"));
#include <viaduct/formats.def>
}

static void print_errors(void)
{
    printf("| code | name | meaning |\n|---:|---|---|\n");
#define VD_ERROR(name, value, text) printf("| %d | `" #name "` | %s |\n", (value), (text));
#include <viaduct/errors.def>
}

static const struct {
    const char *name;
    void (*print)(void);
} doc_tables[] = {
    {"header", print_header},
    {"calls", print_calls},
    {"call-details", print_call_details},
    {"events", print_events},
    {"tails", print_tails},
    {"zone", print_zone},
    {"va-encode", print_va_encode},
    {"va-structs", print_va_structs},
    {"va-fields", print_va_fields},
    {"profiles", print_profiles},
    {"formats", print_formats},
    {"errors", print_errors},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < DOC_COUNT(doc_tables); i++) {
        if (!strcmp(argv[1], doc_tables[i].name)) {
            doc_tables[i].print();
            return fflush(stdout) ? 1 : 0;
        }
    }
    fprintf(stderr, "usage: protocol-doc TABLE\ntables:");
    for (size_t i = 0; i < DOC_COUNT(doc_tables); i++)
        fprintf(stderr, " %s", doc_tables[i].name);
    fprintf(stderr, "\n");
    return 2;
}
