// From the sums of all blocks to the numbers of images, to one number, and the derivatives on the way back. The formulas are those of
// `similarity.rs`, `gmsd.rs` and `vif.rs`.

// What a number of an image is made of: one of the sums, those of all scales, or both sums of GMSD or VIFp.
enum { MS_SSIM = QUANTITIES, GMSD, VIF };

// What becomes of negative terms of MS-SSIM before they are raised to a power.
enum { RELU, SIMPLE, NONE };

// What becomes of the numbers of the images.
enum { PER_IMAGE, MEAN, SUM };

struct Pool {
    Number weights[MAX_TERMS];            // of the terms in their mixture
    Number betas[MAX_TERMS][MAX_SCALES]; // the exponents of MS-SSIM
    Number offset;                        // of the mixture
    Number slope;                         // the derivative of the result with respect to a number of an image
    Number constants[2];                  // of GMSD, the number of places and the degrees of freedom; of VIFp, what is added to both sums
    i32 kinds[MAX_TERMS];                // a quantity, MS_SSIM, GMSD or VIF
    i32 normalize[MAX_TERMS];            // RELU, SIMPLE or NONE
    i32 per_channel[MAX_TERMS];          // whether the mean over channels comes after the powers
    i32 terms;
    i32 mixed;  // whether the terms are mixed to one number
    i32 output; // PER_IMAGE, MEAN or SUM
    i32 by_range; // whether errors are divided by the squared data range of their image
};

// A term of MS-SSIM to the power of beta, and its derivative.
FUNCTION Number power(i32 normalize, Number term, Number beta, PRIVATE Number& slope) {
    slope = Number(0);
    if (term != term) return slope = term;
    if (beta == Number(0)) return Number(1);
    if ((normalize == RELU && term <= Number(0)) || (normalize == SIMPLE && term <= Number(-1))) return Number(0);
    const Number scale = normalize == SIMPLE ? Number(0.5) : Number(1);
    const Number base = normalize == SIMPLE ? (term + Number(1)) / Number(2) : term;
    slope = beta * scale * pow(base, beta - Number(1));
    return pow(base, beta);
}

// The product of the powers of all terms, and its derivative with respect to each.
FUNCTION Number product(CONSTANT Pool& pool, i32 term, i32 scales, PRIVATE const Number* means, PRIVATE Number* slopes) {
    Number powers[MAX_SCALES], result = Number(1);
    for (i32 scale = 0; scale < scales; scale++) {
        powers[scale] = power(pool.normalize[term], means[scale], pool.betas[term][scale], slopes[scale]);
        result *= powers[scale];
    }
    for (i32 scale = 0; scale < scales; scale++) {
        // Where a derivative is 0, it stays so beside whatever there is.
        if (slopes[scale] == Number(0)) continue;
        for (i32 other = 0; other < scales; other++) {
            if (other != scale) slopes[scale] *= powers[other];
        }
    }
    return result;
}

// The terms of MS-SSIM of a plane, or their means over the channels of an image.
template <class T>
FUNCTION void terms_of(CONSTANT Params<T>& p, DEVICE const Number* rows, i32 first, i32 planes, PRIVATE Number* means) {
    for (i32 scale = 0; scale < p.scales; scale++) {
        means[scale] = Number(0);
        for (i32 plane = first; plane < first + planes; plane++) means[scale] += rows[entry(p, scale, term_at(p, scale), plane)];
        means[scale] /= Number(planes);
    }
}

// MS-SSIM of an image.
template <class T>
FUNCTION Number ms_ssim(CONSTANT Params<T>& p, CONSTANT Pool& pool, DEVICE const Number* rows, i32 term, i32 image) {
    Number means[MAX_SCALES], slopes[MAX_SCALES], sum = Number(0);
    const i32 groups = pool.per_channel[term] ? p.group : 1, planes = p.group / groups;
    for (i32 group = 0; group < groups; group++) {
        terms_of(p, rows, image * p.group + group * planes, planes, means);
        sum += product(pool, term, p.scales, means, slopes);
    }
    return sum / Number(groups);
}

