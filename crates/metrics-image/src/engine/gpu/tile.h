// Which pixels a block reads, and where its results lie.

// Which part of which plane a block works on.
struct Tile {
    i32 scale, plane;
    i32 from[3], to[3]; // its results: places of the map, or pixels of a gradient
    i32 pixels_to[3];   // up to where its pixels go
    i32 first[3];       // the first place of the map that it needs; the same number is that of the first padded line

    template <class T>
    FUNCTION_MEMBER void set(CONSTANT Params<T>& p, i32 block, bool gradient) {
        scale = 0;
        while (scale + 1 < p.scales && block >= p.scale[scale + 1].first) scale++;
        CONSTANT Scale& s = p.scale[scale];
        block -= s.first;
        plane = block / tiles_of(s);
        const i32 at[3] = {block / (s.tiles[1] * s.tiles[2]) % s.tiles[0], block / s.tiles[2] % s.tiles[1], block % s.tiles[2]};
        for (i32 axis = 0; axis < 3; axis++) {
            const bool last = at[axis] + 1 == s.tiles[axis];
            from[axis] = at[axis] * s.owned[axis];
            to[axis] = last ? (gradient ? s.input[axis] : s.map[axis]) : from[axis] + s.owned[axis];
            pixels_to[axis] = last ? s.input[axis] : to[axis];
            first[axis] = from[axis] - (gradient ? p.window[axis] - 1 - p.border[axis] : 0);
        }
    }
};

// The whole plane of a tile.
template <class T>
FUNCTION Tile plane_of(CONSTANT Params<T>& p, PRIVATE const Tile& tile) {
    Tile plane = tile;
    for (i32 axis = 0; axis < 3; axis++) {
        plane.from[axis] = 0;
        plane.pixels_to[axis] = p.scale[tile.scale].input[axis];
    }
    return plane;
}

// Lines of a plane that a block goes through, one after another.
struct Lines {
    i32 plane, first, count;

    template <class T>
    FUNCTION_MEMBER void set(CONSTANT Params<T>& p, i32 block) {
        const i32 all = p.scale[0].input[0] * p.scale[0].input[1], blocks = (all - 1) / p.lines + 1;
        plane = block / blocks;
        first = block % blocks * p.lines;
        count = all - first < p.lines ? all - first : p.lines;
    }
};

// The line that stands at a padded position: mirrored beyond the border, or -1 for zeros. Any will do where no result depends on
// it.
FUNCTION i32 line_at(i32 position, i32 border, i32 lines, bool mirror) {
    const i32 line = position - border, last = lines - 1;
    if (line >= 0 && line <= last) return line;
    if (!mirror) return -1;
    const i32 mirrored = line < 0 ? -line : 2 * last - line;
    return mirrored < 0 || mirrored > last ? 0 : mirrored;
}

// A place in an image. At the first scale pixels have their own type, at coarser ones they are computed.
template <class P, class T>
struct Cursor {
    DEVICE const P* pixels;
    DEVICE const T* coarser; // null at the first scale

    FUNCTION_MEMBER void set(DEVICE const P* image, DEVICE const T* coarse) {
        pixels = image;
        coarser = coarse;
    }
    FUNCTION_MEMBER T at(i64 place) { return coarser ? coarser[place] : load(pixels, place); }
    FUNCTION_MEMBER void advance(i64 places) {
        pixels += places;
        if (coarser) coarser += places;
    }
};

// Where that is the same type.
template <class T>
struct Cursor<T, T> {
    DEVICE const T* pixels;

    FUNCTION_MEMBER void set(DEVICE const T* image, DEVICE const T* coarse) { pixels = coarse ? coarse : image; }
    FUNCTION_MEMBER T at(i64 place) { return pixels[place]; }
    FUNCTION_MEMBER void advance(i64 places) { pixels += places; }
};

// A plane of one image.
template <class P, class T>
struct Plane {
    Cursor<P, T> start;
    i32 strides[3];

