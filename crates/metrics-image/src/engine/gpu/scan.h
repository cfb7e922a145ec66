// The scan of flat images under a window of 7, 9 or 11 taps: SSIM, contrast and errors of a pair of planes, the map, and the gradient,
// from reading the pixels once.
//
// A block owns a strip of the plane and scans its rows from the top. Each row of u and v, with its border, lies in the block's memory, and each
// thread filters VEC neighboring columns along it, so that one load serves several results. The column filter is in registers: a
// number is added to all results that it takes part in, the oldest of which is then complete. From the four moments of a place
// come its scores, and for a gradient the derivatives with respect to the moments, which go back the same way: down the columns in
// registers, along the row through the block's memory. A strip of a gradient has fewer results than columns, since a result depends
// on a whole window of places.
//
// Strips that touch no border are scanned by code without bounds checks.

template <class T, int TAPS, int VEC, int THREADS>
struct Strip {
    enum {
        COLUMNS = THREADS * VEC,
        HALO = COLUMNS + TAPS - 1,
        SHARE = (HALO + THREADS - 1) / THREADS, // pixels of a row that a thread reads
        ROW = (HALO + 1) / 2 * 2,               // room for a row of them
        RESULTS = COLUMNS - (TAPS - 1),         // columns of a gradient
        // The memory of a block, in pixels: one row is filled while another is in use; derivatives of a row; the weights at which they
        // go back; sums of the threads.
        PIXELS = 2 * ROW,
        BACK = (3 * COLUMNS + 1) / 2,
        WEIGHTS = (TAPS * COLUMNS + 1) / 2,
        SUMS = QUANTITIES * THREADS,
        ROOM = PIXELS + SUMS,
        ROOM_WITH_BACK = PIXELS + BACK + WEIGHTS + SUMS,
    };
};

// Waits for the other threads of the block.
template <int THREADS>
FUNCTION void synchronize() {
    if (THREADS > 32) {
        BARRIER();
    } else {
        WARP_BARRIER();
    }
}

// Reads rows of a strip ahead of their use.
template <class P, class T, int TAPS, int VEC, int THREADS, bool INSIDE>
struct Feed {
    typedef Strip<T, TAPS, VEC, THREADS> Sizes;
    enum {
        SHARE = Sizes::SHARE,
        HALO = Sizes::HALO,
        AHEAD = INSIDE || sizeof(T) == 4, // at a border, f64 has no registers to spare
    };

    T x[SHARE], y[SHARE];
    Cursor<P, T> next_x, next_y; // inside

    FUNCTION_MEMBER void start(CONSTANT Params<T>& p, PRIVATE Pair<P, T>& pair, PRIVATE const Tile& tile, i32 worker) {
        if (INSIDE) {
            next_x = pair.x.cursor(tile.first[0] - p.border[0], 0, tile.first[2] - p.border[2] + worker);
            next_y = pair.y.cursor(tile.first[0] - p.border[0], 0, tile.first[2] - p.border[2] + worker);
        }
    }

    FUNCTION_MEMBER bool is_used(i32 share, i32 worker) {
        return (share + 1) * THREADS <= HALO || share * THREADS + worker < HALO;
    }

    // Reads the row at a padded position; inside, the next one.
    FUNCTION_MEMBER void fetch(CONSTANT Params<T>& p, PRIVATE Pair<P, T>& pair, PRIVATE const Tile& tile, i32 row_at, i32 worker) {
        if (INSIDE) {
            UNROLL
            for (i32 share = 0; share < SHARE; share++) {
                const bool used = is_used(share, worker);
                x[share] = used ? next_x.at(share * THREADS) : T(0);
                y[share] = used ? next_y.at(share * THREADS) : T(0);
            }
            next_x.advance(pair.x.strides[0]);
            next_y.advance(pair.y.strides[0]);
        } else {
            CONSTANT Scale& scale = p.scale[tile.scale];
            const i32 row = line_at(row_at, p.border[0], scale.input[0], p.mirror);
            UNROLL
            for (i32 share = 0; share < SHARE; share++) {
                const i32 position = tile.first[2] + share * THREADS + worker;
                const i32 at = line_at(position, p.border[2], scale.input[2], p.mirror);
                const bool present = row >= 0 && at >= 0 && is_used(share, worker);
                x[share] = present ? pair.x.at(pair.x.offset(row, 0, at)) : T(0);
                y[share] = present ? pair.y.at(pair.y.offset(row, 0, at)) : T(0);
            }
        }
    }

