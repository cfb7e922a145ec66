// GMSD for the kernels of GPUs, as `gmsd.rs` for the CPU.
//
// A block owns a tile of places of the averaged images. It averages them on the way into its memory, with the lines around the tile that
// the filters reach; each thread makes some places. The gradient goes back the same way, from derivatives at the places around a tile.

enum { GMSD_SIDE = 32, GMSD_WORKERS = 256 };

// Numbers in the memory of a block: a tile of both images and HALO lines around it; derivatives with one line around; sums.
template <int HALO>
struct GmsdTile {
    enum {
        SIDE = GMSD_SIDE + 2 * HALO,
        PIXELS = SIDE * SIDE,
        BACK_SIDE = GMSD_SIDE + 2,
        BACK = BACK_SIDE * BACK_SIDE,
        ROOM = HALO == 1 ? 2 * (PIXELS > QUANTITIES * GMSD_WORKERS ? PIXELS : QUANTITIES * GMSD_WORKERS) : 2 * PIXELS + 2 * BACK,
    };
};

// Both planes of a tile, their pixels divided by the data range.
template <class T>
struct GmsdPair {
    Plane<T, T> x, y;
    T inv_range;

    FUNCTION_MEMBER void set(CONSTANT Params<T>& p, PRIVATE const Tile& tile, DEVICE const T* image_x, DEVICE const T* image_y,
                             DEVICE const T* ranges) {
        x.set(p, tile, 0, image_x, 0);
        y.set(p, tile, 1, image_y, 0);
        inv_range = T(1) / range_of(p, ranges, tile.plane);
    }
};

// The mean of the 2×2 pixels of a place, with zeros beyond the border; 0 beyond the averaged image.
template <class T>
FUNCTION T mean_of_four(CONSTANT Scale& scale, PRIVATE Plane<T, T>& plane, i32 row, i32 column) {
    if (row < 0 || row >= scale.map[0] || column < 0 || column >= scale.map[2]) return T(0);
    const bool below = 2 * row + 1 < scale.input[0], beside = 2 * column + 1 < scale.input[2];
    const i64 at = plane.offset(2 * row, 0, 2 * column);
    T sum = plane.at(at);
    if (beside) sum += plane.at(at + plane.strides[2]);
    if (below) sum += plane.at(at + plane.strides[0]);
    if (beside && below) sum += plane.at(at + plane.strides[0] + plane.strides[2]);
    return T(0.25) * sum;
}

template <class T, int HALO>
FUNCTION void average_tile(CONSTANT Params<T>& p, PRIVATE const Tile& tile, PRIVATE GmsdPair<T>& pair, LOCAL T* room, i32 worker) {
    typedef GmsdTile<HALO> Sizes;
    for (i32 at = worker; at < Sizes::PIXELS; at += GMSD_WORKERS) {
        const i32 row = tile.from[0] - HALO + at / Sizes::SIDE, column = tile.from[2] - HALO + at % Sizes::SIDE;
        room[at] = pair.inv_range * mean_of_four(p.scale[0], pair.x, row, column);
        room[Sizes::PIXELS + at] = pair.inv_range * mean_of_four(p.scale[0], pair.y, row, column);
    }
}

// The gradients of one image at a place by Prewitt's filter, and their magnitude.
template <class T>
struct Prewitt {
    T along, down, magnitude;

    // `corner` is the pixel before the place on both axes.
    FUNCTION_MEMBER void set(LOCAL const T* corner, i32 stride) {
        LOCAL const T* above = corner;
        LOCAL const T* beside = corner + stride;
        LOCAL const T* below = corner + 2 * stride;
        along = ((above[0] - above[2]) + (beside[0] - beside[2]) + (below[0] - below[2])) / T(3);
        down = ((above[0] - below[0]) + (above[1] - below[1]) + (above[2] - below[2])) / T(3);
        magnitude = sqrt(fma(along, along, down * down));
    }
};

// `d = 1 - gms` at a place.
template <class T>
struct GradientSimilarity {
    Prewitt<T> x, y;
    T inverse; // 1 / (Gx² + Gy² + c)
    T d;

    FUNCTION_MEMBER void set(LOCAL const T* corner_x, LOCAL const T* corner_y, i32 stride, T c) {
        x.set(corner_x, stride);
        y.set(corner_y, stride);
        const T difference = x.magnitude - y.magnitude;
        inverse = T(1) / (fma(x.along, x.along, x.down * x.down) + fma(y.along, y.along, y.down * y.down) + c);
        d = difference * difference * inverse;
    }

    // What the gradients of x, or of y, are multiplied by to be the derivatives with respect to themselves. A magnitude of 0 has none.
    FUNCTION_MEMBER T vjp(T by_d, T by_square, bool of_x) {
        const T own = of_x ? x.magnitude : y.magnitude, other = of_x ? y.magnitude : x.magnitude;
        if (own == T(0)) return T(0);
        return T(2) * inverse * fma(T(2) * d, by_square, by_d) * (own - other - d * own) / own;
    }
};

