// RMSNorm over rows, forward and backward; sums in float. Specification: kernels/rms_norm/ref.py.

#include <cmath>

#include "../vector.h"

using namespace r1;

namespace {

constexpr int64_t LEAST = 1 << 17;  // numbers that pay for a thread

// 1 / √mean, and 0 of infinity, to which large numbers' squares add up.
inline float inverse_root(float mean) { return word_of(mean) == INFINITE ? 0.0f : 1.0f / std::sqrt(mean); }

template <class T>
void forward(const T *x, const T *weight, T *out, float *inverse, int64_t rows, int64_t width, double eps,
             int64_t threads) {
  parallel(rows, threads, LEAST / width + 1, [=](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const T *in = x + r * width;
      T *o = out + r * width;
      Vec sum[4] = {};
      for (int64_t i = 0; i < width; i += 2 * CHUNK) {
        const Pair a = load(in + i, width - i), b = load(in + i + CHUNK, width - i - CHUNK);
        sum[0] += a.first * a.first;
        sum[1] += a.second * a.second;
        sum[2] += b.first * b.first;
        sum[3] += b.second * b.second;
      }
      const float square = total((sum[0] + sum[1]) + (sum[2] + sum[3]));
      const float scale = inverse_root(square / width + float(eps));
      inverse[r] = scale;
      for (int64_t i = 0; i < width; i += CHUNK) {
        const Pair a = load(in + i, width - i), w = load(weight + i, width - i);
        store(Pair{a.first * scale * w.first, a.second * scale * w.second}, o + i, width - i);
      }
    }
  });
}

template <class T>
void backward(const T *grad, const T *x, const T *weight, const float *inverse, T *grad_x, T *grad_weight,
              int64_t rows, int64_t width, int64_t threads) {
  const int64_t chunks = (width + CHUNK - 1) / CHUNK;
  std::vector<Pair> shares(threads * chunks);  // each thread's of the weight's gradient
  parallel(rows, threads, LEAST / width + 1, [=, &shares](int64_t begin, int64_t end, int64_t part) {
    for (int64_t r = begin; r < end; ++r) {
      const T *in = x + r * width, *given = grad + r * width;
      T *o = grad_x + r * width;
      const float scale = inverse[r];
      Pair dot = {}, *share = &shares[part * chunks];
      for (int64_t i = 0; i < width; i += CHUNK, ++share) {
        const Pair a = load(in + i, width - i), g = load(given + i, width - i), w = load(weight + i, width - i);
        const Vec first = a.first * g.first, second = a.second * g.second;
        dot.first += first * w.first;
        dot.second += second * w.second;
        share->first += first * scale;
        share->second += second * scale;
      }
      const float back = total(dot.first + dot.second) * scale * scale * scale / width;
      for (int64_t i = 0; i < width; i += CHUNK) {
        const Pair a = load(in + i, width - i), g = load(given + i, width - i), w = load(weight + i, width - i);
        store(Pair{w.first * g.first * scale - a.first * back, w.second * g.second * scale - a.second * back}, o + i,
              width - i);
      }
    }
  });
  for (int64_t c = 0; c < chunks; ++c) {
    Pair sum = {};
    for (int64_t part = 0; part < threads; ++part) {
      sum.first += shares[part * chunks + c].first;
      sum.second += shares[part * chunks + c].second;
    }
    store(sum, grad_weight + c * CHUNK, width - c * CHUNK);
  }
}

}  // namespace

#define EXPORT(T, NAME)                                                                                            \
  extern "C" void rms_norm_forward_##NAME(const T *x, const T *weight, T *out, float *inverse, int64_t rows,       \
                                          int64_t width, double eps, int64_t threads) {                           \
    forward(x, weight, out, inverse, rows, width, eps, threads);                                                  \
  }                                                                                                               \
  extern "C" void rms_norm_backward_##NAME(const T *grad, const T *x, const T *weight, const float *inverse,      \
                                           T *grad_x, T *grad_weight, int64_t rows, int64_t width,                \
                                           int64_t threads) {                                                     \
    backward(grad, x, weight, inverse, grad_x, grad_weight, rows, width, threads);                                \
  }
EXPORT(float, f32)
EXPORT(bf16, bf16)