    // Puts the row into the memory of the block.
    FUNCTION_MEMBER void stash(PRIVATE Pair<P, T>& pair, LOCAL Basis<T>* row, i32 worker) {
        UNROLL
        for (i32 share = 0; share < SHARE; share++) {
            if (!is_used(share, worker)) continue;
            const T a = pair.basis_x(x[share]), b = pair.basis_y(y[share]);
            row[share * THREADS + worker].u = a + b;
            row[share * THREADS + worker].v = a - b;
        }
    }

    // Adds the errors of those pixels of the row that belong to the tile.
    FUNCTION_MEMBER void add_errors(CONSTANT Params<T>& p, PRIVATE const Tile& tile, i32 row_at, i32 worker, PRIVATE T* sums) {
        const i32 row = row_at - p.border[0];
        if (row < tile.from[0] || row >= tile.pixels_to[0]) return;
        UNROLL
        for (i32 share = 0; share < SHARE; share++) {
            const i32 at = tile.first[2] - p.border[2] + share * THREADS + worker;
            if (at < tile.from[2] || at >= tile.pixels_to[2] || !is_used(share, worker)) continue;
            const T difference = x[share] - y[share];
            sums[SQUARED] = fma(difference, difference, sums[SQUARED]);
            sums[ABSOLUTE] += magnitude(difference);
        }
    }
};

// The moments of VEC neighbors in one row.
template <class T, int TAPS, int VEC>
FUNCTION void filter_row(LOCAL const Basis<T>* row, CONSTANT T* taps, PRIVATE T (*moments)[4]) {
    UNROLL
    for (i32 at = 0; at < VEC + TAPS - 1; at++) {
        T fields[4];
        Ssim<T>::features(row[at].u, row[at].v, fields);
        UNROLL
        for (i32 column = 0; column < VEC; column++) {
            const i32 k = at - column;
            if (k < 0 || k >= TAPS) continue;
            UNROLL
            for (i32 field = 0; field < 4; field++) {
                moments[column][field] =
                    k == 0 ? taps[0] * fields[field] : fma(taps[k], fields[field], moments[column][field]);
            }
        }
    }
}

// Adds a number of the newest row to the results of the column filter that it takes part in; the first of them is complete then.
// Windows are symmetric.
template <class T, int TAPS>
FUNCTION void push(PRIVATE T* pending, T value, CONSTANT T* taps) {
    UNROLL
    for (i32 k = 0; k < TAPS - 1; k++) pending[k] = fma(taps[k], value, pending[k + 1]);
    pending[TAPS - 1] = taps[TAPS - 1] * value;
}

// What padding lines that mirror pixel rows add on the way back from map row `from`, to all fields of VEC neighboring places.
template <class T, int TAPS, int VEC>
FUNCTION void push_mirrored(PRIVATE T (*pending)[3][TAPS], PRIVATE const T (*derivatives)[3], CONSTANT Params<T>& p, i32 last, i32 from) {
    if (!p.mirror || (from > p.border[0] && from < last - p.border[0])) return;
    UNROLL
    for (i32 k = 0; k < TAPS; k++) {
        const i32 to = from - p.border[0] + k;
        if (to < 0 || to > last) continue;
        const T weight = mirrored_weight(p.taps[0], TAPS, p.border[0], last, to, from);
        UNROLL
        for (i32 at = 0; at < VEC; at++) {
            UNROLL
            for (i32 field = 0; field < 3; field++) pending[at][field][k] = fma(weight, derivatives[at][field], pending[at][field][k]);
        }
    }
}

