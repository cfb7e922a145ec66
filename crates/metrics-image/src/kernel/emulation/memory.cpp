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
namespace {

constexpr size_t CELL = 4; // bytes of the smallest number in the memory of a block
constexpr unsigned NOBODY = ~0u, SEVERAL = ~1u;

// The last accesses to a cell: in which phases, and by whom.
struct Cell {
    unsigned written = 0, read = 0;
    unsigned writer = NOBODY, reader = NOBODY;
};

// What a grid writes, and which thread of which block wrote each byte.
struct Output {
    uintptr_t from;
    std::vector<uint64_t> owners;
};

struct Watch {
    std::unique_ptr<unsigned char[]> room;
    size_t bytes = 0;
    bool opened = false; // whether this block has its memory
    unsigned phase = 0, first_phase = 0;
    std::vector<Cell> cells;
    std::vector<Output> outputs;
    bool races = true;
    std::string fault;
};

Watch& watch() {
    static thread_local Watch watch;
    return watch;
}

// Where the memory of the block lies while a grid runs: asked at each access, so without a guard.
thread_local uintptr_t room_from = 0;
thread_local size_t room_bytes = 0;
thread_local bool watching = false;

void report(const std::string& what, size_t at, const char* where) {
    std::string& fault = watch().fault;
    if (fault.empty()) fault = what + " byte " + std::to_string(at) + " of " + where;
}

std::string me() { return "thread " + std::to_string(worker()) + " of block " + std::to_string(block()); }

std::string me_and(unsigned other) {
    return me() + " and " + (other == SEVERAL ? "several others" : "thread " + std::to_string(other));
}

void touch(Watch& all, size_t at, bool writes) {
    static const char WHERE[] = "the memory of the block, with no barrier between";
    Cell& cell = all.cells[at / CELL];
    const unsigned here = worker();
    if (!writes && cell.written < all.first_phase) {
        report(me() + " reads", at, "the memory of the block, which no thread wrote");
    } else if (cell.written == all.phase && cell.writer != here) {
        report(me_and(cell.writer) + (writes ? " both write" : " read and write"), at, WHERE);
    } else if (writes && cell.read == all.phase && cell.reader != here) {
        report(me_and(cell.reader) + " write and read", at, WHERE);
    }
    if (writes) {
        cell.written = all.phase;
        cell.writer = here;
    } else {
        cell.reader = cell.read == all.phase && cell.reader != here ? SEVERAL : here;
        cell.read = all.phase;
    }
}

void own(Output& output, size_t at) {
    const uint64_t here = uint64_t(block()) << 32 | worker();
    uint64_t& owner = output.owners[at];
    if (owner != ~uint64_t(0) && owner != here) {
        report(me_and(unsigned(owner)) + " of block " + std::to_string(owner >> 32) + " both write", at, "a result");
    }
    owner = here;
}

inline void access(const void* address, size_t bytes, bool writes) {
    if (!watching) return;
    const uintptr_t from = reinterpret_cast<uintptr_t>(address);
    if (from - room_from < room_bytes) {
        Watch& all = watch();
        for (size_t at = from - room_from; at < from - room_from + bytes && at < room_bytes; at += CELL) touch(all, at, writes);
        return;
    }
    if (!writes) return;
    for (Output& output : watch().outputs) {
        for (size_t at = from - output.from; at < output.owners.size() && at < from - output.from + bytes; at++) own(output, at);
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
    if (all.races) {
        room_from = reinterpret_cast<uintptr_t>(all.room.get());
        room_bytes = bytes;
    }
    return all.room.get();
}

namespace memory {

void watch_output(void* from, size_t bytes) {
    watch().outputs.push_back({reinterpret_cast<uintptr_t>(from), std::vector<uint64_t>(bytes, ~uint64_t(0))});
}

void open_grid(bool races) {
    Watch& all = watch();
    all.races = watching = races;
    all.fault.clear();
}

void open_block() {
    Watch& all = watch();
    all.opened = false;
    all.first_phase = all.phase + 1;
    // Numbers of phases are not used twice.
    if (all.phase > ~0u / 2) {
        all.cells.assign(all.cells.size(), Cell());
        all.phase = 0;
        all.first_phase = 1;
    }
}

void next_phase() { watch().phase++; }

std::string close_grid() {
    watching = false;
    room_bytes = 0;
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
