/* A computer whose clock is wrong, or which was suspended: preloaded into a real process, it moves
   CLOCK_REALTIME by the seconds in the file named by WRONG_CLOCK, reports to adjtimex(2) what that
   file says, and has both CLOCK_REALTIME and CLOCK_BOOTTIME go on by the seconds asleep. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timex.h>
#include <time.h>

static void told(long *seconds, int *synced, long *asleep) {
    *seconds = *asleep = 0;
    *synced = 0;
    FILE *file = fopen(getenv("WRONG_CLOCK"), "r");
    if (!file) return;
    if (fscanf(file, "%ld %d %ld", seconds, synced, asleep) < 2) abort();
    fclose(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if ((clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME) && status == 0) {
        long seconds, asleep;
        int synced;
        told(&seconds, &synced, &asleep);
        now->tv_sec += asleep + (clock == CLOCK_REALTIME ? seconds : 0);
    }
    return status;
}

int adjtimex(struct timex *state) {
    long seconds, asleep;
    int synced;
    told(&seconds, &synced, &asleep);
    state->maxerror = synced ? 25000 : 16000000;
    state->esterror = synced ? 400 : 16000000;
    return synced ? TIME_OK : TIME_ERROR;
}
