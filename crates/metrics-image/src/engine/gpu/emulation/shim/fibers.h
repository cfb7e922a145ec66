// Runs a block of a kernel: each of its threads is a fiber, and a barrier switches to the next one.
#pragma once
#include <cstddef>
#include <functional>
#include <string>

#include "memory.h"

namespace emulation {

// Waits for the other threads of the block. The place is that of the barrier in the text of the kernels.
void barrier(const char* file, int line);

// A grid of threads, and what they do.
struct Grid {
    unsigned blocks, workers;
    std::function<void()> body;
    const char* without; // the place of a barrier that is left out, as "scan.h:12", or null
    bool races;          // whether to look for races
};

struct Outcome {
    bool left_out = false; // whether a thread came to the barrier that is left out
    std::string fault;     // what went wrong first, or nothing
};

Outcome run(Grid grid);

} // namespace emulation
