/* A stand-in for NVIDIA's compute library (CUDA): memory on the card is memory of this process.
 * In: the first word of the file `cuda` in the folder that LD_LIBRARY_PATH names, read anew at each call: `ecc` fails the first copy,
 * `wrong` spoils what is copied, `no-device` fails the start, `hang` does not come back. Out: the functions that the check of a GPU calls. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, NO_DEVICE = 100, ECC = 214 };
#define API __attribute__((visibility("default")))

static int is(const char *wanted) {
    char path[4096], word[64] = "";
    const char *folder = getenv("LD_LIBRARY_PATH");
    snprintf(path, sizeof path, "%s/cuda", folder ? folder : "");
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%63s", word) != 1) word[0] = 0;
        fclose(file);
    }
    return strcmp(word, wanted) == 0;
}

API int cuInit(unsigned flags) {
    (void)flags;
    if (is("hang")) for (;;) pause();
    if (is("crash")) abort();
    return is("no-device") ? NO_DEVICE : OK;
}

API int cuDeviceGet(int *device, int ordinal) {
    /* The parent chooses one card. */
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    *device = ordinal;
    return visible && strncmp(visible, "GPU-", 4) == 0 && !strchr(visible, ',') ? OK : NO_DEVICE;
}

API int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; *context = context; return OK; }
API int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return OK; }
API int cuDeviceGetAttribute(int *value, int attribute, int device) { (void)attribute; (void)device; *value = 0; return OK; }
API int cuCtxGetCurrent(void **context) { *context = 0; return OK; }
API int cuCtxSetCurrent(void *context) { (void)context; return OK; }
API int cuMemAlloc_v2(void **memory, size_t bytes) { *memory = malloc(bytes); return OK; }
API int cuMemFree_v2(void *memory) { free(memory); return OK; }
API int cuStreamSynchronize(void *stream) { (void)stream; return OK; }
API int cuEventCreate(void **event, unsigned flags) { (void)flags; *event = event; return OK; }
API int cuEventDestroy_v2(void *event) { (void)event; return OK; }
API int cuEventRecord(void *event, void *stream) { (void)event; (void)stream; return OK; }
API int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { (void)stream; (void)event; (void)flags; return OK; }

API int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
    (void)stream;
    if (is("ecc")) return ECC;
    memcpy(to, from, bytes);
    return OK;
}

API int cuMemcpyDtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
    (void)stream;
    memcpy(to, from, bytes);
    if (is("wrong")) ((char *)to)[bytes / 2] ^= 1;
    return OK;
}

API int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
    (void)stream;
    memcpy(to, from, bytes);
    return OK;
}
