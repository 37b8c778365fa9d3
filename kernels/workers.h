/* Threads that share a kernel's tasks with the thread that calls it.

   Why not OpenMP: it waits at the end for every thread, and one that BLAS's or another library's threads keep from its
   core comes late, by up to a tick of the scheduler (4 ms). Here nobody waits for a thread that has not begun: each has a
   share of the tasks, in one piece, and takes those of the others when it is done with its own.

   Idle workers look for work for some 50 µs and then sleep. To wake one takes 15 µs of the caller's time, so that a small
   call does without those that sleep. A call from a second thread at the same time runs alone.
   After a fork the child begins with no workers. */
#include <stddef.h>

/* `who` is a number below the number of threads that no other thread has meanwhile: it may choose a task's scratch memory. */
typedef void (*tinybn_task)(void *work, ptrdiff_t i, int who);

#if defined(__GNUC__) && !defined(_WIN32)
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#if defined(__linux__) && defined(CPU_SETSIZE)
#define TINYBN_PLACES 1
#else
#define TINYBN_PLACES 0
#endif

enum { TINYBN_WORKERS = 63, TINYBN_SPIN = 2000, TINYBN_STACK = 1 << 20 };
enum {
    TINYBN_WORTH_WAKING = 9 << 19,  /* bytes that a call moves: 60 µs on one core with AVX-512 */
    TINYBN_CLOSE = 100000           /* nanoseconds from a small call to the next, if they are to be of one loop */
};

typedef struct {
    ptrdiff_t next, begin, end;
    char apart[40];                 /* shares on lines of their own: the counters are written all the time */
} tinybn_share_of_tasks;

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int started, sleeping;          /* workers */
    pthread_t worker[TINYBN_WORKERS];
    int busy;                       /* somebody's tasks are being done */
    unsigned job;                   /* a number for each call */
    unsigned open;                  /* the job that may be entered, or 0 */
    int inside;                     /* workers that have entered */
    int shares, backwards;
    tinybn_task task;
    void *work;
    tinybn_share_of_tasks share[TINYBN_WORKERS + 1];
} tinybn_pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, {0}, 0, 0, 0, 0, 0, 0, NULL, NULL, {{0, 0, 0, {0}}}};

static void tinybn_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");        /* about as long as x86's pause; `yield` does nothing on most */
#endif
}

/* The tasks of one's own share, then those that the others have not begun. */
static void tinybn_take_tasks(int own)
{
    for (int s = 0; s < tinybn_pool.shares; s++) {
        tinybn_share_of_tasks *share = &tinybn_pool.share[(own + s) % tinybn_pool.shares];
        ptrdiff_t i;
        while ((i = __atomic_fetch_add(&share->next, 1, __ATOMIC_RELAXED)) < share->end)
            tinybn_pool.task(tinybn_pool.work, tinybn_pool.backwards ? share->begin + share->end - 1 - i : i, own);
    }
}

static void *tinybn_worker(void *number)
{
    int own = (int)(ptrdiff_t)number;
    unsigned seen = 0;
    for (;;) {
        for (int i = 0; i < TINYBN_SPIN && __atomic_load_n(&tinybn_pool.job, __ATOMIC_ACQUIRE) == seen; i++)
            tinybn_pause();
        if (__atomic_load_n(&tinybn_pool.job, __ATOMIC_ACQUIRE) == seen) {
            pthread_mutex_lock(&tinybn_pool.mutex);
            __atomic_fetch_add(&tinybn_pool.sleeping, 1, __ATOMIC_SEQ_CST);
            while (__atomic_load_n(&tinybn_pool.job, __ATOMIC_SEQ_CST) == seen)
                pthread_cond_wait(&tinybn_pool.wake, &tinybn_pool.mutex);
            __atomic_fetch_sub(&tinybn_pool.sleeping, 1, __ATOMIC_SEQ_CST);
            pthread_mutex_unlock(&tinybn_pool.mutex);
        }
        seen = __atomic_load_n(&tinybn_pool.job, __ATOMIC_ACQUIRE);
        __atomic_fetch_add(&tinybn_pool.inside, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&tinybn_pool.open, __ATOMIC_SEQ_CST) == seen && own < tinybn_pool.shares)
            tinybn_take_tasks(own);
        __atomic_fetch_sub(&tinybn_pool.inside, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

/* Sleeping workers shall wake up on other cores than this one. Left to itself, Linux wakes them here after a pause of
   10 ms, behind the thread that calls, and notices the idle cores some milliseconds later. */
static void tinybn_send_away(void)
{
#if TINYBN_PLACES
    cpu_set_t others;
    int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE || pthread_getaffinity_np(pthread_self(), sizeof others, &others) != 0)
        return;
    CPU_CLR(here, &others);
    if (CPU_COUNT(&others))
        for (int i = 0; i < tinybn_pool.started; i++)
            pthread_setaffinity_np(tinybn_pool.worker[i], sizeof others, &others);
#endif
}

static void tinybn_forget_workers(void)
{
    pthread_mutex_init(&tinybn_pool.mutex, NULL);
    pthread_cond_init(&tinybn_pool.wake, NULL);
    tinybn_pool.started = tinybn_pool.sleeping = tinybn_pool.busy = tinybn_pool.inside = 0;
    tinybn_pool.open = 0;           /* the job of a thread that was in the middle of it is not the child's */
}

/* As many workers as wanted, or as the system gives. They leave signals to the threads that are Python's. */
static void tinybn_start_workers(int wanted)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    static int watching_forks = 0;
    if (!watching_forks)
        watching_forks = pthread_atfork(NULL, NULL, tinybn_forget_workers) == 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, TINYBN_STACK);
    while (tinybn_pool.started < wanted
           && pthread_create(&tinybn_pool.worker[tinybn_pool.started], &attributes, tinybn_worker,
                             (void *)(ptrdiff_t)(tinybn_pool.started + 1)) == 0)
        tinybn_pool.started++;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* How many of these threads are of use to a call that moves so many bytes: one, if it is small and has to wake the others;
   but in a loop of small calls the second one wakes them for the rest. */