// The weights at which the derivatives around a column go back to it, for all columns of a strip: the taps, and what padding columns
// that mirror it add. Otherwise each thread would look for its own in every row, at places of the parameters that differ from thread to thread.
template <class T, int TAPS, int VEC, int THREADS>
FUNCTION void weigh_columns(CONSTANT Params<T>& p, PRIVATE const Tile& tile, LOCAL T* weights, i32 worker) {
    enum { COLUMNS = THREADS * VEC };
    const i32 last = p.scale[tile.scale].input[2] - 1;
    for (i32 at = worker; at < TAPS * COLUMNS; at += THREADS) {
        const i32 k = TAPS - 1 - at / COLUMNS, to = tile.from[2] + at % COLUMNS;
        weights[at] = p.taps[2][k];
        if (is_mirrored(p, 2, last, to)) weights[at] += mirrored_weight(p.taps[2], TAPS, p.border[2], last, to, to + p.border[2] - k);
    }
}

// A row of the derivatives in the memory of the block, filtered back to VEC neighboring pixels. `weights` are for columns at a border.
template <class T, int TAPS, int VEC, int COLUMNS, bool INSIDE>
FUNCTION void filter_back(LOCAL const T* rows, LOCAL const T* weights, CONSTANT Params<T>& p, PRIVATE T (*pixels)[VEC]) {
    UNROLL
    for (i32 at = 0; at < VEC + TAPS - 1; at++) {
        T values[3];
        UNROLL
        for (i32 field = 0; field < 3; field++) values[field] = rows[field * COLUMNS + at];
        UNROLL
        for (i32 column = 0; column < VEC; column++) {
            const i32 k = at - column;
            if (k < 0 || k >= TAPS) continue;
            const T weight = INSIDE ? p.taps[2][TAPS - 1 - k] : weights[k * COLUMNS + column];
            UNROLL
            for (i32 field = 0; field < 3; field++)
                pixels[field][column] = k == 0 ? weight * values[field] : fma(weight, values[field], pixels[field][column]);
        }
    }
}

// Whether a strip of values, or of a gradient, and a row beyond it lie within the image, the pixels of a row side by side.
template <class P, class T, int TAPS, int COLUMNS>
FUNCTION bool is_inside(CONSTANT Params<T>& p, PRIVATE const Tile& tile, PRIVATE Pair<P, T>& pair, bool gradient) {
    CONSTANT Scale& scale = p.scale[tile.scale];
    const i32 top = tile.first[0] - p.border[0], left = tile.first[2] - p.border[2];
    const i32 rows = tile.to[0] - tile.from[0] + (gradient ? 2 : 1) * (TAPS - 1);
    return top >= 0 && left >= 0 && top + rows < scale.input[0] && left + COLUMNS + TAPS - 1 <= scale.input[2] &&
           tile.first[0] >= p.border[0] && tile.first[2] >= p.border[2] && pair.x.strides[2] == 1 && pair.y.strides[2] == 1;
}

