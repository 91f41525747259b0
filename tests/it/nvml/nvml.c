/* A stand-in for NVIDIA's management library (NVML) that plays a named scenario instead of asking a driver.
 * In: the first word of the file that GPU_WORKER_FAKE_NVML names, read anew at each call, so that a test can break a card while the
 * program runs. Out: the functions that the agent calls, with NVML's signatures and return codes.
 *
 * Beside that file: `event` ("1 79": card 1 reports Xid 79; "1 ecc": a memory error), taken once by whoever waits for events, and
 * `ecc` ("1 3": card 1 has counted 3 uncorrectable memory errors). Without `ecc` no card has ECC.
 *
 * Figures are made up in the manner of nvidia-smi listings; nothing here was recorded from a card. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, TOO_SMALL = 7, NOT_LOADED = 9, TIMEOUT = 10, LOST = 15, MISMATCH = 18, UNKNOWN = 999 };
#define MIB (1024ULL * 1024ULL)
#define API __attribute__((visibility("default")))

typedef struct { int card, instance; } device;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } pci;
typedef struct { device *card; unsigned long long type, data; unsigned gpu_instance, compute_instance; } event;
typedef struct { device *cards[4]; } event_set;
typedef struct { unsigned id, scope; long long timestamp, latency; int type, result; unsigned long long value; } field;
typedef struct { unsigned processors, copy, decoders, encoders, jpeg, ofa, gpu_slices, compute_slices; unsigned long long memory_mb; } attributes;

static char name[64];
static device cards[4] = {{0, -1}, {1, -1}, {2, -1}, {3, -1}};

static int is(const char *wanted) {
    const char *path = getenv("GPU_WORKER_FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    name[0] = 0;
    if (file) {
        if (fscanf(file, "%63s", name) != 1) name[0] = 0;
        fclose(file);
    }
    return strcmp(name, wanted) == 0;
}

static int mig(void) { return is("mig") || is("mig-old-driver") || is("mig-unprivileged"); }
static int two(void) { return is("two") || is("one-of-two-lost"); }
static int lost(device *card) { return (card->card == 2 && is("one-of-four-lost")) || (card->card == 1 && is("one-of-two-lost")); }

/* A file beside the scenario's. */
static FILE *beside(const char *file, char *path, unsigned room) {
    const char *scenario = getenv("GPU_WORKER_FAKE_NVML");
    const char *slash = scenario ? strrchr(scenario, '/') : NULL;
    if (!slash) return NULL;
    snprintf(path, room, "%.*s/%s", (int)(slash - scenario), scenario, file);
    return fopen(path, "r");
}

static int text(char *into, unsigned room, const char *from) {
    if (strlen(from) >= room) return TOO_SMALL;
    strcpy(into, from);
    return OK;
}

/* Opening a named pipe waits for its other end: the hang lasts until the test opens it. Without a pipe it lasts for ever. */
static void hang(void) {
    const char *gate = getenv("GPU_WORKER_FAKE_NVML_GATE");
    int pipe = gate ? open(gate, O_RDONLY) : -1;
    if (pipe < 0)
        for (;;) pause();
    close(pipe);
}

API int nvmlInit_v2(void) {
#ifdef WITHOUT_MODULE
    return NOT_LOADED;
#endif
    if (is("no-driver")) return NOT_LOADED;
    if (is("mismatch")) return MISMATCH;
    if (is("no-permission")) return NO_PERMISSION;
    if (is("unknown")) return UNKNOWN;
    if (is("hanging")) hang();
    return OK;
}

#ifndef WITHOUT_SHUTDOWN
API int nvmlShutdown(void) { return OK; }
#endif

API const char *nvmlErrorString(int code) { return code == OK ? "Success" : "stand-in error"; }
API int nvmlSystemGetDriverVersion(char *into, unsigned room) { return text(into, room, "550.90.07"); }

API int nvmlDeviceGetCount_v2(unsigned *count) {
    if (is("fault-later")) return UNKNOWN;
    *count = is("none") ? 0 : is("four") || is("one-of-four-lost") ? 4 : is("three-of-four") ? 3 : two() ? 2 : 1;
    return OK;
}

API int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **out) {
    if (index > 3) return INVALID;
    if (is("three-of-four") && index == 2) index = 3;
    if (is("handle-lost")) return LOST;
    if (is("card-no-permission")) return NO_PERMISSION;
    *out = &cards[index];
    return OK;
}

