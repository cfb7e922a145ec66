// Half precision by the compiler.
#pragma once
#include <cstring>

namespace emulation {

inline float from_half(unsigned short bits) {
    _Float16 x;
    std::memcpy(&x, &bits, sizeof x);
    return float(x);
}

inline unsigned short to_half(float x) {
    const _Float16 rounded = _Float16(x);
    unsigned short bits;
    std::memcpy(&bits, &rounded, sizeof bits);
    return bits;
}

} // namespace emulation
