// The watch over the memory of a block and over what a grid writes.
//
// The compiler puts a call before each access to memory (`-fsanitize=thread`); the functions that it calls are here, in place of
// ThreadSanitizer's. Between two barriers nothing orders the threads of a block: when two of them come to the same place then, and
// one of them writes, that is a race, in whatever order they ran. Nothing at all orders threads that write to the results.

#include "shim/memory.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "shim/fibers.h"

namespace emulation {

__thread Now now __attribute__((tls_model("initial-exec")));

namespace {

constexpr size_t CELL = 4; // bytes of the smallest number in the memory of a block
constexpr unsigned SEVERAL = ~0u;

// What a grid writes, and which thread of which block wrote each byte.
struct Output {
    uintptr_t from;
    std::vector<uint64_t> owners;
};

struct Watch {
    std::unique_ptr<unsigned char[]> room;
    size_t bytes = 0;
    bool opened = false; // whether this block has its memory
    std::vector<Cell> cells;
    std::vector<Output> outputs;
    std::string fault;
};

Watch& watch() {
    static thread_local Watch watch;
    return watch;
}

void report(const std::string& what, size_t at, const char* where) {
    std::string& fault = watch().fault;
    if (fault.empty()) fault = what + " byte " + std::to_string(at) + " of " + where;
}

std::string me() { return "thread " + std::to_string(now.worker) + " of block " + std::to_string(now.block); }

std::string me_and(unsigned other) {
    return me() + " and " + (other == SEVERAL ? "several others" : "thread " + std::to_string(other));
}

// Says what is wrong with an access.
__attribute__((noinline)) void blame(const Cell& cell, size_t at, bool writes) {
    static const char WHERE[] = "the memory of the block, with no barrier between";
    if (!writes && cell.written < now.first_phase) {
        report(me() + " reads", at, "the memory of the block, which no thread wrote");
    } else if (cell.written == now.phase && cell.writer != now.worker) {
        report(me_and(cell.writer) + (writes ? " both write" : " read and write"), at, WHERE);
    } else {
        report(me_and(cell.reader) + " write and read", at, WHERE);
    }
}

inline void touch(size_t at, bool writes) {
    Cell& cell = now.cells[at / CELL];
    const bool written = cell.written == now.phase && cell.writer != now.worker;
    const bool read = cell.read == now.phase && cell.reader != now.worker;
    if (written || (writes ? read : cell.written < now.first_phase)) blame(cell, at, writes);
    if (writes) {
        cell.written = now.phase;
        cell.writer = now.worker;
    } else {
        cell.read = now.phase;
        cell.reader = read ? SEVERAL : now.worker;
    }
}

void own(Output& output, size_t at) {
    const uint64_t here = uint64_t(now.block) << 32 | now.worker;
    uint64_t& owner = output.owners[at];
    if (owner != ~uint64_t(0) && owner != here) {
        report(me_and(unsigned(owner)) + " of block " + std::to_string(owner >> 32) + " both write", at, "a result");
    }
    owner = here;
}

__attribute__((noinline)) void result(uintptr_t from, size_t bytes) {
    for (Output& output : watch().outputs) {
        for (size_t at = from - output.from; at < output.owners.size() && at < from - output.from + bytes; at++) own(output, at);
    }
}

inline void access(const void* address, size_t bytes, bool writes) {
    const uintptr_t from = reinterpret_cast<uintptr_t>(address);
    const size_t first = from - now.room;
    if (first < now.bytes) {
        for (size_t at = first; at < first + bytes && at < now.bytes; at += CELL) touch(at, writes);
    } else if (writes && now.watching) {
        result(from, bytes);
    }
}

} // namespace

void* block_memory(size_t bytes) {
    Watch& all = watch();
    if (all.bytes != bytes) {
        // Of the very size, for AddressSanitizer to watch its ends.
        all.room.reset(new unsigned char[bytes]);
        all.bytes = bytes;
        all.cells.assign(bytes / CELL, Cell());
    }
    if (!all.opened) {
        all.opened = true;
        std::memset(all.room.get(), 0xff, bytes);
    }
    now.room = reinterpret_cast<uintptr_t>(all.room.get());
    now.bytes = now.watching ? bytes : 0;
    now.cells = all.cells.data();
    return all.room.get();
}

namespace memory {

void watch_output(void* from, size_t bytes) {
    watch().outputs.push_back({reinterpret_cast<uintptr_t>(from), std::vector<uint64_t>(bytes, ~uint64_t(0))});
}

void open_grid(bool races) {
    now.watching = races;
    watch().fault.clear();
}

void open_block() {
    Watch& all = watch();
    all.opened = false;
    // Numbers of phases are not used twice.
    if (now.phase > ~0u / 2) {
        all.cells.assign(all.cells.size(), Cell());
        now.phase = 0;
    }
    now.first_phase = now.phase + 1;
}

void next_phase() { now.phase++; }

std::string close_grid() {
    now.watching = false;
    now.bytes = 0;
    watch().outputs.clear();
    return watch().fault;
}

} // namespace memory
} // namespace emulation

#define ACCESS(NAME, BYTES)                                                                            \
    extern "C" void __tsan_read##NAME(void* address) { emulation::access(address, BYTES, false); }     \
    extern "C" void __tsan_write##NAME(void* address) { emulation::access(address, BYTES, true); }     \
    extern "C" void __tsan_unaligned_read##NAME(void* address) { emulation::access(address, BYTES, false); } \
    extern "C" void __tsan_unaligned_write##NAME(void* address) { emulation::access(address, BYTES, true); }

ACCESS(1, 1)
ACCESS(2, 2)
ACCESS(4, 4)
ACCESS(8, 8)
ACCESS(16, 16)

extern "C" void __tsan_read_range(void* address, size_t bytes) { emulation::access(address, bytes, false); }
extern "C" void __tsan_write_range(void* address, size_t bytes) { emulation::access(address, bytes, true); }
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