API int nvmlDeviceGetName(device *card, char *into, unsigned room) {
    if (mig()) {
        if (card->instance < 0 || is("mig-old-driver")) return text(into, room, "NVIDIA H100 80GB HBM3");
        return text(into, room, card->instance == 0 ? "NVIDIA H100 80GB HBM3 MIG 3g.40gb" : "NVIDIA H100 80GB HBM3 MIG 1g.10gb");
    }
    return lost(card) ? LOST : text(into, room, "NVIDIA GeForce RTX 4090");
}

API int nvmlDeviceGetUUID(device *card, char *into, unsigned room) {
    char uuid[64];
    if (lost(card)) return LOST;
    if (card->instance >= 0) snprintf(uuid, sizeof uuid, "MIG-00000000-0000-0000-0000-00000000000%d", card->instance);
    else snprintf(uuid, sizeof uuid, "GPU-00000000-0000-0000-0000-00000000000%d", card->card);
    return text(into, room, uuid);
}

API int nvmlDeviceGetPciInfo_v3(device *card, pci *out) {
    if (lost(card)) return LOST;
    memset(out, 0, sizeof *out);
    out->bus = 0x41 + card->card;
    snprintf(out->bus_id, sizeof out->bus_id, "00000000:%02X:00.0", out->bus);
    return OK;
}

API int nvmlDeviceGetMemoryInfo_v2(device *card, memory_v2 *out) {
    unsigned long long mib = 24564;
    if (lost(card)) return LOST;
    if (is("not-supported")) return NOT_SUPPORTED;
    if (card->instance < 0 && is("mig-unprivileged")) return NO_PERMISSION;
    if (is("card-unknown")) return UNKNOWN;
    if (mig()) mib = card->instance < 0 ? 81559 : card->instance == 0 ? 40448 : 9984;
    out->total = mib * MIB;
    out->reserved = 400 * MIB;
    out->used = 1000 * MIB;
    out->free = out->total - out->reserved - out->used;
    return OK;
}

API int nvmlDeviceGetUtilizationRates(device *card, utilization *out) {
    if (lost(card)) return LOST;
    if (is("not-supported") || mig()) return NOT_SUPPORTED;
    out->gpu = 37;
    out->memory = 12;
    return OK;
}

API int nvmlDeviceGetTemperature(device *card, int sensor, unsigned *out) {
    (void)sensor;
    if (lost(card)) return LOST;
    *out = 41;
    return is("not-supported") ? NOT_SUPPORTED : OK;
}

API int nvmlDeviceGetPowerUsage(device *card, unsigned *out) {
    if (lost(card)) return LOST;
    *out = 22500;
    return is("not-supported") ? NOT_SUPPORTED : OK;
}

/* Of its graphics clock alone. */
API int nvmlDeviceGetClockInfo(device *card, int clock, unsigned *out) {
    if (lost(card)) return LOST;
    *out = is("hot") ? 900 : 2520;
    return is("not-supported") || clock != 0 ? NOT_SUPPORTED : OK;
}

API int nvmlDeviceGetMaxClockInfo(device *card, int clock, unsigned *out) {
    if (lost(card)) return LOST;
    *out = 3105;
    return is("not-supported") || clock != 0 ? NOT_SUPPORTED : OK;
}

API int nvmlDeviceGetCurrentClocksThrottleReasons(device *card, unsigned long long *out) {
    if (lost(card)) return LOST;
    *out = is("hot") ? 0x24 : 0x1;
    return is("not-supported") ? NOT_SUPPORTED : OK;
}

API int nvmlDeviceGetTemperatureThreshold(device *card, int threshold, unsigned *out) {
    if (lost(card)) return LOST;
    *out = threshold == 1 ? 88 : 93;
    return is("not-supported") ? NOT_SUPPORTED : OK;
}

API int nvmlDeviceGetEnforcedPowerLimit(device *card, unsigned *out) {
    if (lost(card)) return LOST;
    *out = 450000;
    return is("not-supported") ? NOT_SUPPORTED : OK;
}

API int nvmlDeviceGetFanSpeed_v2(device *card, unsigned fan, unsigned *out) {
    if (lost(card)) return LOST;
    *out = 30 + fan;
    return is("not-supported") ? NOT_SUPPORTED : OK;
}

/* The file `pid` beside the scenario names a real process. */
static int processes(device *card, unsigned *count, process *out, unsigned pid, unsigned long long used) {
    char path[4096];
    unsigned room = *count;
    FILE *file = beside("pid", path, sizeof path);
    if (file) {
        if (fscanf(file, "%u", &pid) != 1) pid = 0;
        fclose(file);
    }
    if (lost(card)) return LOST;
    if (is("not-supported")) return NOT_SUPPORTED;
    *count = 1;
    if (room < 1) return TOO_SMALL;
    out[0] = (process){pid, used, 0xFFFFFFFF, 0xFFFFFFFF};
    return OK;
}

