// The memory of a block, and a watch over who reads and writes it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace emulation {

// The last accesses to a cell of the memory of a block: in which phases, and by whom.
struct Cell {
    unsigned written, read;
    unsigned writer, reader;
};

// What is asked at each access: plain numbers, so that no access has to make sure that they are there.
struct Now {
    unsigned worker, block;
    bool watching;
    uintptr_t room; // where the memory of the block lies
    size_t bytes;   // and how much of it is watched
    Cell* cells;
    unsigned phase, first_phase; // the running phase, and the first one of the block
};
extern __thread Now now;

// The memory that the threads of a block share. It starts as NaN in each block.
void* block_memory(size_t bytes);

namespace memory {

// Memory that the threads of the next grid write: no byte of it may be written by two of them.
void watch_output(void* from, size_t bytes);

// `races`: whether accesses are watched at all.
void open_grid(bool races);
void open_block();
// A phase ends where all threads of a block have come to a barrier.
void next_phase();
// What went wrong first, or nothing.
std::string close_grid();

} // namespace memory
} // namespace emulation

// What declares the memory of a block, in both dialects.
#define BLOCK_MEMORY(T, NAME, COUNT) T* const NAME = static_cast<T*>(::emulation::block_memory(sizeof(T) * (COUNT)))
