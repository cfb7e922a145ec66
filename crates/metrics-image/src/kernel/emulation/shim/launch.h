// Calls kernels by name, with an array of pointers to their arguments.
#pragma once
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "fibers.h"

namespace emulation {

template <auto KERNEL>
struct Call;

template <class... Args, void (*KERNEL)(Args...)>
struct Call<KERNEL> {
    static void with(void* const* args) { unpack(args, std::index_sequence_for<Args...>()); }

private:
    template <size_t... AT>
    static void unpack(void* const* args, std::index_sequence<AT...>) {
        KERNEL(*static_cast<std::remove_reference_t<Args>*>(args[AT])...);
    }
};

struct Kernel {
    const char* name;
    void (*call)(void* const* args);
    bool each; // whether it is told the thread's place in the grid, instead of the block and the place in it
};

enum Outcome { DONE, UNKNOWN, STUCK };

// `told`: whether the place of the thread comes as arguments.
template <size_t COUNT>
int launch(const Kernel (&kernels)[COUNT], bool told, const char* name, void* const* args, size_t count, unsigned blocks, unsigned workers) {
    for (const Kernel& kernel : kernels) {
        if (std::strcmp(kernel.name, name) != 0) continue;
        const auto body = [&] {
            if (!told) return kernel.call(args);
            unsigned index = block().index, worker = block().worker, at = index * workers + worker;
            std::vector<void*> all(args, args + count);
            all.push_back(kernel.each ? &at : &index);
            all.push_back(&worker);
            kernel.call(all.data());
        };
        return run_grid(blocks, workers, body) ? DONE : STUCK;
    }
    return UNKNOWN;
}

} // namespace emulation
