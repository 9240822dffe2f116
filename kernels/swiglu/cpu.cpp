// SwiGLU over rows, forward and backward. Specification: kernels/swiglu/ref.py.

#include <cmath>

#include "../parallel.h"

using namespace r1;

namespace {

constexpr int64_t LEAST = 1 << 14;  // numbers of the result that pay for a thread

// Bounded, as the compiler may make the division a reciprocal and its correction, which make NaN of infinity.
inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-std::max(x, -80.0f))); }

template <class T>
void forward(const T *gate_up, const T *weight, T *out, int64_t rows, int64_t width, int64_t threads) {
  parallel(rows, threads, LEAST / width + 1, [=](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const T *gate = gate_up + 2 * r * width, *up = gate + width;
      const float factor = weight ? widen(weight[r]) : 1;
      T *o = out + r * width;
      for (int64_t i = 0; i < width; ++i) {
        const float g = widen(gate[i]);
        o[i] = narrow<T>(g * sigmoid(g) * widen(up[i]) * factor);
      }
    }
  });
}

template <class T>
void backward(const T *grad, const T *gate_up, const T *weight, T *grad_gate_up, T *grad_weight, int64_t rows,
              int64_t width, int64_t threads) {
  parallel(rows, threads, LEAST / width + 1, [=](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const T *gate = gate_up + 2 * r * width, *up = gate + width, *given = grad + r * width;
      const float factor = weight ? widen(weight[r]) : 1;
      T *grad_gate = grad_gate_up + 2 * r * width, *grad_up = grad_gate + width;
      float sum = 0;
      for (int64_t i = 0; i < width; ++i) {
        const float g = widen(gate[i]), u = widen(up[i]), d = widen(given[i]), s = sigmoid(g), silu = g * s;
        grad_gate[i] = narrow<T>(d * factor * u * s * (1 + g * (1 - s)));
        grad_up[i] = narrow<T>(d * factor * silu);
        sum += d * silu * u;
      }
      grad_weight[r] = narrow<T>(sum);
    }
  });
}

}  // namespace

#define EXPORT(T, NAME)                                                                                            \
  extern "C" void swiglu_forward_##NAME(const T *gate_up, const T *weight, T *out, int64_t rows, int64_t width,    \
                                        int64_t threads) {                                                         \
    forward(gate_up, weight, out, rows, width, threads);                                                           \
  }                                                                                                                \
  extern "C" void swiglu_backward_##NAME(const T *grad, const T *gate_up, const T *weight, T *grad_gate_up,        \
                                         T *grad_weight, int64_t rows, int64_t width, int64_t threads) {           \
    backward(grad, gate_up, weight, grad_gate_up, grad_weight, rows, width, threads);                              \
  }
EXPORT(float, f32)
EXPORT(bf16, bf16)
