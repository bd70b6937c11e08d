/* A small libnvidia-ml.so.1 for tests: GPUs that draw a constant power, or one that swings.
 *
 * FAKE_GPUS       one word a GPU, "WATTS", "WATTS/mig" (split) or "WATTS/old" (no energy counter)
 * FAKE_STEP_MS    how often counters and powers are renewed; 20 unless set
 * FAKE_SWING      how far the power swings around WATTS, as a share of it; 0 unless set
 * FAKE_PERIOD_MS  of the swing, a sine that is 0 when the monotonic clock is; 700 unless set
 * FAKE_AVERAGE    1: the power is the mean of the last second, and none of the moment is told
 * FAKE_LOST       a path: while a file is there, the GPUs have fallen off the bus
 * FAKE_RESET      a path: while a file is there, the counters read 0 (the driver was loaded anew)
 * FAKE_FROZEN     a path: while a file is there, the counters stand still, at its content in milliseconds
 * FAKE_HOT        a path: while a file is there, heat holds the clocks down
 * FAKE_HOLDS      a file: the memory of each GPU in MB, then "GPU PID MB" for each process that holds some while it lives
 * FAKE_CAPS       a folder that keeps the power caps; without it, nobody may set one
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, TOO_SMALL = 7, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
static struct gpu { unsigned index, watts; char mode[8]; } gpus[8];
static unsigned count;
static int ready;

static int there(const char *variable) {
    const char *path = getenv(variable);
    return path && access(path, F_OK) == 0;
}

static double setting(const char *variable, double otherwise) {
    const char *text = getenv(variable);
    return text ? atof(text) : otherwise;
}

/* Seconds of the monotonic clock at which the figures were last renewed. */
static double renewed(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double step = setting("FAKE_STEP_MS", 20) / 1e3, t = now.tv_sec + now.tv_nsec / 1e9;
    const char *path = getenv("FAKE_FROZEN");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (file) {
        double ms;
        if (fscanf(file, "%lf", &ms) == 1 && ms / 1e3 < t) t = ms / 1e3;
        fclose(file);
    }
    return floor(t / step) * step;
}

static double omega(void) { return 2 * M_PI / (setting("FAKE_PERIOD_MS", 700) / 1e3); }
static double watts(struct gpu *gpu, double t) { return gpu->watts * (1 + setting("FAKE_SWING", 0) * sin(omega() * t)); }
static double joules(struct gpu *gpu, double t) {
    return gpu->watts * (t + setting("FAKE_SWING", 0) / omega() * (1 - cos(omega() * t)));
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    const char *text = getenv("FAKE_GPUS");
    if (!text) return DRIVER_NOT_LOADED;
    char *copy = strdup(text);
    count = 0;
    for (char *word = strtok(copy, " "); word && count < 8; word = strtok(NULL, " ")) {
        gpus[count] = (struct gpu){.index = count};
        sscanf(word, "%u/%7s", &gpus[count].watts, gpus[count].mode);
        count++;
    }
    free(copy);
    ready++;
    return OK;
}
int nvmlShutdown(void) { return ready-- > 0 ? OK : UNINITIALIZED; }
int nvmlSystemGetDriverVersion(char *out, unsigned size) { return snprintf(out, size, "580.159.04"), OK; }
int nvmlDeviceGetCount_v2(unsigned *out) { return *out = count, ready ? OK : UNINITIALIZED; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct gpu **out) {
    if (index >= count) return INVALID;
    *out = &gpus[index];
    return OK;
}
int nvmlDeviceGetName(struct gpu *gpu, char *out, unsigned size) {
    return snprintf(out, size, "Fake %u W", gpu->watts), OK;
}
int nvmlDeviceGetUUID(struct gpu *gpu, char *out, unsigned size) {
    return snprintf(out, size, "GPU-%08x-0000", 0xa0 + gpu->index), OK;
}
int nvmlDeviceGetMigMode(struct gpu *gpu, unsigned *now, unsigned *next) {
    *now = *next = !strcmp(gpu->mode, "mig");
    return OK;
}
int nvmlDeviceGetTotalEnergyConsumption(struct gpu *gpu, unsigned long long *mj) {
    if (!ready) return UNINITIALIZED;
    if (!strcmp(gpu->mode, "old")) return NOT_SUPPORTED;
    if (there("FAKE_LOST")) return GPU_IS_LOST;
    *mj = there("FAKE_RESET") ? 0 : (unsigned long long)(joules(gpu, renewed()) * 1e3);
    return OK;
}
int nvmlDeviceGetArchitecture(struct gpu *gpu, unsigned *arch) {
    enum { PASCAL = 4, AMPERE = 7 };
    return *arch = strcmp(gpu->mode, "old") ? AMPERE : PASCAL, OK;
}
int nvmlDeviceGetPowerUsage(struct gpu *gpu, unsigned *mw) {
    if (!ready) return UNINITIALIZED;
    if (there("FAKE_LOST")) return GPU_IS_LOST;
    double t = renewed();
    *mw = (unsigned)(setting("FAKE_AVERAGE", 0) ? 1e3 * (joules(gpu, t) - joules(gpu, t - 1)) : 1e3 * watts(gpu, t));
    return OK;
}
/* The field that pynvml calls NVML_FI_DEV_POWER_INSTANT, and no other. */
struct field { unsigned id, scope; long timestamp, latency; unsigned type, result; union { unsigned ui; double d; } value; };
int nvmlDeviceGetFieldValues(struct gpu *gpu, int many, struct field *fields) {
    for (int i = 0; i < many; i++) {
        int told = fields[i].id == 186 && strcmp(gpu->mode, "old") && !setting("FAKE_AVERAGE", 0);
        fields[i].result = there("FAKE_LOST") ? GPU_IS_LOST : told ? OK : NOT_SUPPORTED;
        fields[i].value.ui = (unsigned)(1e3 * watts(gpu, renewed()));
    }
    return OK;
}
int nvmlDeviceGetClockInfo(struct gpu *gpu, unsigned type, unsigned *mhz) {
    (void)gpu, (void)type;
    *mhz = there("FAKE_HOT") ? 600 : 1400;
    return OK;
}
int nvmlDeviceGetTemperature(struct gpu *gpu, unsigned sensor, unsigned *celsius) {
    (void)gpu, (void)sensor;
    *celsius = there("FAKE_HOT") ? 95 : 55;
    return OK;
}

