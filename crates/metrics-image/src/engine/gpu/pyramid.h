// Images at the coarser scales of MS-SSIM, and the way back from there.

enum { PYRAMID_SIDE = 16, PYRAMID_LEVELS = 4, PYRAMID_WORKERS = PYRAMID_SIDE * PYRAMID_SIDE };

enum { ABREAST = 4 }; // columns whose gradients a thread reads at once

// Up to four coarser scales of both flat images, from reading them once. A block makes 16×16 pixels of the first scale after
// `finest` of both, and 8×8, 4×4 and 2×2 of those that follow; blocks are counted by column, row and plane.
template <class P, class T>
FUNCTION void pyramid(DEVICE const P* x, DEVICE const P* y, DEVICE T* coarse_x, DEVICE T* coarse_y, CONSTANT Params<T>& p,
                      LOCAL T* room, i32 block, i32 worker) {
    const i32 finest = p.finest;
    const i32 levels = p.scales - 1 - finest < PYRAMID_LEVELS ? p.scales - 1 - finest : i32(PYRAMID_LEVELS);
    // A block starts where the pixels that it is made of start: by so many lines later at a scale as lines come before the first of finer ones.
    i32 shift[PYRAMID_LEVELS + 1][2];
    shift[levels][0] = shift[levels][1] = 0;
    for (i32 level = levels; level > 0; level--) {
        for (i32 axis = 0; axis < 2; axis++)
            shift[level - 1][axis] = 2 * shift[level][axis] + p.scale[finest + level - 1].lead[2 * axis];
    }
    CONSTANT Scale& first = p.scale[finest + 1];
    const i32 across = first.tiles[2], down = first.tiles[0];
    Tile tile = {};
    tile.scale = finest;
    tile.plane = block / (across * down);
    const i32 origin[2] = {block / across % down, block % across};
    const i32 my_row = worker / PYRAMID_SIDE, my_column = worker % PYRAMID_SIDE;
    Plane<P, T> plane_x, plane_y;
    plane_x.set(p, tile, 0, x, coarse_x);
    plane_y.set(p, tile, 1, y, coarse_y);
    LOCAL T* room_y = room + PYRAMID_WORKERS;

    i32 side = PYRAMID_SIDE;
    T mean_x = T(0), mean_y = T(0);
    for (i32 level = 1; level <= levels; level++, side /= 2) {
        CONSTANT Scale& finer = p.scale[finest + level - 1];
        CONSTANT Scale& scale = p.scale[finest + level];
        const i32 row = origin[0] * side - shift[level][0] + my_row, column = origin[1] * side - shift[level][1] + my_column;
        const bool busy = my_row < side && my_column < side;
        const bool present = busy && row >= 0 && row < scale.input[0] && column >= 0 && column < scale.input[2];
        T sum_x = T(0), sum_y = T(0);
        if (present) {
            const i32 top = 2 * row - finer.lead[0], left = 2 * column - finer.lead[2];
            UNROLL
            for (i32 corner = 0; corner < 4; corner++) {
                i32 at_row = top + (corner >> 1), at_column = left + (corner & 1);
                // A line before the first.
                if ((at_row < 0 || at_column < 0) && !p.repeat) continue;
                const i32 in_row = 2 * my_row + (corner >> 1) + (at_row < 0), in_column = 2 * my_column + (corner & 1) + (at_column < 0);
                at_row = at_row < 0 ? 0 : at_row;
                at_column = at_column < 0 ? 0 : at_column;
                const i32 in_room = in_row * PYRAMID_SIDE + in_column;
                sum_x += level == 1 ? plane_x.at(plane_x.offset(at_row, 0, at_column)) : room[in_room];
                sum_y += level == 1 ? plane_y.at(plane_y.offset(at_row, 0, at_column)) : room_y[in_room];
            }
            mean_x = sum_x * T(0.25);
            mean_y = sum_y * T(0.25);
            const i64 to = scale.offset + (i64(tile.plane) * scale.input[0] + row) * scale.input[2] + column;
            coarse_x[to] = mean_x;
            coarse_y[to] = mean_y;
        }
        if (level == levels) return;
        BARRIER();
        if (busy) {
            room[my_row * PYRAMID_SIDE + my_column] = mean_x;
            room_y[my_row * PYRAMID_SIDE + my_column] = mean_y;
        }
        BARRIER();
    }
}