template <class P, class T, int TAPS, int VEC, int THREADS, bool FULL, bool INSIDE>
FUNCTION void value_strip(CONSTANT Params<T>& p, PRIVATE const Tile& tile, PRIVATE Pair<P, T>& pair, DEVICE T* map, LOCAL Basis<T>* room,
                          i32 worker, PRIVATE T* sums) {
    typedef Strip<T, TAPS, VEC, THREADS> Sizes;
    CONSTANT Scale& scale = p.scale[tile.scale];
    const i32 column = tile.from[2] + worker * VEC;
    Feed<P, T, TAPS, VEC, THREADS, INSIDE> feed;
    feed.start(p, pair, tile, worker);
    if (feed.AHEAD) feed.fetch(p, pair, tile, tile.first[0], worker);

    T pending[VEC][4][TAPS] = {};
    const i32 steps = tile.to[0] - tile.from[0] + TAPS - 1;
    UNROLL_INSIDE_TWICE
    for (i32 step = 0; step < steps; step++) {
        LOCAL Basis<T>* row = room + (step & 1) * Sizes::ROW;
        if (!feed.AHEAD) feed.fetch(p, pair, tile, tile.first[0] + step, worker);
        feed.stash(pair, row, worker);
        if (FULL && p.errors) feed.add_errors(p, tile, tile.first[0] + step, worker, sums);
        // One row too far is there.
        if (feed.AHEAD) feed.fetch(p, pair, tile, tile.first[0] + step + 1, worker);
        synchronize<THREADS>();

        T moments[VEC][4];
        filter_row<T, TAPS, VEC>(row + worker * VEC, p.taps[2], moments);
        UNROLL
        for (i32 at = 0; at < VEC; at++) {
            UNROLL
            for (i32 field = 0; field < 4; field++) push<T, TAPS>(pending[at][field], moments[at][field], p.taps[0]);
        }
        if (step < TAPS - 1) continue;

        const i32 done = tile.from[0] + step - (TAPS - 1); // the row of the map that is complete now
        const bool inner_row = INSIDE || (done >= p.border[0] && done < scale.map[0] - p.border[0]);
        UNROLL
        for (i32 at = 0; at < VEC; at++) {
            Ssim<T> place;
            place.set(pending[at][0][0], pending[at][1][0], pending[at][2][0], pending[at][3][0], pair.constants);
            const T one_minus_ssim = place.one_minus_ssim();
            const bool own = INSIDE || column + at < tile.to[2];
            const bool inner = INSIDE || (column + at >= p.border[2] && column + at < scale.map[2] - p.border[2]);
            if (own) sums[SSIM] += one_minus_ssim;
            if (own && inner && inner_row) sums[CONTRAST] += place.one_minus_contrast;
            if (FULL && p.map_of >= 0 && own) {
                const i64 to = scale.places + (i64(tile.plane) * scale.map[0] + done) * scale.map[2] + column + at;
                map[to] = T(1) - (p.map_of == SSIM ? one_minus_ssim : place.one_minus_contrast);
            }
        }
    }
}

template <class P, class T, int TAPS, int VEC, int THREADS, bool FULL>
FUNCTION void value(DEVICE const P* x, DEVICE const P* y, DEVICE const T* coarse_x, DEVICE const T* coarse_y, DEVICE const T* ranges,
                    DEVICE T* partials, DEVICE T* map, CONSTANT Params<T>& p, LOCAL Basis<T>* room, i32 block, i32 worker) {
    Tile tile = {};
    tile.set(p, block, false);
    Pair<P, T> pair = pair_of(p, tile, x, y, coarse_x, coarse_y, ranges, tile);
    T sums[QUANTITIES] = {};
    if (is_inside<P, T, TAPS, THREADS * VEC>(p, tile, pair, false)) {
        value_strip<P, T, TAPS, VEC, THREADS, FULL, true>(p, tile, pair, map, room, worker, sums);
    } else {
        value_strip<P, T, TAPS, VEC, THREADS, FULL, false>(p, tile, pair, map, room, worker, sums);
    }
    write_sums(sums, partials, (LOCAL T*)(room + Strip<T, TAPS, VEC, THREADS>::PIXELS), block, worker, THREADS);
}

// The gradient of VEC neighboring pixels, from the derivatives in the memory of the block; `x` and `y` are where the pixels are, and `to` is where
// the gradient goes. `by_errors` are the derivatives with respect to the sums of squared and of absolute errors.
template <class P, class T, int TAPS, int VEC, int THREADS, bool FULL, bool INSIDE>
FUNCTION void write_pixels(CONSTANT Params<T>& p, PRIVATE const Tile& tile, PRIVATE Pair<P, T>& pair, Cursor<P, T> x, Cursor<P, T> y,
                           DEVICE T* to, LOCAL const T* back, i32 own, PRIVATE const T* by_errors, PRIVATE T* sums) {
    typedef Strip<T, TAPS, VEC, THREADS> Sizes;
    const i32 column = tile.from[2] + own;
    T by[3][VEC];
    filter_back<T, TAPS, VEC, Sizes::COLUMNS, INSIDE>(back + own, back + 2 * Sizes::BACK + own, p, by);
    UNROLL
    for (i32 at = 0; at < VEC; at++) {
        if (own + at >= Sizes::RESULTS || (!INSIDE && column + at >= tile.to[2])) continue;
        const T pixel_x = x.at(INSIDE ? at : at * pair.x.strides[2]);
        const T pixel_y = y.at(INSIDE ? at : at * pair.y.strides[2]);
        const T a = pair.basis_x(pixel_x), b = pair.basis_y(pixel_y);
        T value = Ssim<T>::pixel_vjp(a + b, a - b, p.sign, by[0][at], by[1][at], by[2][at]);
        if (FULL && p.errors) {
            const T difference = pixel_x - pixel_y;
            sums[SQUARED] = fma(difference, difference, sums[SQUARED]);
            sums[ABSOLUTE] += magnitude(difference);
            value = fma(p.sign, error_slope(difference, by_errors[0], by_errors[1]), value);
        }
        to[at] = value;
    }
}