API int nvmlDeviceGetComputeRunningProcesses_v3(device *card, unsigned *count, process *out) {
    return processes(card, count, out, 4242, 1000 * MIB);
}

/* The same process draws as well, and the driver does not tell how much. */
API int nvmlDeviceGetGraphicsRunningProcesses_v3(device *card, unsigned *count, process *out) {
    return processes(card, count, out, 4242, ~0ULL);
}

API int nvmlDeviceGetMigMode(device *card, unsigned *current, unsigned *pending) {
    if (lost(card)) return LOST;
    *current = *pending = 1;
    return mig() || is("mig-empty") ? OK : NOT_SUPPORTED;
}

API int nvmlDeviceGetMaxMigDeviceCount(device *card, unsigned *count) {
    (void)card;
    *count = 7;
    return OK;
}

/* Places 0 and 2 are taken: the agent must walk past empty ones. */
API int nvmlDeviceGetMigDeviceHandleByIndex(device *card, unsigned index, device **out) {
    static device instances[3] = {{0, 0}, {0, 1}, {0, 2}};
    (void)card;
    if (is("mig-empty") || (index != 0 && index != 2)) return NOT_FOUND;
    *out = &instances[index];
    return OK;
}

API int nvmlDeviceGetAttributes_v2(device *card, attributes *out) {
    memset(out, 0, sizeof *out);
    out->gpu_slices = card->instance == 0 ? 3 : 1;
    out->memory_mb = card->instance == 0 ? 40448 : 9984;
    return OK;
}

API int nvmlDeviceGetHandleByUUID(const char *uuid, device **out) {
    unsigned card = uuid[strlen(uuid) - 1] - '0';
    if (strncmp(uuid, "GPU-", 4) != 0 || card > 3) return NOT_FOUND;
    *out = &cards[card];
    return lost(*out) ? LOST : OK;
}

API int nvmlDeviceGetTotalEccErrors(device *card, int error_type, int counter_type, unsigned long long *count) {
    char path[4096];
    int which;
    FILE *file = beside("ecc", path, sizeof path);
    (void)error_type;
    (void)counter_type;
    if (lost(card)) return file ? (fclose(file), LOST) : LOST;
    if (!file) return NOT_SUPPORTED;
    *count = 0;
    if (fscanf(file, "%d %llu", &which, count) == 2 && which != card->card) *count = 0;
    fclose(file);
    return OK;
}

API int nvmlDeviceGetRetiredPagesPendingStatus(device *card, int *pending) {
    *pending = is("retirement-pending");
    return lost(card) ? LOST : is("retirement-pending") ? OK : NOT_SUPPORTED;
}

/* Fields 144 and 145: a row remapping is pending, has failed. */
API int nvmlDeviceGetFieldValues(device *card, int count, field *fields) {
    if (lost(card)) return LOST;
    for (int at = 0; at < count; at++) {
        fields[at].type = 1;
        fields[at].result = is("remap-pending") || is("remap-failed") ? OK : NOT_SUPPORTED;
        fields[at].value = fields[at].id == 144 ? is("remap-pending") : fields[at].id == 145 ? is("remap-failed") : 0;
    }
    return OK;
}

API int nvmlDeviceGetSupportedEventTypes(device *card, unsigned long long *types) {
    *types = 0x1a;
    return lost(card) ? LOST : is("not-supported") ? NOT_SUPPORTED : OK;
}

API int nvmlEventSetCreate(event_set **set) {
    *set = calloc(1, sizeof **set);
    return OK;
}

API int nvmlEventSetFree(event_set *set) {
    free(set);
    return OK;
}

API int nvmlDeviceRegisterEvents(device *card, unsigned long long types, event_set *set) {
    if (types != 0xa) return INVALID;
    set->cards[card->card] = card;
    return OK;
}

API int nvmlEventSetWait_v2(event_set *set, event *out, unsigned timeout_ms) {
    for (unsigned waited = 0; waited < timeout_ms; waited += 10) {
        char path[4096], what[16];
        int card;
        FILE *file = beside("event", path, sizeof path);
        if (file) {
            int words = fscanf(file, "%d %15s", &card, what);
            fclose(file);
            if (words == 2 && card >= 0 && card < 4 && set->cards[card]) {
                unlink(path);
                *out = (event){set->cards[card], 0x8, strtoull(what, NULL, 10), 0xFFFFFFFF, 0xFFFFFFFF};
                if (strcmp(what, "ecc") == 0) out->type = 0x2;
                return OK;
            }
        }
        usleep(10000);
    }
    return TIMEOUT;
}
