// Errors of pixels without a window, and their gradient.

// Where pixel number `at` of some lines of a plane lies in image `which`, from the start of the plane.
template <class T>
FUNCTION i64 place_of(CONSTANT Params<T>& p, i32 which, i32 first, i32 at) {
    CONSTANT Scale& scale = p.scale[0];
    if (p.dense) return i64(first) * scale.input[2] + at;
    const i32 line = first + at / scale.input[2];
    return i64(line / scale.input[1]) * p.steps[which][0] + i64(line % scale.input[1]) * p.steps[which][1] +
           i64(at % scale.input[2]) * p.steps[which][2];
}

enum { TOGETHER = 8 }; // pixels that a thread reads, and adds plainly, at a time

// The differences of pixel `first` and of every one that is so many threads further, 0 beyond the last. Reading them all before their use
// keeps memory busy.
template <class P, class T>
FUNCTION void read_differences(DEVICE const P* x, DEVICE const P* y, CONSTANT Params<T>& p, i32 first_line, i32 first, i32 pixels, i32 workers,
                               PRIVATE T* difference) {
    UNROLL
    for (i32 next = 0; next < TOGETHER; next++) {
        const i32 at = first + next * workers;
        const bool present = at < pixels;
        difference[next] = present ? load(x, place_of(p, 0, first_line, at)) - load(y, place_of(p, 1, first_line, at)) : T(0);
    }
}

// Sums of errors of some lines of a plane.
template <class P, class T>
FUNCTION void errors(DEVICE const P* x, DEVICE const P* y, DEVICE T* partials, CONSTANT Params<T>& p, LOCAL T* room, i32 block,
                     i32 worker, i32 workers) {
    Lines run = {};
    run.set(p, block);
    x += plane_start(p, 0, run.plane);
    y += plane_start(p, 1, run.plane);
    const i32 pixels = run.count * p.scale[0].input[2];
    Total<T> totals[QUANTITIES] = {};
    for (i32 first = worker; first < pixels; first += TOGETHER * workers) {
        T difference[TOGETHER];
        read_differences(x, y, p, run.first, first, pixels, workers, difference);
        T squared = T(0), absolute = T(0);
        UNROLL
        for (i32 next = 0; next < TOGETHER; next++) {
            squared = fma(difference[next], difference[next], squared);
            absolute += magnitude(difference[next]);
        }
        add(totals[SQUARED], squared);
        add(totals[ABSOLUTE], absolute);
    }
    write_totals(totals, partials, room, block, worker, workers);
}

// The gradient of weighted sums of errors by one image, times what comes from above: one number, or one for each image.
template <class P, class T>
FUNCTION void error_gradient(DEVICE const P* x, DEVICE const P* y, DEVICE const T* ranges, DEVICE const Number* table,
                             DEVICE const Number* upstream, DEVICE P* gradient, CONSTANT Params<T>& p, i32 block, i32 worker, i32 workers) {
    Lines run = {};
    run.set(p, block);
    const i32 plane = run.plane;
    x += plane_start(p, 0, plane);
    y += plane_start(p, 1, plane);
    const i64 start = plane * plane_len(p.scale[0]) + i64(run.first) * p.scale[0].input[2];
    T above = p.with & WITH_UPSTREAM ? T(upstream[p.of_images ? plane / p.group : 0]) : T(1);
    if (p.with & WITH_RANGES) above = above / ranges[plane / p.channels] / ranges[plane / p.channels];
    const T squared = above * upstream_of(p, table, 0, SQUARED, plane), absolute = above * upstream_of(p, table, 0, ABSOLUTE, plane);
    const i32 pixels = run.count * p.scale[0].input[2];
    for (i32 first = worker; first < pixels; first += TOGETHER * workers) {
        T difference[TOGETHER];
        read_differences(x, y, p, run.first, first, pixels, workers, difference);
        UNROLL
        for (i32 next = 0; next < TOGETHER; next++) {
            const i32 at = first + next * workers;
            if (at < pixels) store(gradient, start + at, p.sign * error_slope(difference[next], squared, absolute));
        }
    }
}