struct process { unsigned pid; unsigned long long used; unsigned instance, compute; };
static unsigned look_at_memory(struct gpu *gpu, unsigned long long *total, struct process *found, unsigned most) {
    const char *path = getenv("FAKE_HOLDS");
    FILE *file = path ? fopen(path, "r") : NULL;
    unsigned mb, index, pid, many = 0;
    *total = 0;
    if (!file) return 0;
    if (fscanf(file, "%u", &mb) == 1) *total = (unsigned long long)mb << 20;
    while (many < most && fscanf(file, "%u %u %u", &index, &pid, &mb) == 3)
        if (index == gpu->index && kill((pid_t)pid, 0) == 0)
            found[many++] = (struct process){.pid = pid, .used = (unsigned long long)mb << 20};
    fclose(file);
    return many;
}
struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(struct gpu *gpu, struct memory *out) {
    struct process found[64];
    unsigned many = look_at_memory(gpu, &out->total, found, 64);
    if (!out->total) return NOT_SUPPORTED;
    out->used = 0;
    for (unsigned i = 0; i < many; i++) out->used += found[i].used;
    out->free = out->total - out->used;
    return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(struct gpu *gpu, unsigned *many, struct process *out) {
    struct process found[64];
    unsigned long long total;
    unsigned there = look_at_memory(gpu, &total, found, 64), room = *many;
    *many = there;
    if (there > room) return TOO_SMALL;
    if (there) memcpy(out, found, there * sizeof *found);
    return OK;
}

/* Caps outlive the process that sets them: FAKE_CAPS is a folder with a file for each GPU that has one. */
static FILE *cap_file(struct gpu *gpu, const char *how) {
    char path[512];
    const char *folder = getenv("FAKE_CAPS");
    if (!folder) return NULL;
    snprintf(path, sizeof path, "%s/%u", folder, gpu->index);
    return fopen(path, how);
}
int nvmlDeviceGetPowerManagementLimit(struct gpu *gpu, unsigned *mw) {
    *mw = gpu->watts * 1000;
    FILE *file = cap_file(gpu, "r");
    if (file) {
        if (fscanf(file, "%u", mw) != 1) *mw = 0;
        fclose(file);
    }
    return OK;
}
int nvmlDeviceGetEnforcedPowerLimit(struct gpu *gpu, unsigned *mw) { return nvmlDeviceGetPowerManagementLimit(gpu, mw); }
int nvmlDeviceGetPowerManagementLimitConstraints(struct gpu *gpu, unsigned *low, unsigned *high) {
    *low = 100000;
    *high = gpu->watts * 1000;
    return OK;
}
int nvmlDeviceSetPowerManagementLimit(struct gpu *gpu, unsigned mw) {
    FILE *file = cap_file(gpu, "w");
    if (!file) return NO_PERMISSION;
    fprintf(file, "%u", mw);
    fclose(file);
    return OK;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(struct gpu *gpu, unsigned long long *reasons) {
    (void)gpu;
    *reasons = there("FAKE_HOT") ? 0x20 : 0x4;
    return OK;
}
const char *nvmlErrorString(int code) {
    return code == GPU_IS_LOST ? "GPU is lost" : code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "error";
}