// The sums of d and d² of a tile.
template <class T>
FUNCTION void gmsd_value(DEVICE const T* image_x, DEVICE const T* image_y, DEVICE const T* ranges, DEVICE T* partials,
                         CONSTANT Params<T>& p, LOCAL T* room, i32 block, i32 worker) {
    typedef GmsdTile<1> Sizes;
    Tile tile = {};
    tile.set(p, block, false);
    GmsdPair<T> pair;
    pair.set(p, tile, image_x, image_y, ranges);
    average_tile<T, 1>(p, tile, pair, room, worker);
    BARRIER();
    T sums[QUANTITIES] = {};
    for (i32 at = worker; at < GMSD_SIDE * GMSD_SIDE; at += GMSD_WORKERS) {
        const i32 row = at / GMSD_SIDE, column = at % GMSD_SIDE, corner = row * Sizes::SIDE + column;
        if (tile.from[0] + row >= tile.to[0] || tile.from[2] + column >= tile.to[2]) continue;
        GradientSimilarity<T> place;
        place.set(room + corner, room + Sizes::PIXELS + corner, Sizes::SIDE, p.constants[0]);
        sums[0] += place.d;
        sums[1] = fma(place.d, place.d, sums[1]);
    }
    BARRIER(); // the sums come where the pixels were
    write_sums(sums, partials, room, block, worker, GMSD_WORKERS);
}

// The gradient with respect to an image, from the derivatives with respect to both sums of each plane.
template <class T>
FUNCTION void gmsd_gradient(DEVICE const T* image_x, DEVICE const T* image_y, DEVICE const T* ranges, DEVICE const Number* table,
                            DEVICE T* gradient, CONSTANT Params<T>& p, LOCAL T* room, i32 block, i32 worker) {
    typedef GmsdTile<2> Sizes;
    enum { BACK_SIDE = Sizes::BACK_SIDE };
    CONSTANT Scale& scale = p.scale[0];
    Tile tile = {};
    tile.set(p, block, false);
    GmsdPair<T> pair;
    pair.set(p, tile, image_x, image_y, ranges);
    average_tile<T, 2>(p, tile, pair, room, worker);
    BARRIER();
    const T by_d = T(table[entry(p, 0, 0, tile.plane)]), by_square = T(table[entry(p, 0, 1, tile.plane)]);
    const bool of_x = p.sign > T(0);
    LOCAL T* back_along = room + 2 * Sizes::PIXELS;
    LOCAL T* back_down = back_along + Sizes::BACK;
    for (i32 at = worker; at < Sizes::BACK; at += GMSD_WORKERS) {
        const i32 row = tile.from[0] - 1 + at / BACK_SIDE, column = tile.from[2] - 1 + at % BACK_SIDE;
        back_along[at] = back_down[at] = T(0);
        if (row < 0 || row >= scale.map[0] || column < 0 || column >= scale.map[2]) continue;
        const i32 corner = at / BACK_SIDE * Sizes::SIDE + at % BACK_SIDE;
        GradientSimilarity<T> place;
        place.set(room + corner, room + Sizes::PIXELS + corner, Sizes::SIDE, p.constants[0]);
        const T factor = place.vjp(by_d, by_square, of_x);
        back_along[at] = factor * (of_x ? place.x.along : place.y.along);
        back_down[at] = factor * (of_x ? place.x.down : place.y.down);
    }
    BARRIER();
    const T share = pair.inv_range * T(0.25) / T(3);
    DEVICE T* plane = gradient + tile.plane * plane_len(scale);
    for (i32 at = worker; at < GMSD_SIDE * GMSD_SIDE; at += GMSD_WORKERS) {
        const i32 row = tile.from[0] + at / GMSD_SIDE, column = tile.from[2] + at % GMSD_SIDE;
        if (row >= tile.to[0] || column >= tile.to[2]) continue;
        // The place before this one on both axes.
        const i32 corner = at / GMSD_SIDE * BACK_SIDE + at % GMSD_SIDE;
        T sum = T(0);
        UNROLL
        for (i32 next = 0; next < 3; next++) {
            LOCAL const T* along = back_along + corner + next * BACK_SIDE;
            LOCAL const T* down = back_down + corner + next;
            sum += (along[2] - along[0]) + (down[2 * BACK_SIDE] - down[0]);
        }
        DEVICE T* to = plane + i64(2 * row) * scale.input[2] + 2 * column;
        const bool below = 2 * row + 1 < scale.input[0], beside = 2 * column + 1 < scale.input[2];
        to[0] = share * sum;
        if (beside) to[1] = share * sum;
        if (below) to[scale.input[2]] = share * sum;
        if (beside && below) to[scale.input[2] + 1] = share * sum;
    }
}
