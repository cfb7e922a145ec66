// What all kernels share: pixels, sums, and the parameters of a launch.
//
// This text is CUDA C++ and Metal at once. The dialect that comes before it names the address spaces (DEVICE, LOCAL, CONSTANT,
// PRIVATE), FUNCTION, FUNCTION_MEMBER, UNROLL, UNROLL_INSIDE_TWICE (where the template constant INSIDE is true), BLOCK_MEMORY, BARRIER,
// WARP_BARRIER, BARRIER_OF_DEVICE, the integer types, `Number` (in which results are kept), `HAS_DOUBLE`,
// `reciprocal`, `not_negative`, `as_float`, `as_uint`, `from_half` and `to_half`.

enum { MAX_TAPS = 33, MAX_VOLUME_TAPS = 11, MAX_SCALES = 8, MAX_TERMS = 8 };

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
FUNCTION void store(DEVICE Half* to, i64 at, float value) { to[at].bits = to_half(value); }

// To the nearest, ties to even; NaN stays one.
FUNCTION void store(DEVICE Bfloat* to, i64 at, float value) {
    const u32 bits = as_uint(value);
    const u32 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    to[at].bits = u16(value == value ? rounded : (bits >> 16) | 0x40u);
}

template <class T>
FUNCTION T magnitude(T value) {
    return value < T(0) ? -value : value;
}

template <class T>
FUNCTION bool is_finite(T value) {
    return value - value == T(0);
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
    return is_finite(total.low) ? Number(total.high) + Number(total.low) : Number(total.high);
}

// ---- parameters

// What is summed over a plane: 1 - ssim and 1 - cs at each place, squared and absolute errors of pixels. GMSD and VIFp have two sums in
// place of the first two.
enum { SSIM, CONTRAST, SQUARED, ABSOLUTE, QUANTITIES };

// Where the upstream of a gradient comes from.
enum {
    KNOWN, // the parameters
    UNIT,  // 1 for the term of MS-SSIM at each scale
    TABLE, // a table of numbers, for each scale, quantity and plane
};

// Images at one scale of MS-SSIM; the first are the images themselves. Axes are slices, rows and columns; the rows of a flat image
// are its slices, of one row each.
struct Scale {
    i64 offset;     // where its pixels begin among those of all coarser scales
    i64 places;     // where its places begin among those of the maps of all scales
    i64 counts[2];  // places of the map, and those of them whose contrast counts
    i32 input[3];
    i32 map[3];
    i32 owned[3]; // size of a tile
    i32 tiles[3]; // how many there are
    i32 lead[3];  // lines before the first of this scale where they are averaged in pairs for the next
    i32 first;    // the number of its first block
};

// Which buffers a launch has that it may lack.
enum { WITH_MAP = 1, WITH_DERIVATIVES = 2, WITH_UPSTREAM = 4, WITH_TABLE = 8, WITH_RANGES = 16, WITH_FINE = 32 };

template <class T>
struct Params {
    i64 strides[2][2]; // of both images, by image and channel, in pixels
    i64 fields;        // from one field of derivatives to the next
    Scale scale[MAX_SCALES];
    i32 steps[2][3];  // strides of both images by axis
    i32 window[3];
    i32 border[3]; // padding lines before the first
    i32 scales;
    i32 images;   // that have a number of their own: each channel may be one
    i32 group;    // planes of such an image
    i32 channels; // planes of an image in memory
    i32 planes;
    i32 mirror;    // whether the border is mirrored
    i32 per_image; // whether each image has its own data range
    i32 upstream;  // KNOWN, UNIT or TABLE
    i32 errors;    // whether errors of pixels are summed
    i32 map_of;    // SSIM or CONTRAST, if a map of it is wanted or is what the gradient comes from; else -1
    i32 repeat;    // whether a line before the first is the first again, not zeros
    i32 flat;      // whether images are flat
    i32 dense;     // whether the pixels of a plane lie one after another in both images
    i32 of_images; // whether there is an upstream for each image
    i32 lines;     // of a block that goes through a plane line by line
    i32 finest;    // the scale that coarser ones are made of
    i32 with;      // the buffers that there are
    i32 unused;
    T taps[3][MAX_TAPS];
    T constants[2];       // 2 k1², and 2 k2² over the factor on the covariance; c of GMSD; σn² and ε of VIFp
    T range;              // the data range, unless each image has its own
    T spread;             // 1, or 0 under a window of one pixel, which has no variance
    T known[QUANTITIES];  // the upstream, where it is known
    T sign;               // 1 for the gradient with respect to the first image, -1 for the second
};

// Where pixel (0, 0, 0) of a plane lies in image `which`.
template <class T>
FUNCTION i64 plane_start(CONSTANT Params<T>& p, i32 which, i32 plane) {
    return i64(plane / p.channels) * p.strides[which][0] + i64(plane % p.channels) * p.strides[which][1];
}

FUNCTION i64 plane_len(CONSTANT Scale& scale) { return i64(scale.input[0]) * scale.input[1] * scale.input[2]; }

FUNCTION i32 tiles_of(CONSTANT Scale& scale) { return scale.tiles[0] * scale.tiles[1] * scale.tiles[2]; }

// Where a number stands in a table for each scale, quantity and plane.
template <class T>
FUNCTION i64 entry(CONSTANT Params<T>& p, i32 scale, i32 quantity, i32 plane) {
    return (i64(scale) * QUANTITIES + quantity) * p.planes + plane;
}

// Which map is a term of MS-SSIM at a scale.
template <class T>
FUNCTION i32 term_at(CONSTANT Params<T>& p, i32 scale) {
    return scale + 1 == p.scales ? SSIM : CONTRAST;
}

// The derivative of the loss with respect to a mean of SSIM or contrast, or to a sum of errors, of a plane.
template <class T>
FUNCTION T upstream_of(CONSTANT Params<T>& p, DEVICE const Number* table, i32 scale, i32 quantity, i32 plane) {
    if (p.upstream == TABLE) return T(table[entry(p, scale, quantity, plane)]);
    if (p.upstream == UNIT) return T(quantity == term_at(p, scale));
    return p.known[quantity];
}

// The data range of a plane.
template <class T>
FUNCTION T range_of(CONSTANT Params<T>& p, DEVICE const T* ranges, i32 plane) {
    return p.per_image ? ranges[plane / p.channels] : p.range;
}

// The derivative of weighted errors of one pixel by that of the first image; that of |0| is 0.
template <class T>
FUNCTION T error_slope(T difference, T squared, T absolute) {
    const T direction = T(difference > T(0)) - T(difference < T(0));
    return fma(T(2) * squared, difference, absolute * direction);
}