// Both volumes averaged over 2×2×2 pixels, from scale `finest` to the next. A block makes a row of the result.
template <class P, class T>
FUNCTION void halve(DEVICE const P* x, DEVICE const P* y, DEVICE T* coarse_x, DEVICE T* coarse_y, CONSTANT Params<T>& p,
                    i32 block, i32 worker, i32 workers) {
    CONSTANT Scale& finer = p.scale[p.finest];
    CONSTANT Scale& scale = p.scale[p.finest + 1];
    Tile tile = {};
    tile.scale = p.finest;
    tile.plane = block / (scale.input[0] * scale.input[1]);
    i32 to[3] = {block / scale.input[1] % scale.input[0], block % scale.input[1], 0};
    Plane<P, T> plane_x, plane_y;
    plane_x.set(p, tile, 0, x, coarse_x);
    plane_y.set(p, tile, 1, y, coarse_y);
    for (to[2] = worker; to[2] < scale.input[2]; to[2] += workers) {
        T sum_x = T(0), sum_y = T(0);
        for (i32 corner = 0; corner < 8; corner++) {
            i32 line[3];
            bool before = false; // whether a line is before the first
            for (i32 axis = 0; axis < 3; axis++) {
                line[axis] = 2 * to[axis] + (corner >> (2 - axis) & 1) - finer.lead[axis];
                before = before || line[axis] < 0;
                line[axis] = line[axis] < 0 ? 0 : line[axis];
            }
            if (before && !p.repeat) continue;
            sum_x += plane_x.at(plane_x.offset(line[0], line[1], line[2]));
            sum_y += plane_y.at(plane_y.offset(line[0], line[1], line[2]));
        }
        const i64 row = (i64(tile.plane) * scale.input[0] + to[0]) * scale.input[1] + to[1];
        coarse_x[scale.offset + row * scale.input[2] + to[2]] = sum_x * T(0.125);
        coarse_y[scale.offset + row * scale.input[2] + to[2]] = sum_y * T(0.125);
    }
}

// Whether the lines of an axis are averaged in pairs: the one row of each slice of a flat image is not.
template <class T>
FUNCTION bool is_halved(CONSTANT Params<T>& p, i32 axis) {
    return !(axis == 1 && p.flat);
}

// How much of a pixel of the next scale a line is on one axis: half of it, but for a first line that comes twice.
template <class T>
FUNCTION T share_of(CONSTANT Params<T>& p, i32 lead, i32 line) {
    return line == 0 && lead == 1 && p.repeat ? T(1) : T(0.5);
}

// What all gradients of an image make together, times what comes from above: that of the image itself is in `fine`, or in
// `gradient` where that has the same type. `upstream` has one number, or one for each image.
template <class P, class T>
FUNCTION void combine(DEVICE const T* fine, DEVICE const T* coarse, DEVICE const Number* table, DEVICE const Number* upstream,
                      DEVICE P* gradient, CONSTANT Params<T>& p, i32 block, i32 worker, i32 workers) {
    CONSTANT Scale& first = p.scale[0];
    Lines run = {};
    run.set(p, block);
    const i32 plane = run.plane;
    const bool unit = p.upstream == UNIT;
    const bool apart = p.with & WITH_FINE;
    const T above = p.with & WITH_UPSTREAM ? T(upstream[p.of_images ? plane / p.group : 0]) : T(1);
    // Nothing to do.
    if (!apart && p.scales == 1 && !unit && above == T(1)) return;
    T weight[MAX_SCALES];
    for (i32 scale = 0; scale < p.scales; scale++)
        weight[scale] = unit ? above * T(table[entry(p, scale, term_at(p, scale), plane)]) : above;
    for (i32 line = 0; line < run.count; line++) {
        const i32 in_plane = run.first + line;
        const i64 start = plane * plane_len(first) + i64(in_plane) * first.input[2];
        // At each coarser scale: where the line that this one went into starts, and the weight of its pixels; as far as there is one.
        i64 begin[MAX_SCALES];
        T share[MAX_SCALES];
        i32 scales = 1, down[2] = {in_plane / first.input[1], in_plane % first.input[1]};
        T weight_here = T(1);
        UNROLL
        for (i32 scale = 1; scale < MAX_SCALES; scale++) {
            if (scale >= p.scales || scale != scales) continue;
            CONSTANT Scale& finer = p.scale[scale - 1];
            CONSTANT Scale& coarser = p.scale[scale];
            bool present = true;
            UNROLL
            for (i32 axis = 0; axis < 2; axis++) {
                if (!is_halved(p, axis)) continue;
                weight_here *= share_of(p, finer.lead[axis], down[axis]);
                down[axis] = (down[axis] + finer.lead[axis]) / 2;
                present = present && down[axis] < coarser.input[axis];
            }
            if (!present) continue;
            begin[scale] = coarser.offset + ((i64(plane) * coarser.input[0] + down[0]) * coarser.input[1] + down[1]) * coarser.input[2];
            share[scale] = weight[scale] * weight_here;
            scales++;
        }
        for (i32 next = worker; next < first.input[2]; next += ABREAST * workers) {
            T value[ABREAST] = {}, along[ABREAST];
            i32 at[ABREAST];
            UNROLL
            for (i32 part = 0; part < ABREAST; part++) {
                at[part] = next + part * workers;
                along[part] = T(1);
                if (at[part] >= first.input[2]) continue;
                value[part] = weight[0] * (apart ? fine[start + at[part]] : load((DEVICE const P*)gradient, start + at[part]));
            }
            UNROLL
            for (i32 scale = 1; scale < MAX_SCALES; scale++) {
                if (scale >= scales) break;
                const i32 lead = p.scale[scale - 1].lead[2];
                UNROLL
                for (i32 part = 0; part < ABREAST; part++) {
                    along[part] *= share_of(p, lead, at[part]);
                    at[part] = (at[part] + lead) / 2;
                    // Where one scale lacks a column, so do all that follow.
                    if (at[part] >= p.scale[scale].input[2]) continue;
                    value[part] = fma(share[scale] * along[part], coarse[begin[scale] + at[part]], value[part]);
                }
            }
            UNROLL
            for (i32 part = 0; part < ABREAST; part++) {
                if (next + part * workers < first.input[2]) store(gradient, start + next + part * workers, value[part]);
            }
        }
    }
}
