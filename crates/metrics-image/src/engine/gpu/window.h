// Windows of any length up to MAX_TAPS over flat images, and up to MAX_VOLUME_TAPS over volumes, in two passes: values, with the
// derivatives with respect to the moments of each place where a gradient is wanted, then those filtered back to the pixels.
//
// A block owns a tile of rows and columns and scans its slices one by one. Each slice, with its border, lies in the block's memory and is
// filtered along columns and rows; each thread filters one place across the slices, in registers.

// Sizes of a tile, and of the memory of its block in numbers.
template <class T, class M, int ROWS, int COLUMNS>
struct Block {
    enum {
        THREADS = ROWS * COLUMNS,
        DEEP = ROWS > 1,
        MAX = DEEP ? int(MAX_VOLUME_TAPS) : int(M::LONGEST),
        // f64 takes twice the registers: there, long column filters lie in memory. Three fields of up to 17 taps fit on the way back.
        UNROLLED = DEEP || sizeof(T) == 4,
        BACK_UNROLLED = UNROLLED || int(M::LONGEST) < int(MAX_TAPS),
        HALO_ROWS = DEEP ? ROWS + MAX - 1 : 1,
        HALO_COLUMNS = COLUMNS + MAX - 1,
        HALO = HALO_ROWS * HALO_COLUMNS,
        SHARE = (HALO + THREADS - 1) / THREADS, // pixels of a slice that a thread reads
        BUFFERS = DEEP ? 1 : 2,                 // one is filled while the other is in use
        PIXELS = BUFFERS * 2 * HALO,
        FIELDS = DEEP ? M::FIELDS * HALO_ROWS * COLUMNS : 0,
        SUMS = 2 * QUANTITIES * THREADS,
        // Metal gives a block 32 KiB: sums of volumes come where the pixels were.
        BEFORE_SUMS = DEEP ? 0 : PIXELS + FIELDS,
        ROOM = PIXELS + FIELDS > BEFORE_SUMS + SUMS ? PIXELS + FIELDS : BEFORE_SUMS + SUMS,
        // Three fields of derivatives, and the same filtered along columns.
        BACK = 3 * HALO + (DEEP ? 3 * HALO_ROWS * COLUMNS : 0),
    };
    static_assert(sizeof(T) > 4 || (4 * ROOM <= 32 << 10 && 4 * BACK <= 32 << 10), "more than Metal gives a block");
};

// As `push`, for a window of any length.
template <class T, int MAX, bool UNROLLED>
FUNCTION void push_any(PRIVATE T* pending, T value, CONSTANT T* taps, i32 window) {
    if (UNROLLED) {
        UNROLL
        for (i32 k = 0; k < MAX; k++) {
            if (k < window) pending[k] = k + 1 < MAX ? fma(taps[k], value, pending[k + 1 < MAX ? k + 1 : k]) : taps[k] * value;
        }
    } else {
        for (i32 k = 0; k < window - 1; k++) pending[k] = fma(taps[k], value, pending[k + 1]);
        pending[window - 1] = taps[window - 1] * value;
    }
}

// As `push_mirrored`, for a window of any length.
template <class T, int MAX, bool UNROLLED>
FUNCTION void push_any_mirrored(PRIVATE T* pending, T value, CONSTANT Params<T>& p, i32 last, i32 from) {
    const i32 border = p.border[0], window = p.window[0];
    if (!p.mirror || (from > border && from < last - border)) return;
    UNROLL
    for (i32 k = 0; k < (UNROLLED ? MAX : window); k++) {
        const i32 to = from - border + k;
        if (k < window && to >= 0 && to <= last)
            pending[k] = fma(mirrored_weight(p.taps[0], window, border, last, to, from), value, pending[k]);
    }
}

// Reads slices of a tile ahead of their use.
template <class P, class T, class M, int ROWS, int COLUMNS>
struct SliceFeed {
    typedef Block<T, M, ROWS, COLUMNS> Sizes;
    enum { SHARE = Sizes::SHARE, THREADS = Sizes::THREADS };

    i64 inner_x[SHARE], inner_y[SHARE]; // where the pixels lie in their slices
    bool used[SHARE], present[SHARE], owned[SHARE];
    T u[SHARE], v[SHARE];

