// The memory of a block, and a watch over who reads and writes it.
#pragma once
#include <cstddef>
#include <string>

namespace emulation {

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