    FUNCTION_MEMBER void set(CONSTANT Params<T>& p, PRIVATE const Tile& tile, i32 which, DEVICE const P* image, DEVICE const T* coarse) {
        CONSTANT Scale& scale = p.scale[tile.scale];
        if (tile.scale > 0) {
            start.set(image, coarse + scale.offset + tile.plane * plane_len(scale));
            strides[0] = scale.input[1] * scale.input[2];
            strides[1] = scale.input[2];
            strides[2] = 1;
        } else {
            start.set(image + plane_start(p, which, tile.plane), 0);
            for (i32 axis = 0; axis < 3; axis++) strides[axis] = p.steps[which][axis];
        }
    }

    FUNCTION_MEMBER i64 offset(i32 slice, i32 row, i32 column) {
        return i64(slice) * strides[0] + i64(row) * strides[1] + i64(column) * strides[2];
    }

    FUNCTION_MEMBER T at(i64 place) { return start.at(place); }

    FUNCTION_MEMBER Cursor<P, T> cursor(i32 slice, i32 row, i32 column) {
        Cursor<P, T> cursor = start;
        cursor.advance(offset(slice, row, column));
        return cursor;
    }
};

// Both images of a plane, and how their pixels are divided by the data range and taken around a pivot.
template <class P, class T>
struct Pair {
    Plane<P, T> x, y;
    T inv_range;
    T shift_x, shift_y; // the pivots, divided by the range, negative
    PlaceConstants<T> constants;

    FUNCTION_MEMBER T basis_x(T value) { return fma(value, inv_range, shift_x); }
    FUNCTION_MEMBER T basis_y(T value) { return fma(value, inv_range, shift_y); }
};

// A number near the middle of the pixels of a tile: the mean of the finite ones among 16 of them. It is subtracted from the pixels,
// so that squares of large values do not eat up small variances.
template <class P, class T>
FUNCTION T pivot(PRIVATE Plane<P, T>& plane, PRIVATE const Tile& tile) {
    T sum = T(0), count = T(0);
    for (i32 sample = 0; sample < 16; sample++) {
        i32 line[3];
        for (i32 axis = 0; axis < 3; axis++) {
            const i32 part = axis == 0 ? sample & 3 : sample >> 2;
            const i32 lines = tile.pixels_to[axis] - tile.from[axis];
            line[axis] = tile.from[axis] + lines / 8 + part * (lines / 4);
        }
        const T value = plane.at(plane.offset(line[0], line[1], line[2]));
        if (is_finite(value)) {
            sum += value;
            count += T(1);
        }
    }
    return count > T(0) ? sum / count : T(0);
}

// The pair of planes of a tile, around pivots from the pixels of `sample`.
template <class P, class T>
FUNCTION Pair<P, T> pair_of(CONSTANT Params<T>& p, PRIVATE const Tile& tile, DEVICE const P* x, DEVICE const P* y,
                            DEVICE const T* coarse_x, DEVICE const T* coarse_y, DEVICE const T* ranges, PRIVATE const Tile& sample) {
    Pair<P, T> pair;
    pair.x.set(p, tile, 0, x, coarse_x);
    pair.y.set(p, tile, 1, y, coarse_y);
    pair.inv_range = T(1) / range_of(p, ranges, tile.plane);
    pair.shift_x = -pivot(pair.x, sample) * pair.inv_range;
    pair.shift_y = -pivot(pair.y, sample) * pair.inv_range;
    pair.constants.c1 = p.constants[0];
    pair.constants.c2 = p.constants[1];
    pair.constants.pivot_u = -(pair.shift_x + pair.shift_y);
    pair.constants.pivot_v = -(pair.shift_x - pair.shift_y);
    return pair;
}

