/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "front.h"

/* Inputs and outputs whose places are on the stack. */
#define RUN_FEW 16

struct ort_status *ort_CreateRunOptions(struct ort_run_options **out)
{
    struct ort_run_options *o = calloc(1, sizeof(*o));

    if (!o)
        return front_no_memory();
    pthread_mutex_init(&o->lock, NULL);
    o->severity = -1;
    *out = o;
    return NULL;
}

void ort_ReleaseRunOptions(struct ort_run_options *input)
{
    if (!input)
        return;
    pthread_mutex_destroy(&input->lock);
    front_pairs_finish(&input->config);
    free(input->tag);
    free(input);
}

struct ort_status *ort_RunOptionsSetRunLogVerbosityLevel(struct ort_run_options *options,
                                                         int log_verbosity_level)
{
    options->verbosity = log_verbosity_level;
    return NULL;
}

struct ort_status *ort_RunOptionsSetRunLogSeverityLevel(struct ort_run_options *options,
                                                        int log_severity_level)
{
    options->severity = log_severity_level;
    return NULL;
}

struct ort_status *ort_RunOptionsSetRunTag(struct ort_run_options *options, const char *run_tag)
{
    char *copy = strdup(run_tag ? run_tag : "");

    if (!copy)
        return front_no_memory();
    free(options->tag);
    options->tag = copy;
    return NULL;
}

struct ort_status *ort_RunOptionsGetRunLogVerbosityLevel(const struct ort_run_options *options,
                                                         int *log_verbosity_level)
{
    *log_verbosity_level = options->verbosity;
    return NULL;
}

struct ort_status *ort_RunOptionsGetRunLogSeverityLevel(const struct ort_run_options *options,
                                                        int *log_severity_level)
{
    *log_severity_level = options->severity;
    return NULL;
}

struct ort_status *ort_RunOptionsGetRunTag(const struct ort_run_options *options,
                                           const char **run_tag)
{
    *run_tag = options->tag ? options->tag : "";
    return NULL;
}

struct ort_status *ort_AddRunConfigEntry(struct ort_run_options *options, const char *config_key,
                                         const char *config_value)
{
    return front_pairs_set(&options->config, config_key, config_value) ? front_no_memory() : NULL;
}

const char *ort_GetRunConfigEntry(const struct ort_run_options *options, const char *config_key)
{
    return front_pairs_get(&options->config, config_key);
}

struct ort_status *ort_RunOptionsSetTerminate(struct ort_run_options *options)
{
    pthread_mutex_lock(&options->lock);
    options->terminate = true;
    for (struct front_active *a = options->active; a; a = a->next)
        npu_run_cancel(a->run);
    pthread_mutex_unlock(&options->lock);
    return NULL;
}

struct ort_status *ort_RunOptionsUnsetTerminate(struct ort_run_options *options)
{
    pthread_mutex_lock(&options->lock);
    options->terminate = false;
    pthread_mutex_unlock(&options->lock);
    return NULL;
}

/* From here on it can be terminated; false: it is already. */
static bool enter(struct ort_run_options *options, struct front_active *active)
{
    bool go = true;

    if (!options)
        return true;
    pthread_mutex_lock(&options->lock);
    go = !options->terminate;
    active->next = options->active;
    options->active = active;
    if (!go)
        npu_run_cancel(active->run);
    pthread_mutex_unlock(&options->lock);
    return go;
}

static void leave(struct ort_run_options *options, struct front_active *active)
{
    struct front_active **at;

    if (!options)
        return;
    pthread_mutex_lock(&options->lock);
    for (at = &options->active; *at != active; at = &(*at)->next)
        ;
    *at = active->next;
    pthread_mutex_unlock(&options->lock);
}

struct call {
    struct npu_tensor *few_tensors[2 * RUN_FEW], **tensors;
    uint32_t few_indices[2 * RUN_FEW], *indices;
    size_t inputs, outputs;
};

static bool make_room(struct call *c, size_t inputs, size_t outputs)
{
    c->tensors = c->few_tensors;
    c->indices = c->few_indices;
    c->inputs = inputs;
    c->outputs = outputs;
    if (inputs + outputs > 2 * RUN_FEW) {
        c->tensors = malloc((inputs + outputs) * sizeof(struct npu_tensor *));
        c->indices = malloc((inputs + outputs) * sizeof(*c->indices));
    }
    if (!c->tensors || !c->indices)
        return false;
    memset(c->tensors, 0, (inputs + outputs) * sizeof(struct npu_tensor *));
    return true;
}

static void finish_call(struct call *c)
{
    for (size_t i = 0; c->tensors && i < c->inputs + c->outputs; i++)
        npu_tensor_destroy(c->tensors[i]);
    if (c->tensors != c->few_tensors)
        free(c->tensors);
    if (c->indices != c->few_indices)
        free(c->indices);
}

