/* A small libnvidia-ml.so.1 for tests: GPUs that draw a constant power.
 *
 * FAKE_GPUS   one word a GPU, "WATTS", "WATTS/mig" (split) or "WATTS/old" (no energy counter)
 * FAKE_LOST   a path: while a file is there, the GPUs have fallen off the bus
 * FAKE_RESET  a path: while a file is there, the counters read 0 (the driver was loaded anew)
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
enum { STEP_MS = 20 };

static struct gpu { unsigned index, watts; char mode[8]; } gpus[8];
static unsigned count;
static int ready;

static int there(const char *variable) {
    const char *path = getenv(variable);
    return path && access(path, F_OK) == 0;
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
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    *mj = there("FAKE_RESET") ? 0 : ms / STEP_MS * STEP_MS * gpu->watts;
    return OK;
}
const char *nvmlErrorString(int code) {
    return code == GPU_IS_LOST ? "GPU is lost" : code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "error";
}