static int tinybn_useful_threads(int threads, size_t bytes)
{
    static long long last = 0;
    struct timespec clock;
    if (threads <= 1 || bytes >= TINYBN_WORTH_WAKING)
        return threads;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    long long now = clock.tv_sec * 1000000000LL + clock.tv_nsec, before = __atomic_exchange_n(&last, now, __ATOMIC_RELAXED);
    int awake = tinybn_pool.started >= threads - 1 && !__atomic_load_n(&tinybn_pool.sleeping, __ATOMIC_RELAXED);
    return awake || now - before < TINYBN_CLOSE ? threads : 1;
}

/* task(work, i) for i from 0 to count - 1, on so many threads, this one among them. */
static void tinybn_share(tinybn_task task, void *work, ptrdiff_t count, int threads, int backwards)
{
    int shares = threads < TINYBN_WORKERS + 1 ? threads : TINYBN_WORKERS + 1;
    if (shares > count)
        shares = (int)count;
    if (shares <= 1 || __atomic_exchange_n(&tinybn_pool.busy, 1, __ATOMIC_ACQUIRE)) {
        for (ptrdiff_t i = 0; i < count; i++)
            task(work, backwards ? count - 1 - i : i, 0);
        return;
    }
    if (tinybn_pool.started < shares - 1)
        tinybn_start_workers(shares - 1);
    tinybn_pool.task = task;
    tinybn_pool.work = work;
    tinybn_pool.shares = shares;
    tinybn_pool.backwards = backwards;
    for (int s = 0; s < shares; s++) {
        tinybn_pool.share[s].begin = tinybn_pool.share[s].next = count * s / shares;
        tinybn_pool.share[s].end = count * (s + 1) / shares;
    }
    unsigned job = tinybn_pool.job + 1 ? tinybn_pool.job + 1 : 1;
    __atomic_store_n(&tinybn_pool.open, job, __ATOMIC_SEQ_CST);
    __atomic_store_n(&tinybn_pool.job, job, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&tinybn_pool.sleeping, __ATOMIC_SEQ_CST)) {
        tinybn_send_away();
        pthread_mutex_lock(&tinybn_pool.mutex);
        pthread_cond_broadcast(&tinybn_pool.wake);
        pthread_mutex_unlock(&tinybn_pool.mutex);
    }
    tinybn_take_tasks(0);
    /* All tasks have been taken. Who has entered is about to finish one; nobody enters any more. */
    __atomic_store_n(&tinybn_pool.open, 0, __ATOMIC_SEQ_CST);
    for (int i = 0; __atomic_load_n(&tinybn_pool.inside, __ATOMIC_SEQ_CST); i++) {
        if (i < TINYBN_SPIN)
            tinybn_pause();
        else
            sched_yield();
    }
    __atomic_store_n(&tinybn_pool.busy, 0, __ATOMIC_RELEASE);
}

#else

static int tinybn_useful_threads(int threads, size_t bytes)
{
    (void)bytes;
    return threads;
}

static void tinybn_share(tinybn_task task, void *work, ptrdiff_t count, int threads, int backwards)
{
    (void)threads;
    for (ptrdiff_t i = 0; i < count; i++)
        task(work, backwards ? count - 1 - i : i, 0);
}

#endif
