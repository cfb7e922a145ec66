// As much of CUDA as the kernels use, in C++.
#pragma once
#include <cmath>
#include <cstring>

#include "fibers.h"

#define __device__
#define ENTRY(NAME, THREADS, BLOCKS) static void NAME
#define __forceinline__ inline
#define __grid_constant__

struct EmulatedIndex {
    bool of_block;
    struct X {
        bool of_block;
        operator unsigned() const { return of_block ? emulation::now.block : emulation::now.worker; }
    } x{of_block};
};
static const EmulatedIndex blockIdx{true}, threadIdx{false};

#define __syncthreads() emulation::barrier(__FILE__, __LINE__)
#define __syncwarp() emulation::barrier(__FILE__, __LINE__)

inline float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, sizeof x);
    return bits;
}
using std::fma;
using std::log;
using std::pow;
using std::sqrt;
