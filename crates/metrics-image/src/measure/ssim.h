// SSIM for the kernels of GPUs, as `ssim.rs` for the CPU.
//
// Pixels are divided by the data range and taken around a pivot. With `P`, `Q` the variances and `A`, `B` the squared means of
// `u = x + y` and `v = x - y`, luminance is `1 - 2B / (A + B + c1)` and contrast `1 - 2Q / (P + Q + c2)`.

// What the functions of a place need; of VIFp, c1 and c2 are σn² and ε.
template <class T>
struct PlaceConstants {
    T c1, c2;
    T pivot_u, pivot_v; // u and v of the pivots
};

// The derivatives of the loss with respect to the maps at a place.
template <class T>
struct SsimUpstream {
    T ssim;
    T ssim_by_contrast; // the same, or 0 where the contrast does not depend on the pixels
    T contrast;
};

template <class T>
struct Ssim {
    enum { FIELDS = 4, LONGEST = MAX_TAPS }; // moments, and taps of a window
    typedef SsimUpstream<T> Upstream;

    T mean_u, mean_v, filtered_u, filtered_v;
    T inv_luminance, inv_contrast;            // 1 / (A + B + c1), 1 / (P + Q + c2)
    T one_minus_luminance, one_minus_contrast;

    static FUNCTION_MEMBER void basis(T x, T y, PRIVATE T& u, PRIVATE T& v) {
        u = x + y;
        v = x - y;
    }

    // u, v and their squares.
    static FUNCTION_MEMBER void features(T u, T v, PRIVATE T* fields) {
        fields[0] = u;
        fields[1] = v;
        fields[2] = u * u;
        fields[3] = v * v;
    }

    FUNCTION_MEMBER void set(T u, T v, T squared_u, T squared_v, PRIVATE const PlaceConstants<T>& constants) {
        filtered_u = u;
        filtered_v = v;
        mean_u = u + constants.pivot_u;
        mean_v = v + constants.pivot_v;
        const T var_u = not_negative(fma(-u, u, squared_u)), var_v = not_negative(fma(-v, v, squared_v));
        const T squared_mean_v = mean_v * mean_v;
        inv_luminance = reciprocal(fma(mean_u, mean_u, squared_mean_v + constants.c1));
        inv_contrast = reciprocal(var_u + var_v + constants.c2);
        one_minus_luminance = T(2) * squared_mean_v * inv_luminance;
        one_minus_contrast = T(2) * var_v * inv_contrast;
    }

    FUNCTION_MEMBER void set_moments(PRIVATE const T* moments, PRIVATE const PlaceConstants<T>& constants) {
        set(moments[0], moments[1], moments[2], moments[3], constants);
    }

    FUNCTION_MEMBER void scores(PRIVATE T* both) {
        both[SSIM] = one_minus_ssim();
        both[CONTRAST] = one_minus_contrast;
    }

    FUNCTION_MEMBER T one_minus_ssim() {
        return fma(one_minus_contrast, T(1) - one_minus_luminance, one_minus_luminance);
    }

    // The derivatives with respect to the pixel of x (or of y, by the sign) through the means, and with respect to the filtered squares
    // of u and v.
    FUNCTION_MEMBER void vjp(PRIVATE const SsimUpstream<T>& upstream, T sign, PRIVATE T* by) {
        const T by_luminance = T(2) * upstream.ssim * (T(1) - one_minus_contrast) * inv_luminance;
        const T by_contrast = fma(upstream.ssim_by_contrast, T(1) - one_minus_luminance, upstream.contrast) * inv_contrast;
        by[1] = by_contrast * one_minus_contrast;
        by[2] = fma(T(-2), by_contrast, by[1]);
        const T part = by_luminance * one_minus_luminance;
        const T by_v = fma(mean_v, fma(T(-2), by_luminance, part), T(-2) * filtered_v * by[2]);
        by[0] = fma(mean_u, part, fma(T(-2) * filtered_u, by[1], sign * by_v));
    }

    // The derivative with respect to a pixel, from those above, filtered, and from u and v of the pixel.
    static FUNCTION_MEMBER T pixel_vjp(T u, T v, T sign, T by_means, T by_squared_u, T by_squared_v) {
        return fma(T(2) * u, by_squared_u, fma(sign * T(2) * v, by_squared_v, by_means));
    }
};
