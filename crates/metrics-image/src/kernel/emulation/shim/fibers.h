// Runs a block of a kernel: each of its threads is a fiber, and a barrier switches to the next one.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

namespace emulation {

// A function that leaves its stack: the sanitizers must not think of it as one that never returns.
#define LEAVES_ITS_STACK __attribute__((noinline, no_sanitize("address", "undefined")))

// Room for the frames of a kernel that the sanitizers have blown up.
constexpr size_t STACK = 256 << 10;

struct Fiber {
    std::unique_ptr<char[]> stack;
    ucontext_t start;
    void* place[5]; // where it goes on, after the first time
    enum { READY, WAITING, DONE } state;
};

struct Block {
    std::vector<Fiber> fibers;
    void* scheduler[5];
    std::function<void()> body;
    unsigned worker; // the one that runs
    unsigned index;  // of the block in its grid
    bool backwards;  // in which order they run, so that nothing relies on it
};

inline Block& block() {
    static thread_local Block block;
    return block;
}

// Back to the scheduler, until it comes round again. The compiler's own jumps are much faster than switching contexts, which asks the
// system each time.
LEAVES_ITS_STACK inline void pause(int state) {
    Fiber& fiber = block().fibers[block().worker];
    fiber.state = static_cast<decltype(fiber.state)>(state);
    if (__builtin_setjmp(fiber.place) == 0) __builtin_longjmp(block().scheduler, 1);
}

inline void barrier() { pause(Fiber::WAITING); }

// A fiber lives as long as the thread and runs one block after the other.
inline void live() {
    for (;;) {
        block().body();
        pause(Fiber::DONE);
    }
}

LEAVES_ITS_STACK inline void resume(Fiber& fiber) {
    if (__builtin_setjmp(block().scheduler) != 0) return;
    if (fiber.stack) __builtin_longjmp(fiber.place, 1);
    fiber.stack.reset(new char[STACK]);
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = fiber.stack.get();
    fiber.start.uc_stack.ss_size = STACK;
    makecontext(&fiber.start, live, 0);
    setcontext(&fiber.start);
}

// False if some of the threads came to a barrier that others did not come to.
inline bool run_block(unsigned workers) {
    Block& all = block();
    for (;;) {
        unsigned waiting = 0;
        for (unsigned turn = 0; turn < workers; turn++) {
            all.worker = all.backwards ? workers - 1 - turn : turn;
            Fiber& fiber = all.fibers[all.worker];
            resume(fiber);
            waiting += fiber.state == Fiber::WAITING;
        }
        if (waiting == 0) return true;
        if (waiting < workers) return false;
    }
}

// `body` is what one thread does. Every other grid runs backwards.
inline bool run_grid(unsigned blocks, unsigned workers, std::function<void()> body) {
    static thread_local bool backwards = false;
    Block& all = block();
    if (all.fibers.size() < workers) all.fibers = std::vector<Fiber>(workers);
    all.body = std::move(body);
    all.backwards = backwards = !backwards;
    for (unsigned index = 0; index < blocks; index++) {
        all.index = index;
        if (!run_block(workers)) {
            all.fibers.clear();
            return false;
        }
    }
    return true;
}

} // namespace emulation
