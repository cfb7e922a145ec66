// The pass: SSIM, contrast and errors of pairs of planes, their maps, and the gradient, from one walk over the pixels.
//
// A block owns a tile of rows and columns and walks along the slices. Each slice of `u = x + y` and `v = x - y`, around a pivot and
// with its border, lies in the block's memory and is filtered along columns and rows; each thread filters one place across the
// slices, in registers: a number is added to all results that it takes part in, the oldest of which is then complete. From the four
// moments of a place come `1 - ssim` and `1 - cs`, and for a gradient the derivatives with respect to the moments, which go back
// the same way: across the slices in registers, along rows and columns through the block's memory.
//
// A block of a gradient owns fewer results than it has threads, since a result depends on a whole window of places.

// Sizes of the memory of a block, in numbers.
template <int TAPS, int ROWS, int COLS, bool GRADIENT>
struct Shape {
    enum {
        THREADS = ROWS * COLS,
        DEEP = ROWS > 1,
        MAX = TAPS > 0 ? TAPS : (DEEP ? MAX_VOLUME_TAPS : MAX_TAPS),
        HALO_ROWS = DEEP ? ROWS + MAX - 1 : 1,
        HALO_COLS = COLS + MAX - 1,
        HALO = HALO_ROWS * HALO_COLS,
        SHARE = (HALO + THREADS - 1) / THREADS, // places that a thread reads
        BUFFERS = DEEP ? 1 : 2,                 // one is filled while the other is in use
        PIXELS = BUFFERS * 2 * HALO,
        FIELDS = DEEP ? 4 * HALO_ROWS * COLS : (GRADIENT ? 3 * COLS : 0),
        ROOM = PIXELS + FIELDS > 2 * THREADS ? PIXELS + FIELDS : 2 * THREADS,
    };
};

// The line that stands at a padded position: mirrored beyond the border, or -1 for zeros. Any will do where no result depends on
// it.
FUNCTION i32 line_at(i32 position, i32 lead, i32 lines, bool mirror) {
    const i32 line = position - lead, last = lines - 1;
    if (line >= 0 && line <= last) return line;
    if (!mirror) return -1;
    const i32 mirrored = line < 0 ? -line : 2 * last - line;
    return mirrored < 0 || mirrored > last ? 0 : mirrored;
}

// The weight at map line `from` of pixel line `to` by the padding lines that mirror it.
template <class T>
FUNCTION T mirrored_weight(CONSTANT T* taps, i32 window, i32 lead, i32 last, i32 to, i32 from) {
    const i32 before = lead - to - from, after = lead + 2 * last - to - from;
    T weight = T(0);
    if (to > 0 && before >= 0 && before < window) weight += taps[before];
    if (to < last && after >= 0 && after < window) weight += taps[after];
    return weight;
}

// Where the results of a block lie, and where its walk begins.
struct Tile {
    i32 plane;
    i32 from[3], to[3]; // the results: places of the map, or pixels of a gradient
    i32 pixels_to[3];   // up to where its pixels go
    i32 first[3];       // the first place of the map that it needs; the same number is that of the first padded line

    template <class T>
    FUNCTION_MEMBER void set(CONSTANT Params<T>& p, i32 block, bool gradient) {
        plane = block / (p.tiles[0] * p.tiles[1] * p.tiles[2]);
        const i32 at[3] = {block / (p.tiles[1] * p.tiles[2]) % p.tiles[0], block / p.tiles[2] % p.tiles[1], block % p.tiles[2]};
        for (i32 axis = 0; axis < 3; axis++) {
            const bool last = at[axis] + 1 == p.tiles[axis];
            from[axis] = at[axis] * p.owned[axis];
            to[axis] = last ? (gradient ? p.input[axis] : p.map[axis]) : from[axis] + p.owned[axis];
            pixels_to[axis] = last ? p.input[axis] : to[axis];
            first[axis] = from[axis] - (gradient ? p.window[axis] - 1 - p.lead[axis] : 0);
        }
    }
};

// Reads slices of a tile ahead of their use.
template <class P, class T, int TAPS, int ROWS, int COLS, bool GRADIENT>
struct Reader {
    typedef Shape<TAPS, ROWS, COLS, GRADIENT> Sizes;
    enum { SHARE = Sizes::SHARE, THREADS = Sizes::THREADS };

    DEVICE const P* x;
    DEVICE const P* y;
    T pivot_x, pivot_y;
    i64 inner_x[SHARE], inner_y[SHARE]; // where the places lie in their slices
    bool used[SHARE], present[SHARE], owned[SHARE];
    i32 slices[2]; // whose errors count here
    T u[SHARE], v[SHARE];

