// Kernels beside the pass: pivots before it, results after it, and errors and halves without it.

// What lies near the middle of a plane: the mean of the finite ones among up to 16 lines of each axis. One block for each plane and
// image; pivots of the first image come first.
template <class P, class T>
FUNCTION void pivot(DEVICE const P* x, DEVICE const P* y, DEVICE T* pivots, CONSTANT Params<T>& p, LOCAL T* room, i32 block,
                    i32 worker, i32 workers) {
    const i32 which = block / p.planes, plane = block % p.planes;
    const i64 start = plane_start(p, which, plane);
    i32 step[3], places[3];
    for (i32 axis = 0; axis < 3; axis++) {
        step[axis] = (p.input[axis] + 15) / 16;
        places[axis] = (p.input[axis] + step[axis] - 1) / step[axis];
    }
    Total<T> sum = {T(0), T(0)}, count = {T(0), T(0)};
    for (i32 at = worker; at < places[0] * places[1] * places[2]; at += workers) {
        const i32 slice = at / (places[1] * places[2]) * step[0];
        const i32 row = at / places[2] % places[1] * step[1];
        const i32 column = at % places[2] * step[2];
        const i64 from = start + offset(p, which, slice, row, column);
        const T value = which == 0 ? load(x, from) : load(y, from);
        if (value - value == T(0)) {
            add(sum, value);
            add(count, T(1));
        }
    }
    sum = reduce(sum, room, worker, workers);
    count = reduce(count, room, worker, workers);
    if (worker == 0) pivots[block] = count.high > T(0) ? T(number(sum) / number(count)) : T(0);
}

// Whether a quantity is among the results, and summed for them.
template <class T>
FUNCTION bool summed(CONSTANT Params<T>& p, i32 quantity) {
    return p.rows[quantity] >= 0 && (quantity >= 2 || p.scored[quantity]);
}

// The results of a plane, from the partial sums of its tiles. One block for each plane.
template <class T>
FUNCTION void finish(DEVICE const T* partials, DEVICE Number* results, CONSTANT Params<T>& p, LOCAL T* room, i32 plane,
                     i32 worker, i32 workers) {
    const i32 tiles = p.tiles[0] * p.tiles[1] * p.tiles[2];
    for (i32 quantity = 0; quantity < QUANTITIES; quantity++) {
        if (p.rows[quantity] < 0) continue;
        Total<T> total = {T(0), T(0)};
        if (summed(p, quantity)) {
            for (i32 tile = worker; tile < tiles; tile += workers) {
                const i64 at = ((i64(plane) * tiles + tile) * QUANTITIES + quantity) * 2;
                add(total, partials[at]);
                total.low += partials[at + 1];
            }
            total = reduce(total, room, worker, workers);
        }
        if (worker > 0) continue;
        Number result = number(total);
        // What is not scored is the mean of nothing, NaN.
        if (quantity < 2) result = Number(1) - result / Number(p.scored[quantity] ? p.counts[quantity] : 0);
        results[i64(p.rows[quantity]) * p.planes + plane] = result;
    }
}

// Writes what a block has summed of its tile.
template <class T>
FUNCTION void write_partials(PRIVATE Total<T>* totals, DEVICE T* partials, CONSTANT Params<T>& p, LOCAL T* room, i32 block,
                             i32 worker, i32 workers) {
    for (i32 quantity = 0; quantity < QUANTITIES; quantity++) {
        if (!summed(p, quantity)) continue;
        const Total<T> total = reduce(totals[quantity], room, worker, workers);
        if (worker == 0) {
            const i64 at = (i64(block) * QUANTITIES + quantity) * 2;
            partials[at] = total.high;
            partials[at + 1] = total.low;
        }
    }
}

// Pixel number `at` of a plane, in image `which`, from its start.
template <class T>
FUNCTION i64 pixel(CONSTANT Params<T>& p, i32 which, i64 at) {
    if (p.dense) return at;
    const i64 row = at / p.input[2];
    return offset(p, which, i32(row / p.input[1]), i32(row % p.input[1]), i32(at % p.input[2]));
}