// The derivatives with respect to what is summed become those with respect to each place.
template <class T>
FUNCTION void set_upstream(PRIVATE SsimUpstream<T>& upstream, CONSTANT Params<T>& p, PRIVATE const Tile& tile, DEVICE const Number* table,
                           T inv_range) {
    CONSTANT Scale& scale = p.scale[tile.scale];
    upstream.ssim = upstream.ssim_by_contrast = upstream.contrast = T(0);
    if (p.map_of >= 0) return;
    upstream.ssim = upstream_of(p, table, tile.scale, SSIM, tile.plane) / T(scale.counts[0]) * inv_range;
    upstream.ssim_by_contrast = upstream.ssim * p.spread;
    const T contrast = upstream_of(p, table, tile.scale, CONTRAST, tile.plane);
    upstream.contrast = scale.counts[1] == 0 ? T(0) : contrast / T(scale.counts[1]) * inv_range * p.spread;
}

// The upstream at a place: by a map of it where there is one, and without contrast where the window leaves the image.
template <class T>
FUNCTION SsimUpstream<T> upstream_at(CONSTANT Params<T>& p, PRIVATE const SsimUpstream<T>& of_plane, T inv_range, bool with_map,
                                     DEVICE const T* map, i64 at, bool is_inner) {
    SsimUpstream<T> upstream = of_plane;
    if (with_map) {
        const T by_map = map[at] * inv_range;
        upstream.ssim = p.map_of == SSIM ? by_map : T(0);
        upstream.ssim_by_contrast = upstream.ssim * p.spread;
        upstream.contrast = p.map_of == CONTRAST ? by_map * p.spread : T(0);
    } else if (!is_inner) {
        upstream.contrast = T(0);
    }
    return upstream;
}

// u and v of a pixel in the memory of a block.
template <class T>
struct alignas(2 * sizeof(T)) Basis {
    T u, v;
};

// ---- the way back at a mirrored border

// The weight at map line `from` of pixel line `to` by the padding lines that mirror it.
template <class T>
FUNCTION T mirrored_weight(CONSTANT T* taps, i32 window, i32 border, i32 last, i32 to, i32 from) {
    const i32 before = border - to - from, after = border + 2 * last - to - from;
    T weight = T(0);
    if (to > 0 && before >= 0 && before < window) weight += taps[before];
    if (to < last && after >= 0 && after < window) weight += taps[after];
    return weight;
}

// Whether padding lines mirror a pixel line.
template <class T>
FUNCTION bool is_mirrored(CONSTANT Params<T>& p, i32 axis, i32 last, i32 to) {
    return p.mirror && (to <= p.border[axis] || to >= last - p.border[axis]);
}

// ---- sums of a block

// The sums of all threads of a block, in a fixed order, to its place among the partial sums. `room` is used for nothing else.
template <class T>
FUNCTION void write_totals(PRIVATE Total<T>* totals, DEVICE T* partials, LOCAL T* room, i32 block, i32 worker, i32 workers) {
    UNROLL
    for (i32 quantity = 0; quantity < QUANTITIES; quantity++) {
        room[2 * quantity * workers + worker] = totals[quantity].high;
        room[(2 * quantity + 1) * workers + worker] = totals[quantity].low;
    }
    for (i32 step = workers / 2; step > 0; step /= 2) {
        BARRIER();
        if (worker >= step) continue;
        UNROLL
        for (i32 quantity = 0; quantity < QUANTITIES; quantity++) {
            LOCAL T* high = room + 2 * quantity * workers + worker;
            LOCAL T* low = high + workers;
            add(totals[quantity], high[step]);
            totals[quantity].low += low[step];
            *high = totals[quantity].high;
            *low = totals[quantity].low;
        }
    }
    if (worker > 0) return;
    for (i32 quantity = 0; quantity < QUANTITIES; quantity++) {
        const i64 at = (i64(block) * QUANTITIES + quantity) * 2;
        partials[at] = totals[quantity].high;
        partials[at + 1] = totals[quantity].low;
    }
}

// The same of sums of few numbers, which have no low part.
template <class T>
FUNCTION void write_sums(PRIVATE const T* sums, DEVICE T* partials, LOCAL T* room, i32 block, i32 worker, i32 workers) {
    Total<T> totals[QUANTITIES];
    for (i32 quantity = 0; quantity < QUANTITIES; quantity++) {
        totals[quantity].high = sums[quantity];
        totals[quantity].low = T(0);
    }
    write_totals(totals, partials, room, block, worker, workers);
}