    // Errors count of the pixels that belong to the tile.
    FUNCTION_MEMBER void start(CONSTANT Params<T>& p, PRIVATE const Tile& tile, i32 worker) {
        const i32 window = TAPS > 0 ? TAPS : p.window[2];
        const i32 columns = COLS + window - 1, rows = Sizes::DEEP ? ROWS + p.window[1] - 1 : 1;
        slices[0] = tile.from[0];
        slices[1] = tile.pixels_to[0];
        UNROLL
        for (i32 share = 0; share < SHARE; share++) {
            const i32 place = share * THREADS + worker;
            const i32 row_at = tile.first[1] + place / columns, column_at = tile.first[2] + place % columns;
            used[share] = place < rows * columns;
            const i32 row = line_at(row_at, p.lead[1], p.input[1], p.mirror);
            const i32 column = line_at(column_at, p.lead[2], p.input[2], p.mirror);
            present[share] = used[share] && row >= 0 && column >= 0;
            owned[share] = present[share] && row_at - p.lead[1] == row && row >= tile.from[1] && row < tile.pixels_to[1] &&
                           column_at - p.lead[2] == column && column >= tile.from[2] && column < tile.pixels_to[2];
            inner_x[share] = present[share] ? offset(p, 0, 0, row, column) : 0;
            inner_y[share] = present[share] ? offset(p, 1, 0, row, column) : 0;
        }
    }

    // Reads the slice at a padded position.
    FUNCTION_MEMBER void fetch(CONSTANT Params<T>& p, i32 position, PRIVATE Total<T>* totals) {
        const i32 slice = line_at(position, p.lead[0], p.input[0], p.mirror);
        const bool counts = p.errors && position - p.lead[0] == slice && slice >= slices[0] && slice < slices[1];
        const i64 start_x = i64(slice) * p.strides[0][2], start_y = i64(slice) * p.strides[1][2];
        UNROLL
        for (i32 share = 0; share < SHARE; share++) {
            T a = T(0), b = T(0);
            if (present[share] && slice >= 0) {
                a = load(x, start_x + inner_x[share]);
                b = load(y, start_y + inner_y[share]);
                if (counts && owned[share]) {
                    const T difference = a - b;
                    add(totals[SQUARED], difference * difference);
                    add(totals[ABSOLUTE], difference < T(0) ? -difference : difference);
                }
            }
            a -= pivot_x;
            b -= pivot_y;
            u[share] = a + b;
            v[share] = a - b;
        }
    }

    // Puts what was read into the memory of the block.
    FUNCTION_MEMBER void stash(LOCAL T* u_room, LOCAL T* v_room, i32 worker) {
        UNROLL
        for (i32 share = 0; share < SHARE; share++) {
            if (!used[share]) continue;
            u_room[share * THREADS + worker] = u[share];
            v_room[share * THREADS + worker] = v[share];
        }
    }
};

// Adds a number to the results across slices that it takes part in; the first of them is complete then.
template <class T, int TAPS>
FUNCTION void push(PRIVATE T* pending, T value, CONSTANT T* taps, i32 window) {
    if (TAPS > 0) {
        UNROLL
        for (i32 k = 0; k < TAPS - 1; k++) pending[k] = fma(taps[k], value, pending[k + 1]);
        pending[TAPS > 0 ? TAPS - 1 : 0] = taps[TAPS > 0 ? TAPS - 1 : 0] * value;
    } else {
        for (i32 k = 0; k < window - 1; k++) pending[k] = fma(taps[k], value, pending[k + 1]);
        pending[window - 1] = taps[window - 1] * value;
    }
}

// The same on the way back from map slice `from`, where padding lines mirror some of the results.
template <class T, int TAPS>
FUNCTION void push_back(PRIVATE T* pending, T value, CONSTANT Params<T>& p, i32 from) {
    push<T, TAPS>(pending, value, p.taps[0], p.window[0]);
    const i32 lead = p.lead[0], last = p.input[0] - 1;
    if (!p.mirror || (from > lead && from < last - lead)) return;
    UNROLL
    for (i32 k = 0; k < (TAPS > 0 ? TAPS : p.window[0]); k++) {
        const i32 to = from - lead + k;
        if (to >= 0 && to <= last)
            pending[k] = fma(mirrored_weight(p.taps[0], p.window[0], lead, last, to, from), value, pending[k]);
    }
}