    FUNCTION_MEMBER void start(CONSTANT Params<T>& p, PRIVATE Pair<P, T>& pair, PRIVATE const Tile& tile, i32 worker) {
        CONSTANT Scale& scale = p.scale[tile.scale];
        const i32 columns = COLUMNS + p.window[2] - 1, rows = Sizes::DEEP ? ROWS + p.window[1] - 1 : 1;
        UNROLL
        for (i32 share = 0; share < SHARE; share++) {
            const i32 place = share * THREADS + worker;
            const i32 row_at = tile.first[1] + place / columns, column_at = tile.first[2] + place % columns;
            used[share] = place < rows * columns;
            const i32 row = line_at(row_at, p.border[1], scale.input[1], p.mirror);
            const i32 column = line_at(column_at, p.border[2], scale.input[2], p.mirror);
            present[share] = used[share] && row >= 0 && column >= 0;
            owned[share] = present[share] && row_at - p.border[1] == row && row >= tile.from[1] && row < tile.pixels_to[1] &&
                           column_at - p.border[2] == column && column >= tile.from[2] && column < tile.pixels_to[2];
            inner_x[share] = present[share] ? pair.x.offset(0, row, column) : 0;
            inner_y[share] = present[share] ? pair.y.offset(0, row, column) : 0;
        }
    }

    // Reads the slice at a padded position. Errors count of the pixels that belong to the tile.
    FUNCTION_MEMBER void fetch(CONSTANT Params<T>& p, PRIVATE Pair<P, T>& pair, PRIVATE const Tile& tile, i32 position, PRIVATE T* sums) {
        const i32 slice = line_at(position, p.border[0], p.scale[tile.scale].input[0], p.mirror);
        const bool counts =
            p.errors && position - p.border[0] == slice && slice >= tile.from[0] && slice < tile.pixels_to[0];
        const i64 start_x = pair.x.offset(slice, 0, 0), start_y = pair.y.offset(slice, 0, 0);
        UNROLL
        for (i32 share = 0; share < SHARE; share++) {
            T a = T(0), b = T(0);
            if (present[share] && slice >= 0) {
                a = pair.x.at(start_x + inner_x[share]);
                b = pair.y.at(start_y + inner_y[share]);
                if (counts && owned[share]) {
                    const T difference = a - b;
                    sums[SQUARED] = fma(difference, difference, sums[SQUARED]);
                    sums[ABSOLUTE] += magnitude(difference);
                }
            }
            a = pair.basis_x(a);
            b = pair.basis_y(b);
            T of_u, of_v;
            M::basis(a, b, of_u, of_v);
            u[share] = of_u;
            v[share] = of_v;
        }
    }

    // Puts what was read into the memory of the block.
    FUNCTION_MEMBER void stash(LOCAL T* room, i32 worker) {
        UNROLL
        for (i32 share = 0; share < SHARE; share++) {
            if (!used[share]) continue;
            room[share * THREADS + worker] = u[share];
            room[Sizes::HALO + share * THREADS + worker] = v[share];
        }
    }
};

// The moments of this thread's place in one slice: what the measure makes of `u` and `v`, filtered along columns, and rows if there are any.
template <class T, class M, int ROWS, int COLUMNS>
FUNCTION void filter_slice(LOCAL const T* room, LOCAL T* fields, CONSTANT Params<T>& p, i32 my_row, i32 my_column, PRIVATE T* moments) {
    typedef Block<T, M, ROWS, COLUMNS> Sizes;
    const i32 columns = COLUMNS + p.window[2] - 1, rows = Sizes::DEEP ? ROWS + p.window[1] - 1 : 1;
    for (i32 row = my_row; row < rows; row += ROWS) {
        UNROLL
        for (i32 field = 0; field < M::FIELDS; field++) moments[field] = T(0);
        LOCAL const T* u = room + row * columns + my_column;
        LOCAL const T* v = u + Sizes::HALO;
        for (i32 k = 0; k < p.window[2]; k++) {
            T of_pixel[M::FIELDS];
            M::features(u[k], v[k], of_pixel);
            UNROLL
            for (i32 field = 0; field < M::FIELDS; field++) moments[field] = fma(p.taps[2][k], of_pixel[field], moments[field]);
        }
        if (Sizes::DEEP) {
            for (i32 field = 0; field < M::FIELDS; field++) fields[(field * Sizes::HALO_ROWS + row) * COLUMNS + my_column] = moments[field];
        }
    }
    if (Sizes::DEEP) {
        BARRIER();
        for (i32 field = 0; field < M::FIELDS; field++) {
            LOCAL const T* column = fields + (field * Sizes::HALO_ROWS + my_row) * COLUMNS + my_column;
            moments[field] = T(0);
            for (i32 k = 0; k < p.window[1]; k++) moments[field] = fma(p.taps[1][k], column[k * COLUMNS], moments[field]);
        }
    }
}

