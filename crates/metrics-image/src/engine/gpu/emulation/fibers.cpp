// Fibers that take turns at barriers, in changing orders so that nothing relies on one.

#include "shim/fibers.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <ucontext.h>
#include <vector>

namespace emulation {

// A function that leaves its stack: the sanitizers must not think of it as one that never returns.
#define LEAVES_ITS_STACK __attribute__((noinline, no_sanitize("address", "undefined")))

namespace {

// Room for the frames of a kernel that the sanitizers have blown up.
constexpr size_t STACK = 256 << 10;

struct Fiber {
    std::unique_ptr<char[]> stack;
    ucontext_t start;
    void* place[5]; // where it goes on, after the first time
    enum { READY, WAITING, DONE } state;
};

// What one thread of the host runs.
struct Host {
    std::vector<Fiber> fibers;
    void* scheduler[5];
    Grid grid;
    Outcome outcome;
    unsigned grids; // so far
};

Host& host() {
    static thread_local Host host;
    return host;
}

// Back to the scheduler, until it comes round again. The compiler's own jumps are much faster than switching contexts, which asks the
// system each time.
LEAVES_ITS_STACK void pause(int state) {
    Fiber& fiber = host().fibers[now.worker];
    fiber.state = static_cast<decltype(fiber.state)>(state);
    if (__builtin_setjmp(fiber.place) == 0) __builtin_longjmp(host().scheduler, 1);
}

// A fiber lives as long as the thread and runs one block after the other.
void live() {
    for (;;) {
        host().grid.body();
        pause(Fiber::DONE);
    }
}

LEAVES_ITS_STACK void resume(Fiber& fiber) {
    if (__builtin_setjmp(host().scheduler) != 0) return;
    if (fiber.stack) __builtin_longjmp(fiber.place, 1);
    fiber.stack.reset(new char[STACK]);
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = fiber.stack.get();
    fiber.start.uc_stack.ss_size = STACK;
    makecontext(&fiber.start, live, 0);
    setcontext(&fiber.start);
}

// Numbers in an order: rising, falling, or shuffled anew each time.
class Order {
    std::vector<unsigned> all;
    unsigned kind;
    std::minstd_rand random;

public:
    Order(unsigned count, unsigned turn) : all(count), kind(turn % 3), random(turn + 1) {
        std::iota(all.begin(), all.end(), 0);
        if (kind == 1) std::reverse(all.begin(), all.end());
    }

    const std::vector<unsigned>& next() {
        if (kind == 2) std::shuffle(all.begin(), all.end(), random);
        return all;
    }
};

// False if some of the threads came to a barrier that others did not come to.
bool run_block(Host& all) {
    Order order(all.grid.workers, all.grids + now.block);
    for (;;) {
        memory::next_phase();
        unsigned waiting = 0;
        for (unsigned worker : order.next()) {
            now.worker = worker;
            resume(all.fibers[worker]);
            waiting += all.fibers[worker].state == Fiber::WAITING;
        }
        if (waiting == 0) return true;
        if (waiting < all.grid.workers) return false;
    }
}

bool is_at(const char* place, const char* file, int line) {
    const char* slash = std::strrchr(file, '/');
    return std::string(slash ? slash + 1 : file) + ":" + std::to_string(line) == place;
}

} // namespace

void barrier(const char* file, int line) {
    if (host().grid.without && is_at(host().grid.without, file, line)) {
        host().outcome.left_out = true;
        return;
    }
    pause(Fiber::WAITING);
}

Outcome run(Grid grid) {
    Host& all = host();
    if (all.fibers.size() < grid.workers) all.fibers = std::vector<Fiber>(grid.workers);
    all.grid = std::move(grid);
    all.outcome = Outcome();
    all.grids++;
    memory::open_grid(all.grid.races);
    Order blocks(all.grid.blocks, all.grids);
    for (unsigned block : blocks.next()) {
        now.block = block;
        memory::open_block();
        if (!run_block(all)) {
            all.fibers.clear();
            all.outcome.fault = "some threads of a block wait at a barrier that others do not come to";
            break;
        }
    }
    const std::string fault = memory::close_grid();
    if (all.outcome.fault.empty()) all.outcome.fault = fault;
    return all.outcome;
}

} // namespace emulation