// GMSD of a plane, the deviation of numbers of these sums and sums of squares, and its derivatives with respect to both.
FUNCTION Number deviation(CONSTANT Pool& pool, Number sum, Number squares, PRIVATE Number* slopes) {
    const Number mean = sum / pool.constants[0], variance = (squares - sum * mean) / pool.constants[1];
    slopes[0] = slopes[1] = Number(0);
    if (!(variance > Number(0))) return sum * Number(0); // 0, unless the sum is NaN
    const Number deviation = sqrt(variance);
    slopes[0] = -mean / (pool.constants[1] * deviation);
    slopes[1] = Number(0.5) / (pool.constants[1] * deviation);
    return deviation;
}

// VIFp of a plane from its sums of logarithms over all scales, and its derivatives with respect to both.
FUNCTION Number fidelity(CONSTANT Pool& pool, Number kept, Number all, PRIVATE Number* slopes) {
    const Number per_decade = Number(0.43429448190325182765); // 1 / ln 10
    kept = kept * per_decade + pool.constants[0];
    all = all * per_decade + pool.constants[0];
    slopes[0] = per_decade / all;
    slopes[1] = -kept / all * slopes[0];
    return kept / all;
}

// GMSD or VIFp of a plane.
template <class T>
FUNCTION Number of_two_sums(CONSTANT Params<T>& p, CONSTANT Pool& pool, DEVICE const Number* rows, i32 kind, i32 plane, PRIVATE Number* slopes) {
    Number sums[2] = {Number(0), Number(0)};
    for (i32 scale = 0; scale < p.scales; scale++) {
        for (i32 quantity = 0; quantity < 2; quantity++) sums[quantity] += rows[entry(p, scale, quantity, plane)];
    }
    return kind == GMSD ? deviation(pool, sums[0], sums[1], slopes) : fidelity(pool, sums[0], sums[1], slopes);
}

// The data range of an image, or of the image of a channel.
template <class T>
FUNCTION Number range_of_image(CONSTANT Params<T>& p, DEVICE const T* ranges, i32 image) {
    return Number(ranges[image * p.group / p.channels]);
}

// A number of an image.
template <class T>
FUNCTION Number term_of(CONSTANT Params<T>& p, CONSTANT Pool& pool, DEVICE const Number* rows, DEVICE const T* ranges, i32 term, i32 image) {
    const i32 kind = pool.kinds[term];
    if (kind == MS_SSIM) return ms_ssim(p, pool, rows, term, image);
    Number sum = Number(0);
    if (kind > MS_SSIM) {
        Number slopes[2];
        for (i32 channel = 0; channel < p.group; channel++) sum += of_two_sums(p, pool, rows, kind, image * p.group + channel, slopes);
        return sum / Number(p.group);
    }
    for (i32 channel = 0; channel < p.group; channel++) sum += rows[entry(p, 0, kind, image * p.group + channel)];
    if (kind == SSIM || kind == CONTRAST) return sum / Number(p.group);
    return pool.by_range ? sum / range_of_image(p, ranges, image) / range_of_image(p, ranges, image) : sum;
}

// The derivatives of the result with respect to the means and sums of a plane, at all scales, to the table. `upstream` has one number, or
// one for each number of each image; without it, 1.
template <class T>
FUNCTION void distribute(CONSTANT Params<T>& p, CONSTANT Pool& pool, DEVICE const Number* rows, DEVICE const T* ranges,
                         DEVICE const Number* upstream, DEVICE Number* table, i32 plane) {
    const i32 image = plane / p.group;
    Number by[MAX_SCALES][QUANTITIES] = {};
    for (i32 term = 0; term < pool.terms; term++) {
        const i32 at = pool.mixed ? image : term * p.images + image;
        Number weight = pool.slope * (p.with & WITH_UPSTREAM ? upstream[p.of_images ? at : 0] : Number(1));
        if (pool.mixed) weight *= pool.weights[term];
        const i32 kind = pool.kinds[term];
        if (kind == MS_SSIM) {
            Number means[MAX_SCALES], slopes[MAX_SCALES];
            const bool apart = pool.per_channel[term];
            terms_of(p, rows, apart ? plane : image * p.group, apart ? 1 : p.group, means);
            product(pool, term, p.scales, means, slopes);
            for (i32 scale = 0; scale < p.scales; scale++)
                by[scale][term_at(p, scale)] += weight * slopes[scale] / Number(p.group);
        } else if (kind > MS_SSIM) {
            // The only term. The same at every scale, whose sums are added.
            of_two_sums(p, pool, rows, kind, plane, by[0]);
            by[0][0] *= weight / Number(p.group);
            by[0][1] *= weight / Number(p.group);
        } else if (kind == SSIM || kind == CONTRAST) {
            by[0][kind] += weight / Number(p.group);
        } else {
            by[0][kind] += pool.by_range ? weight / range_of_image(p, ranges, image) / range_of_image(p, ranges, image) : weight;
        }
    }
    for (i32 scale = 0; scale < p.scales; scale++) {
        for (i32 quantity = 0; quantity < QUANTITIES; quantity++) table[entry(p, scale, quantity, plane)] = by[scale][quantity];
    }
}