// Values; where `derivatives` are wanted, the upstream is as in `gradient`.
template <class P, class T, class M, int ROWS, int COLUMNS>
FUNCTION void window_value(DEVICE const P* x, DEVICE const P* y, DEVICE const T* coarse_x, DEVICE const T* coarse_y,
                           DEVICE const T* ranges, DEVICE const Number* table, DEVICE const T* upstream_map, DEVICE T* partials,
                           DEVICE T* map, DEVICE T* derivatives, CONSTANT Params<T>& p, LOCAL T* room, i32 block, i32 worker) {
    typedef Block<T, M, ROWS, COLUMNS> Sizes;
    Tile tile = {};
    tile.set(p, block, false);
    const Tile whole = plane_of(p, tile); // both passes have the same pivots
    Pair<P, T> pair = pair_of(p, tile, x, y, coarse_x, coarse_y, ranges, whole);
    CONSTANT Scale& scale = p.scale[tile.scale];
    typename M::Upstream upstream;
    set_upstream(upstream, p, tile, table, pair.inv_range);

    // The place of this thread.
    const i32 my_row = worker / COLUMNS, my_column = worker % COLUMNS;
    const i32 row = tile.first[1] + my_row, column = tile.first[2] + my_column;
    const bool own = row < tile.to[1] && column < tile.to[2];
    const bool inner = row >= p.border[1] && row < scale.map[1] - p.border[1] && column >= p.border[2] &&
                       column < scale.map[2] - p.border[2];
    T sums[QUANTITIES] = {};
    SliceFeed<P, T, M, ROWS, COLUMNS> feed;
    feed.start(p, pair, tile, worker);
    feed.fetch(p, pair, tile, tile.first[0], sums);

    T pending[M::FIELDS][Sizes::MAX] = {};
    const i32 delay = p.window[0] - 1, steps = tile.to[0] - tile.from[0] + delay;
    for (i32 step = 0; step < steps; step++) {
        LOCAL T* pixels = room + (Sizes::BUFFERS > 1 ? (step & 1) * 2 * Sizes::HALO : 0);
        feed.stash(pixels, worker);
        if (step + 1 < steps) feed.fetch(p, pair, tile, tile.first[0] + step + 1, sums);
        BARRIER();

        T moments[M::FIELDS];
        filter_slice<T, M, ROWS, COLUMNS>(pixels, room + Sizes::PIXELS, p, my_row, my_column, moments);
        UNROLL
        for (i32 field = 0; field < M::FIELDS; field++)
            push_any<T, Sizes::MAX, Sizes::UNROLLED>(pending[field], moments[field], p.taps[0], p.window[0]);
        if (step < delay || !own) continue;

        const i32 slice = tile.from[0] + step - delay; // the slice of the map that is complete now
        const bool is_inner = inner && slice >= p.border[0] && slice < scale.map[0] - p.border[0];
        const i64 at = scale.places + ((i64(tile.plane) * scale.map[0] + slice) * scale.map[1] + row) * scale.map[2] + column;
        UNROLL
        for (i32 field = 0; field < M::FIELDS; field++) moments[field] = pending[field][0];
        M place;
        place.set_moments(moments, pair.constants);
        T scores[2];
        place.scores(scores);
        sums[0] += scores[0];
        if (is_inner) sums[1] += scores[1];
        if (p.with & WITH_MAP) map[at] = T(1) - scores[p.map_of == SSIM ? 0 : 1];
        if (p.with & WITH_DERIVATIVES) {
            const bool with_map = p.with & WITH_UPSTREAM;
            T by[3];
            const typename M::Upstream here = upstream_at(p, upstream, pair.inv_range, with_map, upstream_map, at, is_inner);
            place.vjp(here, p.sign, by);
            UNROLL
            for (i32 field = 0; field < 3; field++) derivatives[field * p.fields + at] = by[field];
        }
    }
    if (Sizes::DEEP) BARRIER();
    write_sums(sums, partials, room + Sizes::BEFORE_SUMS, block, worker, Sizes::THREADS);
}

// A line of derivatives in the memory of the block, filtered back to pixel line `to`. `stride` leads from one map line to the next;
// the last that has a part in line `to` lies at `newest`.
template <class T>
FUNCTION T filter_back_any(LOCAL const T* newest, i32 stride, CONSTANT Params<T>& p, i32 axis, i32 last, i32 to) {
    const i32 window = p.window[axis];
    T sum = T(0);
    for (i32 k = 0; k < window; k++) sum = fma(p.taps[axis][k], newest[-k * stride], sum);
    if (is_mirrored(p, axis, last, to)) {
        for (i32 k = 0; k < window; k++)
            sum = fma(mirrored_weight(p.taps[axis], window, p.border[axis], last, to, to + p.border[axis] - k), newest[-k * stride], sum);
    }
    return sum;
}