/* Index and, if the program brought one, tensor of each input and output. */
static struct ort_status *prepare(struct ort_session *session, struct call *c,
                                  const char *const *input_names,
                                  const struct ort_value *const *inputs,
                                  const char *const *output_names, struct ort_value **outputs)
{
    const struct npu_info *info = session->info;
    struct ort_status *status = NULL;

    for (size_t i = 0; i < c->inputs && !status; i++) {
        int index = front_find(info->inputs, info->input_count, input_names[i]);

        if (index < 0)
            return front_status(ORT_INVALID_ARGUMENT, "Invalid input name: %s", input_names[i]);
        c->indices[i] = (uint32_t)index;
        status = inputs[i] ? front_value_tensor(inputs[i], session->npu, &c->tensors[i])
                           : front_npu_status(npu_tensor_create_none(session->npu, &c->tensors[i]));
    }
    for (size_t i = 0; i < c->outputs && !status; i++) {
        int index = front_find(info->outputs, info->output_count, output_names[i]);

        if (index < 0)
            return front_status(ORT_INVALID_ARGUMENT, "Invalid output name: %s", output_names[i]);
        c->indices[c->inputs + i] = (uint32_t)index;
        if (!outputs[i])
            continue;
        if (outputs[i]->type != ORT_TYPE_TENSOR || outputs[i]->texts)
            return front_status(ORT_NOT_IMPLEMENTED,
                                "output %s: only tensors of numbers can be given room for",
                                output_names[i]);
        status = front_value_tensor(outputs[i], session->npu, &c->tensors[c->inputs + i]);
    }
    return status;
}

/* What the program gave must have the shape that came out. */
static struct ort_status *check_shape(const struct ort_value *value,
                                      const struct npu_tensor *tensor, const char *name)
{
    if ((size_t)npu_tensor_rank(tensor) != value->rank ||
        (value->rank &&
         memcmp(npu_tensor_dims(tensor), value->dims, value->rank * sizeof(value->dims[0]))))
        return front_status(ORT_INVALID_ARGUMENT,
                            "output %s has another shape than the tensor for it", name);
    return NULL;
}

static struct ort_status *take_outputs(struct ort_session *session, struct call *c,
                                       const char *const *names, struct ort_value **outputs)
{
    struct ort_status *status = NULL;

    for (size_t i = 0; i < c->outputs && !status; i++) {
        struct npu_tensor **tensor = &c->tensors[c->inputs + i];

        if (outputs[i]) {
            status = check_shape(outputs[i], *tensor, names[i]);
            continue;
        }
        outputs[i] = front_value_from(session->npu, *tensor);
        *tensor = NULL;
        status = outputs[i] ? NULL : front_no_memory();
    }
    return status;
}

struct ort_status *ort_Run(struct ort_session *session, const struct ort_run_options *run_options,
                           const char *const *input_names, const struct ort_value *const *inputs,
                           size_t input_len, const char *const *output_names,
                           size_t output_names_len, struct ort_value **outputs)
{
    struct ort_run_options *options = (struct ort_run_options *)(uintptr_t)run_options;
    struct front_active active = {0};
    struct ort_status *status;
    int64_t start = session->profile ? front_profile_now() : 0;
    struct npu_call call;
    struct call c;
    bool go;

    if (!make_room(&c, input_len, output_names_len)) {
        c.tensors = NULL;
        finish_call(&c);
        return front_no_memory();
    }
    status = prepare(session, &c, input_names, inputs, output_names, outputs);
    call = (struct npu_call){
        .inputs = c.tensors,
        .input_index = c.indices,
        .input_count = input_len,
        .outputs = c.tensors + input_len,
        .output_index = c.indices + input_len,
        .output_count = output_names_len,
    };
    if (!status)
        status = front_npu_status(npu_submit(session->model, &call, &active.run));
    if (!status) {
        go = enter(options, &active);
        status = front_npu_status(npu_wait(active.run, UINT64_MAX));
        leave(options, &active);
        /* What the host says it took, at the end of the run: when it began is not known. */
        if (session->profile && !status) {
            int64_t took = (int64_t)npu_run_nanoseconds(active.run), end = front_profile_now();

            took = took < end - start ? took : end - start;
            front_profile_add(session->profile, "host_execute", end - took, took);
        }
        npu_run_destroy(active.run);
        if (!go) {
            ort_ReleaseStatus(status);
            status = front_status(ORT_FAIL, "Exiting due to terminate flag being set to true.");
        }
    }
    if (!status)
        status = take_outputs(session, &c, output_names, outputs);
    finish_call(&c);
    if (session->profile)
        front_profile_add(session->profile, "model_run", start, front_profile_now() - start);
    return status;
}

struct async {
    struct ort_session *session;
    const struct ort_run_options *options;
    const char *const *input_names;
    const struct ort_value *const *inputs;
    size_t input_count;
    const char *const *output_names;
    size_t output_count;
    struct ort_value **outputs;
    ort_async_fn callback;
    void *user_data;
};

static void *run_async(void *arg)
{
    struct async a = *(struct async *)arg;
    struct ort_status *status;

    free(arg);
    status = ort_Run(a.session, a.options, a.input_names, a.inputs, a.input_count, a.output_names,
                     a.output_count, a.outputs);
    a.callback(a.user_data, a.outputs, status ? 0 : a.output_count, status);
    return NULL;
}

/* What the arguments point to stays the program's until the callback, as with the real one. */
struct ort_status *
ort_RunAsync(struct ort_session *session, const struct ort_run_options *run_options,
             const char *const *input_names, const struct ort_value *const *input, size_t input_len,
             const char *const *output_names, size_t output_names_len, struct ort_value **output,
             ort_async_fn run_async_callback, void *user_data)
{
    struct async *a = malloc(sizeof(*a));
    pthread_attr_t attr;
    pthread_t thread;
    int err;

    if (!a)
        return front_no_memory();
    *a = (struct async){
        session,          run_options, input_names,        input,    input_len, output_names,
        output_names_len, output,      run_async_callback, user_data};
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    err = pthread_create(&thread, &attr, run_async, a);
    pthread_attr_destroy(&attr);
    if (err) {
        free(a);
        return front_status(ORT_FAIL, "cannot start a thread");
    }
    return NULL;
}