// A line of derivatives in the memory of the block, filtered back to pixel line `to`. `stride` leads from one map line to the next;
// the last that has a part in line `to` lies at `newest`.
template <class T, int TAPS>
FUNCTION T filter_back(LOCAL const T* newest, i32 stride, CONSTANT Params<T>& p, i32 axis, i32 to) {
    const i32 window = TAPS > 0 ? TAPS : p.window[axis];
    const i32 lead = p.lead[axis], last = p.input[axis] - 1;
    T sum = T(0);
    UNROLL
    for (i32 k = 0; k < window; k++) sum = fma(p.taps[axis][k], newest[-k * stride], sum);
    if (p.mirror && (to <= lead || to >= last - lead)) {
        for (i32 k = 0; k < window; k++)
            sum = fma(mirrored_weight(p.taps[axis], window, lead, last, to, to + lead - k), newest[-k * stride], sum);
    }
    return sum;
}

// SSIM at one place. With `P`, `Q` the variances and `A`, `B` the squared means of `u`, `v`, luminance is `1 - 2B / (A + B + c1)`
// and contrast `1 - 2Q / (P + Q + c2)`.
template <class T>
struct Terms {
    T mean_u, mean_v, pivoted_u, pivoted_v;
    T by_luminance, by_contrast; // 1 / (A + B + c1), 1 / (P + Q + c2)
    T luminance, contrast;       // what they lack of 1

    FUNCTION_MEMBER void set(PRIVATE const T* moments, T shift_u, T shift_v, T c1, T c2) {
        pivoted_u = moments[0];
        pivoted_v = moments[1];
        mean_u = pivoted_u + shift_u;
        mean_v = pivoted_v + shift_v;
        T variance_u = fma(-pivoted_u, pivoted_u, moments[2]);
        T variance_v = fma(-pivoted_v, pivoted_v, moments[3]);
        variance_u = variance_u < T(0) ? T(0) : variance_u;
        variance_v = variance_v < T(0) ? T(0) : variance_v;
        const T squared_v = mean_v * mean_v;
        by_luminance = reciprocal(fma(mean_u, mean_u, squared_v) + c1);
        by_contrast = reciprocal(variance_u + variance_v + c2);
        luminance = T(2) * squared_v * by_luminance;
        contrast = T(2) * variance_v * by_contrast;
    }

    // What SSIM lacks of 1.
    FUNCTION_MEMBER T lack() { return fma(contrast, T(1) - luminance, luminance); }

    // Derivatives of the weighted sum of SSIM and contrast with respect to `x` (or `y`, by the sign) through the means, and to the
    // mean squares.
    FUNCTION_MEMBER void derive(T ssim, T cs, T spread, T sign, PRIVATE T* by) {
        const T luminance_part = ssim * (T(1) - contrast) * by_luminance;
        const T contrast_part = fma(ssim, T(1) - luminance, cs) * by_contrast * spread;
        by[1] = contrast_part * contrast;
        by[2] = contrast_part * (contrast - T(2));
        const T by_u = T(2) * (mean_u * (luminance_part * luminance) - pivoted_u * by[1]);
        const T by_v = T(2) * (mean_v * (luminance_part * (luminance - T(2))) - pivoted_v * by[2]);
        by[0] = by_u + sign * by_v;
    }
};

// The moments of this thread's place in one slice: `u`, `v` and their squares filtered along columns, and rows if there are any.
template <class T, int TAPS, int ROWS, int COLS, bool GRADIENT>
FUNCTION void filter_slice(LOCAL const T* u, LOCAL const T* v, LOCAL T* fields, CONSTANT Params<T>& p, i32 my_row, i32 my_column,
                           PRIVATE T* moments) {
    typedef Shape<TAPS, ROWS, COLS, GRADIENT> Sizes;
    const i32 window = TAPS > 0 ? TAPS : p.window[2];
    const i32 columns = COLS + window - 1, rows = Sizes::DEEP ? ROWS + p.window[1] - 1 : 1;
    for (i32 row = my_row; row < rows; row += ROWS) {
        moments[0] = moments[1] = moments[2] = moments[3] = T(0);
        LOCAL const T* u_row = u + row * columns + my_column;
        LOCAL const T* v_row = v + row * columns + my_column;
        UNROLL
        for (i32 k = 0; k < window; k++) {
            const T weighted_u = p.taps[2][k] * u_row[k], weighted_v = p.taps[2][k] * v_row[k];
            moments[0] += weighted_u;
            moments[1] += weighted_v;
            moments[2] = fma(weighted_u, u_row[k], moments[2]);
            moments[3] = fma(weighted_v, v_row[k], moments[3]);
        }
        if (Sizes::DEEP) {
            for (i32 field = 0; field < 4; field++) fields[(field * Sizes::HALO_ROWS + row) * COLS + my_column] = moments[field];
        }
    }
    if (Sizes::DEEP) {
        BARRIER();
        for (i32 field = 0; field < 4; field++) {
            LOCAL const T* column = fields + (field * Sizes::HALO_ROWS + my_row) * COLS + my_column;
            moments[field] = T(0);
            for (i32 k = 0; k < p.window[1]; k++) moments[field] = fma(p.taps[1][k], column[k * COLS], moments[field]);
        }
    }
}

