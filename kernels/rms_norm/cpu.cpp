// RMSNorm over rows, forward and backward; sums in float. Specification: kernels/rms_norm/ref.py.

#include <cmath>

#include "../parallel.h"

using namespace r1;

namespace {

constexpr int64_t LEAST = 1 << 15;  // numbers that pay for a thread

template <class T>
void forward(const T *x, const T *weight, T *out, float *inverse, int64_t rows, int64_t width, double eps,
             int64_t threads) {
  parallel(rows, threads, LEAST / width + 1, [=](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const T *in = x + r * width;
      T *o = out + r * width;
      float sum = 0;
      for (int64_t i = 0; i < width; ++i) sum += widen(in[i]) * widen(in[i]);
      const float scale = 1.0f / std::sqrt(sum / width + float(eps));
      inverse[r] = scale;
      for (int64_t i = 0; i < width; ++i) o[i] = narrow<T>(widen(in[i]) * scale * widen(weight[i]));
    }
  });
}

// partial [threads, width]: each thread's share of the weight's gradient.
template <class T>
void backward(const T *grad, const T *x, const T *weight, const float *inverse, T *grad_x, float *partial,
              int64_t rows, int64_t width, int64_t threads) {
  parallel(rows, threads, LEAST / width + 1, [=](int64_t begin, int64_t end, int64_t part) {
    float *sums = partial + part * width;
    for (int64_t r = begin; r < end; ++r) {
      const T *in = x + r * width, *g = grad + r * width;
      T *o = grad_x + r * width;
      const float scale = inverse[r];
      float dot = 0;
      for (int64_t i = 0; i < width; ++i) {
        const float product = widen(in[i]) * widen(g[i]);
        dot += product * widen(weight[i]);
        sums[i] += product * scale;
      }
      const float share = dot * scale * scale * scale / width;
      for (int64_t i = 0; i < width; ++i)
        o[i] = narrow<T>(widen(weight[i]) * widen(g[i]) * scale - widen(in[i]) * share);
    }
  });
}

}  // namespace

#define EXPORT(T, NAME)                                                                                            \
  extern "C" void rms_norm_forward_##NAME(const T *x, const T *weight, T *out, float *inverse, int64_t rows,       \
                                          int64_t width, double eps, int64_t threads) {                           \
    forward(x, weight, out, inverse, rows, width, eps, threads);                                                  \
  }                                                                                                               \
  extern "C" void rms_norm_backward_##NAME(const T *grad, const T *x, const T *weight, const float *inverse,      \
                                           T *grad_x, float *partial, int64_t rows, int64_t width,                \
                                           int64_t threads) {                                                     \
    backward(grad, x, weight, inverse, grad_x, partial, rows, width, threads);                                    \
  }
EXPORT(float, f32)
EXPORT(bf16, bf16)