// The gradient, from the derivatives of `window_value`. A tile is one of pixels here.
template <class P, class T, class M, int ROWS, int COLUMNS>
FUNCTION void adjoint(DEVICE const P* x, DEVICE const P* y, DEVICE const T* coarse_x, DEVICE const T* coarse_y, DEVICE const T* ranges,
                      DEVICE const Number* table, DEVICE const T* derivatives, DEVICE T* fine, DEVICE T* coarse, CONSTANT Params<T>& p,
                      LOCAL T* room, i32 block, i32 worker) {
    typedef Block<T, M, ROWS, COLUMNS> Sizes;
    enum { HALO = Sizes::HALO, HALO_ROWS = Sizes::HALO_ROWS };
    Tile tile = {};
    tile.set(p, block, true);
    const Tile whole = plane_of(p, tile); // both passes have the same pivots
    Pair<P, T> pair = pair_of(p, tile, x, y, coarse_x, coarse_y, ranges, whole);
    CONSTANT Scale& scale = p.scale[tile.scale];
    DEVICE T* to = (tile.scale > 0 ? coarse + scale.offset : fine) + tile.plane * plane_len(scale);
    DEVICE const T* from = derivatives + scale.places + i64(tile.plane) * scale.map[0] * scale.map[1] * scale.map[2];
    const bool with_map = p.map_of >= 0;
    const T squared = with_map ? T(0) : upstream_of(p, table, tile.scale, SQUARED, tile.plane);
    const T absolute = with_map ? T(0) : upstream_of(p, table, tile.scale, ABSOLUTE, tile.plane);

    const i32 columns = COLUMNS + p.window[2] - 1, rows = Sizes::DEEP ? ROWS + p.window[1] - 1 : 1;
    const i32 my_row = worker / COLUMNS, my_column = worker % COLUMNS;
    const i32 row = tile.from[1] + my_row, column = tile.from[2] + my_column;
    const bool own = row < tile.to[1] && column < tile.to[2];
    LOCAL T* filtered = room + 3 * HALO;
    T pending[3][Sizes::MAX] = {};
    const i32 delay = p.window[0] - 1, steps = tile.to[0] - tile.from[0] + delay;
    for (i32 step = 0; step < steps; step++) {
        // Places beyond the map have no derivatives.
        const i32 slice = tile.first[0] + step;
        if (!Sizes::DEEP) BARRIER();
        for (i32 place = worker; place < rows * columns; place += Sizes::THREADS) {
            const i32 place_row = tile.first[1] + place / columns, place_column = tile.first[2] + place % columns;
            const bool present = slice >= 0 && slice < scale.map[0] && place_row >= 0 && place_row < scale.map[1] &&
                                 place_column >= 0 && place_column < scale.map[2];
            const i64 at = (i64(slice) * scale.map[1] + place_row) * scale.map[2] + place_column;
            for (i32 field = 0; field < 3; field++) room[field * HALO + place] = present ? from[field * p.fields + at] : T(0);
        }
        BARRIER();
        T by[3];
        for (i32 at = my_row; at < rows; at += ROWS) {
            UNROLL
            for (i32 field = 0; field < 3; field++) {
                LOCAL const T* newest = room + field * HALO + at * columns + my_column + p.window[2] - 1;
                by[field] = filter_back_any(newest, 1, p, 2, scale.input[2] - 1, column);
                if (Sizes::DEEP) filtered[(field * HALO_ROWS + at) * COLUMNS + my_column] = by[field];
            }
        }
        if (Sizes::DEEP) {
            BARRIER();
            for (i32 field = 0; field < 3; field++) {
                LOCAL const T* newest = filtered + (field * HALO_ROWS + my_row + p.window[1] - 1) * COLUMNS + my_column;
                by[field] = filter_back_any(newest, COLUMNS, p, 1, scale.input[1] - 1, row);
            }
        }
        UNROLL
        for (i32 field = 0; field < 3; field++) {
            push_any<T, Sizes::MAX, Sizes::BACK_UNROLLED>(pending[field], by[field], p.taps[0], p.window[0]);
            push_any_mirrored<T, Sizes::MAX, Sizes::BACK_UNROLLED>(pending[field], by[field], p, scale.input[0] - 1, slice);
        }
        if (step < delay || !own) continue;
        const i32 done = tile.from[0] + step - delay; // the slice of pixels that is complete now
        const T pixel_x = pair.x.at(pair.x.offset(done, row, column)), pixel_y = pair.y.at(pair.y.offset(done, row, column));
        const T a = pair.basis_x(pixel_x), b = pair.basis_y(pixel_y);
        T u, v;
        M::basis(a, b, u, v);
        T value = M::pixel_vjp(u, v, p.sign, pending[0][0], pending[1][0], pending[2][0]);
        if (p.errors) value = fma(p.sign, error_slope(pixel_x - pixel_y, squared, absolute), value);
        to[(i64(done) * scale.input[1] + row) * scale.input[2] + column] = value;
    }
}