// The derivatives of this thread's place in one slice, filtered back along rows and columns to its pixel, if it has one.
template <class T, int TAPS, int ROWS, int COLS>
FUNCTION bool filter_slice_back(LOCAL T* pixels, LOCAL T* fields, CONSTANT Params<T>& p, PRIVATE const Tile& tile, i32 worker,
                                PRIVATE T* derivatives) {
    enum { THREADS = ROWS * COLS };
    // Where rows are filtered, the pixels have been used by now, and their room is free.
    LOCAL T* back = ROWS > 1 ? pixels : fields;
    UNROLL
    for (i32 field = 0; field < 3; field++) back[field * THREADS + worker] = derivatives[field];
    BARRIER();
    const i32 row = tile.from[1] + worker / COLS, column = tile.from[2] + worker % COLS;
    if (ROWS > 1) {
        for (i32 field = 0; field < 3 && row < tile.to[1]; field++) {
            LOCAL const T* newest = back + field * THREADS + (p.window[1] - 1) * COLS + worker;
            fields[field * THREADS + worker] = filter_back<T, 0>(newest, COLS, p, 1, row);
        }
        BARRIER();
        back = fields;
    }
    if (row >= tile.to[1] || column >= tile.to[2]) return false;
    UNROLL
    for (i32 field = 0; field < 3; field++) {
        LOCAL const T* newest = back + field * THREADS + worker + (TAPS > 0 ? TAPS : p.window[2]) - 1;
        derivatives[field] = filter_back<T, TAPS>(newest, 1, p, 2, column);
    }
    return true;
}

// The derivatives with respect to the quantities of a plane, for each place or pixel.
template <class T>
struct Slopes {
    T ssim, contrast, squared, absolute;

    FUNCTION_MEMBER void set(CONSTANT Params<T>& p, DEVICE const Number* weights, i32 plane) {
        const bool none = p.map_of >= 0;
        ssim = none ? T(0) : slope(p, weights, SSIM, plane) / T(p.counts[0]);
        contrast = none || p.counts[1] == 0 ? T(0) : slope(p, weights, CONTRAST, plane) / T(p.counts[1]);
        squared = none ? T(0) : slope(p, weights, SQUARED, plane);
        absolute = none ? T(0) : slope(p, weights, ABSOLUTE, plane);
    }
};

