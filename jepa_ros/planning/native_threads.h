// SPDX-License-Identifier: Apache-2.0
// Helper threads that share the blocks of one job at a time with the thread that asks for it.
//
// Not OpenMP: at the end of its loops every thread of the team must come by, also one that the system has not let run
// meanwhile. Here the asking thread takes blocks like any other and waits only for blocks that were begun, so that on a
// machine whose cores are busy with other processes a job costs little more than doing it alone.
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#define MAX_HELPERS 63
#define SPINS 4000  // a helper looks for the next job for some 100 microseconds before it sleeps

typedef void (*block_function)(void *job, int block);

static struct {
    pthread_mutex_t busy;  // held by the thread whose job runs
    pthread_mutex_t lock;  // of what follows
    pthread_cond_t wake;
    atomic_uint number;  // of the newest job
    int open, helpers;
    pid_t owner;
    block_function function;
    void *job;
    int blocks;
    atomic_int next, inside;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_blocks(block_function function, void *job, int blocks) {
    for (int block; (block = atomic_fetch_add(&pool.next, 1)) < blocks;) function(job, block);
}

static void *helper(void *unused) {
    unsigned seen = atomic_load(&pool.number);
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load(&pool.number) == seen; i++) pause_briefly();
        pthread_mutex_lock(&pool.lock);
        while (atomic_load(&pool.number) == seen) pthread_cond_wait(&pool.wake, &pool.lock);
        seen = atomic_load(&pool.number);
        const int open = pool.open, blocks = pool.blocks;
        block_function function = pool.function;
        void *job = pool.job;
        if (open) atomic_fetch_add(&pool.inside, 1);
        pthread_mutex_unlock(&pool.lock);
        if (!open) continue;  // came too late
        take_blocks(function, job, blocks);
        atomic_fetch_sub(&pool.inside, 1);
    }
    return unused;
}

static void start_helpers(int wanted) {  // with the lock held
    if (pool.owner != getpid()) {        // the first time, or in a child process, which inherits no threads
        pool.owner = getpid();
        pool.helpers = 0;
        atomic_store(&pool.inside, 0);
        pthread_cond_init(&pool.wake, 0);
    }
    while (pool.helpers < wanted && pool.helpers < MAX_HELPERS) {
        pthread_t thread;
        if (pthread_create(&thread, 0, helper, 0)) return;  // then with those there are
        pthread_detach(thread);
        pool.helpers++;
    }
}

// Run function(job, 0 .. blocks - 1) on up to `threads` threads, this one included.
static void share(block_function function, void *job, int blocks, int threads) {
    if (threads < 2 || blocks < 2 || pthread_mutex_trylock(&pool.busy)) {
        for (int block = 0; block < blocks; block++) function(job, block);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    start_helpers(threads - 1);
    pool.function = function;
    pool.job = job;
    pool.blocks = blocks;
    pool.open = 1;
    atomic_store(&pool.next, 0);
    atomic_fetch_add(&pool.number, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    take_blocks(function, job, blocks);
    pthread_mutex_lock(&pool.lock);
    pool.open = 0;
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; atomic_load(&pool.inside); i++) {
        if (i < SPINS) pause_briefly();
        else sched_yield();
    }
    pthread_mutex_unlock(&pool.busy);
}