template <class P, class T, int TAPS, int VEC, int THREADS, bool FULL, bool INSIDE>
FUNCTION void gradient_strip(CONSTANT Params<T>& p, PRIVATE const Tile& tile, PRIVATE Pair<P, T>& pair, DEVICE const Number* table,
                             DEVICE const T* map, DEVICE T* gradient, LOCAL Basis<T>* room, LOCAL T* back, i32 worker, PRIVATE T* sums) {
    typedef Strip<T, TAPS, VEC, THREADS> Sizes;
    CONSTANT Scale& scale = p.scale[tile.scale];
    const i32 own = worker * VEC, column = tile.first[2] + own; // the first place of this thread
    SsimUpstream<T> upstream;
    set_upstream(upstream, p, tile, table, pair.inv_range);
    const bool with_map = FULL && p.map_of >= 0;
    const T by_errors[2] = {upstream_of(p, table, tile.scale, SQUARED, tile.plane), upstream_of(p, table, tile.scale, ABSOLUTE, tile.plane)};

    // The first pixel of this thread's results in the next row; at a border, there are no registers to spare for them.
    Cursor<P, T> done_x = pair.x.cursor(tile.from[0], 0, tile.from[2] + own);
    Cursor<P, T> done_y = pair.y.cursor(tile.from[0], 0, tile.from[2] + own);
    DEVICE T* to = gradient + i64(tile.from[0]) * scale.input[2] + tile.from[2] + own;

    Feed<P, T, TAPS, VEC, THREADS, INSIDE> feed;
    feed.start(p, pair, tile, worker);
    if (feed.AHEAD) feed.fetch(p, pair, tile, tile.first[0], worker);
    T pending[VEC][4][TAPS] = {}, pending_back[VEC][3][TAPS] = {};
    const i32 delay = TAPS - 1, steps = tile.to[0] - tile.from[0] + 2 * delay;
    for (i32 step = 0; step < steps; step++) {
        LOCAL Basis<T>* row = room + (step & 1) * Sizes::ROW;
        if (!feed.AHEAD) feed.fetch(p, pair, tile, tile.first[0] + step, worker);
        feed.stash(pair, row, worker);
        // One row too far is there.
        if (feed.AHEAD) feed.fetch(p, pair, tile, tile.first[0] + step + 1, worker);
        synchronize<THREADS>();

        T moments[VEC][4];
        filter_row<T, TAPS, VEC>(row + own, p.taps[2], moments);
        UNROLL
        for (i32 at = 0; at < VEC; at++) {
            UNROLL
            for (i32 field = 0; field < 4; field++) push<T, TAPS>(pending[at][field], moments[at][field], p.taps[0]);
        }
        if (step < delay) continue;

        const i32 done = tile.first[0] + step - delay; // the row of the map that is complete now
        const bool row_in_map = INSIDE || (done >= 0 && done < scale.map[0]);
        const bool row_counts = row_in_map && done >= tile.from[0] && done < tile.to[0];
        const bool inner_row = INSIDE || (done >= p.border[0] && done < scale.map[0] - p.border[0]);
        T derivatives[VEC][3] = {};
        UNROLL
        for (i32 at = 0; at < VEC; at++) {
            Ssim<T> place;
            place.set(pending[at][0][0], pending[at][1][0], pending[at][2][0], pending[at][3][0], pair.constants);
            const bool in_map = INSIDE || (row_in_map && column + at >= 0 && column + at < scale.map[2]);
            const bool is_inner = INSIDE || (inner_row && column + at >= p.border[2] && column + at < scale.map[2] - p.border[2]);
            if (row_counts && in_map && column + at >= tile.from[2] && column + at < tile.to[2]) {
                sums[SSIM] += place.one_minus_ssim();
                if (is_inner) sums[CONTRAST] += place.one_minus_contrast;
            }
            if (in_map) {
                const i64 from = scale.places + (i64(tile.plane) * scale.map[0] + done) * scale.map[2] + column + at;
                const SsimUpstream<T> here = upstream_at(p, upstream, pair.inv_range, with_map, map, from, is_inner);
                place.vjp(here, p.sign, derivatives[at]);
            }
            UNROLL
            for (i32 field = 0; field < 3; field++) push<T, TAPS>(pending_back[at][field], derivatives[at][field], p.taps[0]);
        }
        if (!INSIDE) push_mirrored<T, TAPS, VEC>(pending_back, derivatives, p, scale.input[0] - 1, done);
        if (step < 2 * delay) continue;

        UNROLL
        for (i32 field = 0; field < 3; field++) {
            UNROLL
            for (i32 at = 0; at < VEC; at++) back[field * Sizes::COLUMNS + own + at] = pending_back[at][field][0];
        }
        synchronize<THREADS>();
        if (!INSIDE) {
            const i32 pixel_row = tile.from[0] + step - 2 * delay;
            done_x = pair.x.cursor(pixel_row, 0, tile.from[2] + own);
            done_y = pair.y.cursor(pixel_row, 0, tile.from[2] + own);
            to = gradient + i64(pixel_row) * scale.input[2] + tile.from[2] + own;
        }
        if (own < Sizes::RESULTS)
            write_pixels<P, T, TAPS, VEC, THREADS, FULL, INSIDE>(p, tile, pair, done_x, done_y, to, back, own, by_errors, sums);
        if (INSIDE) {
            done_x.advance(pair.x.strides[0]);
            done_y.advance(pair.y.strides[0]);
            to += scale.input[2];
        }
    }
}