// Errors of a run of pixels of a plane. One block for each run of each plane; `owned` counts pixels here.
template <class P, class T>
FUNCTION void errors(DEVICE const P* x, DEVICE const P* y, DEVICE T* partials, CONSTANT Params<T>& p, LOCAL T* room, i32 block,
                     i32 worker, i32 workers) {
    const i32 plane = block / p.tiles[2];
    const i64 start_x = plane_start(p, 0, plane), start_y = plane_start(p, 1, plane);
    const i64 len = i64(p.input[0]) * p.input[1] * p.input[2];
    const i64 first = i64(block % p.tiles[2]) * p.owned[2];
    const i64 end = first + p.owned[2] < len ? first + p.owned[2] : len;
    Total<T> totals[QUANTITIES] = {};
    for (i64 at = first + worker; at < end; at += workers) {
        const T difference = load(x, start_x + pixel(p, 0, at)) - load(y, start_y + pixel(p, 1, at));
        add(totals[SQUARED], difference * difference);
        add(totals[ABSOLUTE], difference < T(0) ? -difference : difference);
    }
    write_partials(totals, partials, p, room, block, worker, workers);
}

// The gradient of weighted sums of errors by one image. One thread for each pixel.
template <class P, class T>
FUNCTION void error_gradient(DEVICE const P* x, DEVICE const P* y, DEVICE const Number* weights, DEVICE P* gradient,
                             CONSTANT Params<T>& p, i64 at) {
    const i64 len = i64(p.input[0]) * p.input[1] * p.input[2];
    const i32 plane = i32(at / len);
    if (plane >= p.planes) return;
    const T difference = load(x, plane_start(p, 0, plane) + pixel(p, 0, at % len)) -
                         load(y, plane_start(p, 1, plane) + pixel(p, 1, at % len));
    const T by_first = error_slope(difference, slope(p, weights, SQUARED, plane), slope(p, weights, ABSOLUTE, plane));
    store(gradient, at, p.sign * by_first);
}

// Whether the lines of an axis meet in pairs: the one row of each slice of a flat image does not.
template <class T>
FUNCTION bool meets(CONSTANT Params<T>& p, i32 axis) {
    return !(axis == 1 && p.flat);
}

// Both images averaged over 2×2 (2×2×2) pixels, as dense planes. One thread for each pixel of the result.
template <class P, class T>
FUNCTION void halve(DEVICE const P* x, DEVICE const P* y, DEVICE T* half_x, DEVICE T* half_y, CONSTANT Params<T>& p, i64 at) {
    const i64 len = i64(p.coarse[0]) * p.coarse[1] * p.coarse[2];
    const i32 plane = i32(at / len);
    if (plane >= p.planes) return;
    const i64 start_x = plane_start(p, 0, plane), start_y = plane_start(p, 1, plane);
    const i32 to[3] = {i32(at % len / (i64(p.coarse[1]) * p.coarse[2])), i32(at / p.coarse[2] % p.coarse[1]), i32(at % p.coarse[2])};
    T sum_x = T(0), sum_y = T(0);
    for (i32 corner = 0; corner < 8; corner++) {
        i32 line[3];
        bool counts = true;
        for (i32 axis = 0; axis < 3; axis++) {
            const i32 second = (corner >> (2 - axis)) & 1;
            if (!meets(p, axis)) {
                counts = counts && second == 0;
                line[axis] = to[axis];
                continue;
            }
            line[axis] = 2 * to[axis] + second - p.coarse_lead[axis];
            if (line[axis] < 0) {
                counts = counts && p.repeat;
                line[axis] = 0;
            }
        }
        if (counts) {
            sum_x += load(x, start_x + offset(p, 0, line[0], line[1], line[2]));
            sum_y += load(y, start_y + offset(p, 1, line[0], line[1], line[2]));
        }
    }
    const T weight = p.flat ? T(0.25) : T(0.125);
    half_x[at] = sum_x * weight;
    half_y[at] = sum_y * weight;
}

// What the gradient with respect to a halved image gives a pixel.
template <class T>
FUNCTION T from_coarser(DEVICE const T* coarser, CONSTANT Params<T>& p, i32 plane, i32 slice, i32 row, i32 column) {
    const i32 line[3] = {slice, row, column};
    T weight = T(1);
    i64 at = plane;
    for (i32 axis = 0; axis < 3; axis++) {
        const i32 lead = p.coarse_lead[axis];
        const i32 to = meets(p, axis) ? (line[axis] + lead) / 2 : line[axis];
        if (to >= p.coarse[axis]) return T(0);
        if (meets(p, axis)) weight *= line[axis] == 0 && lead == 1 && p.repeat ? T(1) : T(0.5);
        at = at * p.coarse[axis] + to;
    }
    return coarser[at] * weight;
}