// The means and sums of all planes, from the partial sums of their tiles. Some threads share a plane, so many for its tiles alone, so that
// a plane has the same sum in any batch.
template <class T>
FUNCTION void sum_planes(DEVICE const T* partials, DEVICE Number* rows, CONSTANT Params<T>& p, bool as_means, LOCAL T* room, i32 scale,
                         i32 quantity, i32 worker, i32 workers) {
    CONSTANT Scale& s = p.scale[scale];
    const i32 tiles = tiles_of(s), lanes = tiles < 8 ? 1 : tiles < 64 ? 8 : 32, lane = worker % lanes;
    for (i32 first = 0; first < p.planes; first += workers / lanes) {
        const i32 plane = first + worker / lanes;
        Total<T> total = {T(0), T(0)};
        for (i32 tile = plane < p.planes ? lane : tiles; tile < tiles; tile += lanes) {
            const i64 at = ((s.first + i64(plane) * tiles + tile) * QUANTITIES + quantity) * 2;
            add(total, partials[at]);
            total.low += partials[at + 1];
        }
        BARRIER();
        room[worker] = total.high;
        room[workers + worker] = total.low;
        BARRIER();
        if (lane > 0 || plane >= p.planes) continue;
        for (i32 other = worker + 1; other < worker + lanes; other++) {
            add(total, room[other]);
            total.low += room[workers + other];
        }
        const Number sum = number(total);
        rows[entry(p, scale, quantity, plane)] = as_means && quantity < 2 ? Number(1) - sum / Number(s.counts[quantity]) : sum;
    }
}

// All results, from the partial sums of all tiles: one block. `rows` gets the means and sums of planes, and has room for a number of
// each thread behind them; the table gets the derivatives where the gradients of scales wait to be combined.
template <class T>
FUNCTION void finish(DEVICE const T* partials, DEVICE const T* ranges, DEVICE Number* rows, DEVICE Number* table, DEVICE Number* numbers,
                     CONSTANT Params<T>& p, CONSTANT Pool& pool, LOCAL T* room, i32 worker, i32 workers) {
    for (i32 scale = 0; scale < p.scales; scale++) {
        // Errors are those of the images themselves.
        for (i32 quantity = 0; quantity < (scale == 0 && p.errors ? i32(QUANTITIES) : 2); quantity++)
            sum_planes(partials, rows, p, pool.kinds[0] <= MS_SSIM, room, scale, quantity, worker, workers);
    }
    BARRIER_OF_DEVICE();
    DEVICE Number* sums = rows + entry(p, p.scales, 0, 0);
    Number sum = Number(0);
    for (i32 image = worker; image < p.images; image += workers) {
        Number mixture = pool.offset;
        for (i32 term = 0; term < pool.terms; term++) {
            const Number number = term_of(p, pool, rows, ranges, term, image);
            mixture += pool.weights[term] * number;
            if (!pool.mixed && pool.output == PER_IMAGE) numbers[term * p.images + image] = number;
            if (!pool.mixed) sum += number;
        }
        if (pool.mixed && pool.output == PER_IMAGE) numbers[image] = mixture;
        if (pool.mixed) sum += mixture;
    }
    if (p.with & WITH_TABLE) {
        for (i32 plane = worker; plane < p.planes; plane += workers) distribute(p, pool, rows, ranges, (DEVICE const Number*)0, table, plane);
    }
    if (pool.output == PER_IMAGE) return;
    sums[worker] = sum;
    BARRIER_OF_DEVICE();
    if (worker > 0) return;
    sum = Number(0);
    for (i32 other = 0; other < workers; other++) sum += sums[other];
    numbers[0] = pool.output == MEAN ? sum / Number(p.images) : sum;
}
