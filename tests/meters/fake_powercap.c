/* Moves the counters of a powercap tree along a known power, as a CPU would:
 *
 *     fake_powercap TICK_US WATTS SWING PERIOD_S  FILE SHARE RANGE_UJ  [FILE SHARE RANGE_UJ ...]
 *
 * Every TICK_US each FILE gets the microjoules up to now, by its SHARE of the power, wrapped after RANGE_UJ. The power
 * is WATTS x (1 + SWING x sin(2 pi t / PERIOD_S)), t the monotonic clock. Says "ready" and runs until its input ends.
 */
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 16, MOST = 8 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int count, char **text) {
    if (count < 8 || (count - 5) % 3 || (count - 5) / 3 > MOST) return 2;
    const double tick = atof(text[1]) / 1e6, watts = atof(text[2]), swing = atof(text[3]);
    const double omega = 2 * M_PI / atof(text[4]);
    int zones = (count - 5) / 3, file[MOST];
    double share[MOST];
    uint64_t modulus[MOST];
    for (int i = 0; i < zones; i++) {
        file[i] = open(text[5 + 3 * i], O_WRONLY);
        if (file[i] < 0) return perror(text[5 + 3 * i]), 1;
        share[i] = atof(text[6 + 3 * i]);
        modulus[i] = strtoull(text[7 + 3 * i], NULL, 10) + 1;
    }
    puts("ready");
    fflush(stdout);
    struct pollfd input = {.fd = 0, .events = POLLIN};
    double due = now();
    for (;;) {
        double t = now();
        double joules = watts * (t + swing / omega * (1 - cos(omega * t)));
        for (int i = 0; i < zones; i++) {
            char line[WIDTH + 2];
            uint64_t uj = (uint64_t)(joules * share[i] * 1e6) % modulus[i];
            /* Of one width, so that nobody ever reads a file that was just cut. */
            snprintf(line, sizeof line, "%0*llu\n", WIDTH, (unsigned long long)uj);
            if (pwrite(file[i], line, WIDTH + 1, 0) < 0) return perror("pwrite"), 1;
        }
        due += tick;
        double left = due - now();
        if (left < 0) { due = now(); left = 0; }
        struct timespec pause = {.tv_nsec = (long)(left * 1e9)};
        nanosleep(&pause, NULL);
        if (poll(&input, 1, 0) > 0) return 0;
    }
}
