// What all kernels share: pixels, sums, and the parameters of a launch.
//
// This text is CUDA C++ and Metal at once. The dialect that comes before it names the address spaces (DEVICE, LOCAL, CONSTANT,
// PRIVATE), FUNCTION, UNROLL, BARRIER, the integer types, `Number` (in which results are kept), `HAS_DOUBLE`, `reciprocal`,
// `as_float`, `as_uint`, `from_half` and `to_half`.

enum { MAX_TAPS = 33, MAX_VOLUME_TAPS = 11 };

// ---- pixels

struct Half {
    u16 bits;
};

struct Bfloat {
    u16 bits;
};

// The type that pixels are computed in.
template <class P>
struct RealOf {
    typedef float Type;
};

#if HAS_DOUBLE
template <>
struct RealOf<double> {
    typedef double Type;
};
FUNCTION double load(DEVICE const double* from, i64 at) { return from[at]; }
FUNCTION void store(DEVICE double* to, i64 at, double value) { to[at] = value; }
#endif

FUNCTION float load(DEVICE const float* from, i64 at) { return from[at]; }
FUNCTION float load(DEVICE const u8* from, i64 at) { return float(from[at]); }
FUNCTION float load(DEVICE const Half* from, i64 at) { return from_half(from[at].bits); }
FUNCTION float load(DEVICE const Bfloat* from, i64 at) { return as_float(u32(from[at].bits) << 16); }

FUNCTION void store(DEVICE float* to, i64 at, float value) { to[at] = value; }
FUNCTION void store(DEVICE u8*, i64, float) {} // integers have no gradient; the value kernels only have to compile
FUNCTION void store(DEVICE Half* to, i64 at, float value) { to[at].bits = to_half(value); }

// To the nearest, ties to even; NaN stays one.
FUNCTION void store(DEVICE Bfloat* to, i64 at, float value) {
    const u32 bits = as_uint(value);
    const u32 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    to[at].bits = u16(value == value ? rounded : (bits >> 16) | 0x40u);
}

// ---- sums

// A sum of many numbers as an unevaluated sum of two, for devices on which f64 is slow or missing.
template <class T>
struct Total {
    T high;
    T low;
};

template <class T>
FUNCTION void add(PRIVATE Total<T>& total, T value) {
    const T sum = total.high + value;
    const T share = sum - total.high;
    total.low += (total.high - (sum - share)) + (value - share);
    total.high = sum;
}

// Beyond the largest number `low` is NaN and `high` says all there is to say.
template <class T>
FUNCTION Number number(Total<T> total) {
    return total.low - total.low == T(0) ? Number(total.high) + Number(total.low) : Number(total.high);
}

// The total of all threads, in a fixed order, to thread 0; `room` holds two numbers for each thread.
template <class T>
FUNCTION Total<T> reduce(Total<T> total, LOCAL T* room, i32 worker, i32 workers) {
    BARRIER();
    room[worker] = total.high;
    room[workers + worker] = total.low;
    for (i32 step = workers / 2; step > 0; step /= 2) {
        BARRIER();
        if (worker < step) {
            add(total, room[worker + step]);
            total.low += room[workers + worker + step];
            room[worker] = total.high;
            room[workers + worker] = total.low;
        }
    }
    return total;
}

// ---- parameters

// What a plane is measured for; the order of partial sums, slopes and rows.
enum { SSIM, CONTRAST, SQUARED, ABSOLUTE, QUANTITIES };

// Where the weights of a gradient come from.
enum {
    FORESEEN,  // the slopes, before they are known
    UPSTREAM,  // the rows that came from above
    CORRECTED, // those rows, but what was made for the same slopes stays as it is
};

// Axes are slices, rows and columns. The lines of a flat image are its slices, of one row each.
template <class T>
struct Params {
    i64 strides[2][5]; // of both images, by image, channel and axis, in pixels
    i64 counts[2];     // pixels of the map, and those of them whose contrast counts
    T taps[3][MAX_TAPS];
    T luminance;          // 2 k1²
    T contrast;           // 2 k2² over the factor on the covariance
    T range;              // the data range, unless each image has its own
    T spread;             // 1, or 0 under a window of one pixel, which has no variance
    T slopes[QUANTITIES]; // foreseen derivatives with respect to the quantities
    T near;               // by how much slopes may differ and still count as foreseen, relatively
    T sign;               // 1 for the gradient with respect to the first image, -1 for the second
    T unused;
    i32 input[3];
    i32 map[3];
    i32 window[3];
    i32 lead[3];  // padding lines before the first
    i32 crop[3];  // lines at both ends of the map whose contrast does not count
    i32 owned[3]; // size of a tile of results
    i32 tiles[3]; // how many there are
    i32 coarse[3];
    i32 coarse_lead[3]; // lines before the first where lines meet in pairs
    i32 rows[QUANTITIES]; // where each quantity stands among the results; -1 if nowhere
    i32 channels;
    i32 planes;
    i32 mirror;      // whether the border is mirrored
    i32 per_image;   // whether each image has its own data range
    i32 scored[2];   // whether SSIM is wanted, and contrast
    i32 errors;      // whether errors are wanted
    i32 map_of;      // SSIM or CONTRAST, if a map of it is wanted or is what the gradient comes from; else -1
    i32 weights;     // FORESEEN, UPSTREAM or CORRECTED
    i32 sums;        // whether partial sums are wanted
    i32 repeat;      // whether a line before the first is the first again, not zeros
    i32 flat;        // whether images are flat
    i32 add_coarser; // whether a gradient comes from a coarser scale
    i32 dense;       // whether the pixels of a plane lie one after another in both images
};

// Where pixel (0, 0, 0) of a plane lies in image `which`.
template <class T>
FUNCTION i64 plane_start(CONSTANT Params<T>& p, i32 which, i32 plane) {
    return i64(plane / p.channels) * p.strides[which][0] + i64(plane % p.channels) * p.strides[which][1];
}

template <class T>
FUNCTION i64 offset(CONSTANT Params<T>& p, i32 which, i32 slice, i32 row, i32 column) {
    return i64(slice) * p.strides[which][2] + i64(row) * p.strides[which][3] + i64(column) * p.strides[which][4];
}

// The derivative with respect to a quantity of a plane.
template <class T>
FUNCTION T slope(CONSTANT Params<T>& p, DEVICE const Number* weights, i32 quantity, i32 plane) {
    if (p.weights == FORESEEN) return p.slopes[quantity];
    return p.rows[quantity] < 0 ? T(0) : T(weights[i64(p.rows[quantity]) * p.planes + plane]);
}

// Whether all derivatives are those that were foreseen.
template <class T>
FUNCTION bool as_foreseen(CONSTANT Params<T>& p, DEVICE const Number* weights, i32 plane) {
    bool same = true;
    for (i32 quantity = 0; quantity < QUANTITIES; quantity++) {
        const T foreseen = p.slopes[quantity];
        const T far = slope(p, weights, quantity, plane) - foreseen;
        const T allowed = p.near * (foreseen < T(0) ? -foreseen : foreseen);
        same = same && far <= allowed && -far <= allowed;
    }
    return same;
}

// The derivative of the weighted errors of one pixel by that of the first image; that of |0| is 0.
template <class T>
FUNCTION T error_slope(T difference, T squared, T absolute) {
    const T direction = T(difference > T(0)) - T(difference < T(0));
    return T(2) * squared * difference + absolute * direction;
}