template <class P, class T, int TAPS, int VEC, int THREADS, bool FULL>
FUNCTION void gradient(DEVICE const P* x, DEVICE const P* y, DEVICE const T* coarse_x, DEVICE const T* coarse_y, DEVICE const T* ranges,
                       DEVICE const Number* table, DEVICE const T* map, DEVICE T* partials, DEVICE T* fine, DEVICE T* coarse,
                       CONSTANT Params<T>& p, LOCAL Basis<T>* room, i32 block, i32 worker) {
    typedef Strip<T, TAPS, VEC, THREADS> Sizes;
    Tile tile = {};
    tile.set(p, block, true);
    Pair<P, T> pair = pair_of(p, tile, x, y, coarse_x, coarse_y, ranges, tile);
    CONSTANT Scale& scale = p.scale[tile.scale];
    DEVICE T* to = (tile.scale > 0 ? coarse + scale.offset : fine) + tile.plane * plane_len(scale);
    LOCAL T* back = (LOCAL T*)(room + Sizes::PIXELS);
    T sums[QUANTITIES] = {};
    if (is_inside<P, T, TAPS, THREADS * VEC>(p, tile, pair, true)) {
        gradient_strip<P, T, TAPS, VEC, THREADS, FULL, true>(p, tile, pair, table, map, to, room, back, worker, sums);
    } else {
        // Those of others are used behind the next barrier.
        weigh_columns<T, TAPS, VEC, THREADS>(p, tile, back + 2 * Sizes::BACK, worker);
        gradient_strip<P, T, TAPS, VEC, THREADS, FULL, false>(p, tile, pair, table, map, to, room, back, worker, sums);
    }
    write_sums(sums, partials, back + 2 * (Sizes::BACK + Sizes::WEIGHTS), block, worker, THREADS);
}