template <class P, class T, int TAPS, int ROWS, int COLS, bool GRADIENT>
FUNCTION void pass(DEVICE const P* x, DEVICE const P* y, DEVICE const T* pivots, DEVICE const T* ranges, DEVICE const Number* weights,
                   DEVICE const T* upstream, DEVICE const T* coarser, DEVICE T* partials, DEVICE T* map, DEVICE P* gradient,
                   CONSTANT Params<T>& p, LOCAL T* room, i32 block, i32 worker) {
    typedef Shape<TAPS, ROWS, COLS, GRADIENT> Sizes;
    enum { MAX = Sizes::MAX, HALO = Sizes::HALO };
    Tile tile = {};
    tile.set(p, block, GRADIENT);
    const i32 plane = tile.plane;
    if (GRADIENT && p.weights == CORRECTED && as_foreseen(p, weights, plane)) return;

    // The place of this thread.
    const i32 my_row = worker / COLS, my_column = worker % COLS;
    const i32 row = tile.first[1] + my_row, column = tile.first[2] + my_column;
    const bool in_map = row >= 0 && row < p.map[1] && column >= 0 && column < p.map[2];
    const bool own = in_map && row >= tile.from[1] && row < tile.to[1] && column >= tile.from[2] && column < tile.to[2];
    const bool inner = row >= p.crop[1] && row < p.map[1] - p.crop[1] && column >= p.crop[2] && column < p.map[2] - p.crop[2];

    const T pivot_x = pivots[plane], pivot_y = pivots[p.planes + plane];
    const T range = p.per_image ? ranges[plane / p.channels] : p.range;
    const T c1 = p.luminance * range * range, c2 = p.contrast * range * range;
    Slopes<T> slopes = {};
    if (GRADIENT) slopes.set(p, weights, plane);

    Total<T> totals[QUANTITIES] = {};
    Reader<P, T, TAPS, ROWS, COLS, GRADIENT> reader;
    reader.x = x + plane_start(p, 0, plane);
    reader.y = y + plane_start(p, 1, plane);
    reader.pivot_x = pivot_x;
    reader.pivot_y = pivot_y;
    reader.start(p, tile, worker);
    reader.fetch(p, tile.first[0], totals);

    T pending[4][MAX] = {};
    T pending_back[3][GRADIENT ? MAX : 1] = {};
    const i32 delay = p.window[0] - 1;
    const i32 steps = tile.to[0] - tile.from[0] + (GRADIENT ? 2 : 1) * delay;
    LOCAL T* fields = room + Sizes::PIXELS;
    for (i32 step = 0; step < steps; step++) {
        LOCAL T* u = room + (Sizes::BUFFERS > 1 ? (step & 1) * 2 * HALO : 0);
        reader.stash(u, u + HALO, worker);
        if (step + 1 < steps) reader.fetch(p, tile.first[0] + step + 1, totals);
        BARRIER();

        T moments[4];
        filter_slice<T, TAPS, ROWS, COLS, GRADIENT>(u, u + HALO, fields, p, my_row, my_column, moments);
        UNROLL
        for (i32 field = 0; field < 4; field++) push<T, TAPS>(pending[field], moments[field], p.taps[0], p.window[0]);
        if (step < delay) continue;

        // The slice of the map that is complete now.
        const i32 slice = tile.first[0] + step - delay;
        T derivatives[3] = {T(0), T(0), T(0)};
        if (in_map && slice >= 0 && slice < p.map[0]) {
            const T complete[4] = {pending[0][0], pending[1][0], pending[2][0], pending[3][0]};
            Terms<T> terms;
            terms.set(complete, pivot_x + pivot_y, pivot_x - pivot_y, c1, c2);
            const bool counts = inner && slice >= p.crop[0] && slice < p.map[0] - p.crop[0];
            const i64 at = ((i64(plane) * p.map[0] + slice) * p.map[1] + row) * p.map[2] + column;
            if (own && slice >= tile.from[0] && slice < tile.to[0]) {
                if (p.sums) {
                    add(totals[SSIM], terms.lack());
                    if (counts) add(totals[CONTRAST], terms.contrast);
                }
                if (!GRADIENT && p.map_of >= 0) map[at] = T(1) - (p.map_of == SSIM ? terms.lack() : terms.contrast);
            }
            if (GRADIENT) {
                const T by_ssim = p.map_of == SSIM ? upstream[at] : slopes.ssim;
                const T by_contrast = p.map_of == CONTRAST ? upstream[at] : counts ? slopes.contrast : T(0);
                terms.derive(by_ssim, by_contrast, p.spread, p.sign, derivatives);
            }
        }

        if (GRADIENT) {
            UNROLL
            for (i32 field = 0; field < 3; field++) {
                push_back<T, TAPS>(pending_back[field], derivatives[field], p, slice);
                derivatives[field] = pending_back[field][0];
            }
            if (step < 2 * delay) continue;
            if (!filter_slice_back<T, TAPS, ROWS, COLS>(room, fields, p, tile, worker, derivatives)) continue;
            const i32 at[3] = {slice - p.lead[0], tile.from[1] + my_row, tile.from[2] + my_column};
            const T pixel_x = load(reader.x, offset(p, 0, at[0], at[1], at[2]));
            const T pixel_y = load(reader.y, offset(p, 1, at[0], at[1], at[2]));
            const T a = pixel_x - pivot_x, b = pixel_y - pivot_y;
            T value = fma(T(2) * (a + b), derivatives[1], derivatives[0]);
            value = fma(p.sign * T(2) * (a - b), derivatives[2], value);
            value += p.sign * error_slope(pixel_x - pixel_y, slopes.squared, slopes.absolute);
            if (p.add_coarser) value += from_coarser(coarser, p, plane, at[0], at[1], at[2]);
            store(gradient, ((i64(plane) * p.input[0] + at[0]) * p.input[1] + at[1]) * p.input[2] + at[2], value);
        }
    }
    if (p.sums) write_partials(totals, partials, p, room, block, worker, Sizes::THREADS);
}
