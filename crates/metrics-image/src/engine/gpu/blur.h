// The coarser scales of VIFp: images filtered by a window that lies inside of them, every second row and column; and the way back.
//
// Planes lie dense. Of the parameters, the first scale is what is written and the second what is read.

// Both images at the next scale.
template <class T>
FUNCTION void blur(DEVICE const T* x, DEVICE const T* y, DEVICE T* coarser_x, DEVICE T* coarser_y, CONSTANT Params<T>& p, i32 block, i32 worker,
                   i32 workers) {
    CONSTANT Scale& coarser = p.scale[0];
    CONSTANT Scale& finer = p.scale[1];
    Lines run = {};
    run.set(p, block);
    const i64 from = run.plane * plane_len(finer), to = run.plane * plane_len(coarser) + i64(run.first) * coarser.input[2];
    for (i32 at = worker; at < run.count * coarser.input[2]; at += workers) {
        const i32 row = 2 * (run.first + at / coarser.input[2]), column = 2 * (at % coarser.input[2]);
        T sum_x = T(0), sum_y = T(0);
        for (i32 down = 0; down < p.window[0]; down++) {
            const i64 line = from + i64(row + down) * finer.input[2] + column;
            T line_x = T(0), line_y = T(0);
            for (i32 k = 0; k < p.window[2]; k++) {
                line_x = fma(p.taps[2][k], x[line + k], line_x);
                line_y = fma(p.taps[2][k], y[line + k], line_y);
            }
            sum_x = fma(p.taps[0][down], line_x, sum_x);
            sum_y = fma(p.taps[0][down], line_y, sum_y);
        }
        coarser_x[to + at] = sum_x;
        coarser_y[to + at] = sum_y;
    }
}

// Adds to a gradient what comes down from that of the next scale.
template <class T>
FUNCTION void blur_adjoint(DEVICE const T* coarser_gradient, DEVICE T* gradient, CONSTANT Params<T>& p, i32 block, i32 worker, i32 workers) {
    CONSTANT Scale& finer = p.scale[0];
    CONSTANT Scale& coarser = p.scale[1];
    Lines run = {};
    run.set(p, block);
    const i64 from = run.plane * plane_len(coarser), to = run.plane * plane_len(finer) + i64(run.first) * finer.input[2];
    for (i32 at = worker; at < run.count * finer.input[2]; at += workers) {
        const i32 row = run.first + at / finer.input[2], column = at % finer.input[2];
        T sum = T(0);
        // Every second tap meets a row, or column, of the next scale.
        for (i32 down = row & 1; down < p.window[0] && down <= row; down += 2) {
            const i32 line = (row - down) / 2;
            if (line >= coarser.input[0]) continue;
            T of_line = T(0);
            for (i32 k = column & 1; k < p.window[2] && k <= column; k += 2) {
                const i32 place = (column - k) / 2;
                if (place < coarser.input[2]) of_line = fma(p.taps[2][k], coarser_gradient[from + i64(line) * coarser.input[2] + place], of_line);
            }
            sum = fma(p.taps[0][down], of_line, sum);
        }
        gradient[to + at] += sum;
    }
}
