// Calls kernels by name, with an array of pointers to their arguments.
#pragma once
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "fibers.h"
#include "memory.h"

// Compiled twice: as it is, and with a call before each access to memory, which takes three times as long.
#ifdef WATCHED
#define ENTRY_OF(DIALECT) watch_##DIALECT
#else
#define ENTRY_OF(DIALECT) emulate_##DIALECT
#endif

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
};

// What to run, and how it went; as in `lib.rs`.
struct Launch {
    const char* name;
    void* const* args;
    size_t count;
    const size_t* written; // how many bytes behind each argument the kernel writes
    unsigned blocks, workers;
    const char* without; // the barrier that is left out, or null
    bool races;          // whether the kernels are those that are watched
    bool left_out;       // whether a thread came to that barrier
    char fault[256];     // what went wrong, or nothing
};

// `told`: whether the place of the thread comes as arguments.
template <size_t COUNT>
void launch(const Kernel (&kernels)[COUNT], bool told, Launch& to) {
    for (const Kernel& kernel : kernels) {
        if (std::strcmp(kernel.name, to.name) != 0) continue;
        for (size_t at = 0; at < to.count; at++) {
            if (to.written[at]) memory::watch_output(*static_cast<void* const*>(to.args[at]), to.written[at]);
        }
        const auto body = [&] {
            if (!told) return kernel.call(to.args);
            unsigned index = now.block, thread = now.worker;
            std::vector<void*> all(to.args, to.args + to.count);
            all.push_back(&index);
            all.push_back(&thread);
            kernel.call(all.data());
        };
        const Outcome outcome = run({to.blocks, to.workers, body, to.without, to.races});
        to.left_out = outcome.left_out;
        std::snprintf(to.fault, sizeof to.fault, "%s", outcome.fault.c_str());
        return;
    }
    std::snprintf(to.fault, sizeof to.fault, "there is no such kernel");
}

} // namespace emulation
