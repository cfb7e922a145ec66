// VIFp for the kernels of GPUs, as `vif.rs` for the CPU.
//
// Pixels are divided by the data range and taken around a pivot. `x` is the distorted image `d`, `y` the reference `r`; with the gain
// `g = σrd / (σr² + ε)` and `v = σd² - g σrd`, the logarithms are `log(1 + g² σr² / (v + σn²))` and `log(1 + σr² / σn²)`.

// The derivatives of the loss with respect to both logarithms at a place.
template <class T>
struct InformationUpstream {
    T kept, all;
};

template <class T>
FUNCTION void set_upstream(PRIVATE InformationUpstream<T>& upstream, CONSTANT Params<T>& p, PRIVATE const Tile& tile,
                           DEVICE const Number* table, T inv_range) {
    upstream.kept = upstream.all = T(0);
    if (!(p.with & WITH_DERIVATIVES)) return;
    upstream.kept = upstream_of(p, table, 0, 0, tile.plane) * inv_range;
    upstream.all = upstream_of(p, table, 0, 1, tile.plane) * inv_range;
}

// The same at each place.
template <class T>
FUNCTION InformationUpstream<T> upstream_at(CONSTANT Params<T>&, PRIVATE const InformationUpstream<T>& of_plane, T, bool, DEVICE const T*,
                                            i64, bool) {
    return of_plane;
}

template <class T>
FUNCTION T log_1p(T x) {
    const T sum = T(1) + x;
    // What the sum lost of x, the quotient makes up for.
    return sum == T(1) ? x : log(sum) * (x / (sum - T(1)));
}

template <class T>
struct Information {
    enum { FIELDS = 5, LONGEST = 17 };
    typedef InformationUpstream<T> Upstream;

    T distorted, reference; // means
    T noise;                // σn²
    T covariance, gain;     // the gain is 0 where it does not count
    T per_variance;         // 1 / (σr² + ε)
    T per_noise;            // 1 / (v + σn²)
    T variance;             // σr², 0 below ε
    T counts, varies, above; // 1 where the gain counts, where σr² is not below ε, and where v is above it; else 0

    static FUNCTION_MEMBER void basis(T x, T y, PRIVATE T& d, PRIVATE T& r) {
        d = x;
        r = y;
    }

    static FUNCTION_MEMBER void features(T d, T r, PRIVATE T* fields) {
        fields[0] = d;
        fields[1] = r;
        fields[2] = d * d;
        fields[3] = r * r;
        fields[4] = d * r;
    }

    FUNCTION_MEMBER void set_moments(PRIVATE const T* moments, PRIVATE const PlaceConstants<T>& constants) {
        const T epsilon = constants.c2;
        noise = constants.c1;
        distorted = moments[0];
        reference = moments[1];
        const T of_distorted = not_negative(fma(-distorted, distorted, moments[2]));
        const T of_reference = not_negative(fma(-reference, reference, moments[3]));
        covariance = fma(-distorted, reference, moments[4]);
        per_variance = T(1) / (of_reference + epsilon);
        const T any_gain = covariance * per_variance, v = fma(-any_gain, covariance, of_distorted);
        varies = T(!(of_reference < epsilon));
        counts = any_gain > T(0) && !(of_distorted < epsilon) ? varies : T(0);
        above = T(v > epsilon);
        gain = any_gain * counts;
        per_noise = T(1) / ((v > epsilon ? v : epsilon) + noise);
        variance = of_reference * varies;
    }

    FUNCTION_MEMBER T ratio() { return gain * gain * variance * per_noise; }

    FUNCTION_MEMBER void scores(PRIVATE T* both) {
        both[0] = log_1p(ratio());
        both[1] = log_1p(variance / noise);
    }

    // The derivatives with respect to the mean and the mean square of d (or of r, by the sign), and to the mean of d r.
    FUNCTION_MEMBER void vjp(PRIVATE const Upstream& upstream, T sign, PRIVATE T* by) {
        // With respect to the ratio, then to v, gain and σr² themselves.
        const T to_ratio = upstream.kept / (T(1) + ratio()) * counts;
        const T to_v = -to_ratio * ratio() * per_noise * above;
        const T to_gain = T(2) * to_ratio * gain * variance * per_noise - to_v * covariance;
        const T to_all = upstream.all / (variance + noise) * varies;
        // Through g and v.
        const T to_covariance = to_gain * per_variance - to_v * gain;
        const T to_reference = to_ratio * gain * gain * per_noise - to_gain * gain * per_variance + to_all;
        const bool of_d = sign > T(0);
        const T own = of_d ? distorted : reference, other = of_d ? reference : distorted;
        by[1] = of_d ? to_v : to_reference;
        by[2] = to_covariance;
        by[0] = -(T(2) * own * by[1]) - other * to_covariance;
    }

    static FUNCTION_MEMBER T pixel_vjp(T d, T r, T sign, T by_mean, T by_square, T by_product) {
        const bool of_d = sign > T(0);
        return fma(of_d ? r : d, by_product, fma(T(2) * (of_d ? d : r), by_square, by_mean));
    }
};
